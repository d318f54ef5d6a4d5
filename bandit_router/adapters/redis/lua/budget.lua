-- Read a window as it stands, or as it would open.
-- KEYS, ARGV  see window.lua
-- Returns  nil (no such account) or the fields of the window

local account, window = look()
if not account then return nil end
return window
