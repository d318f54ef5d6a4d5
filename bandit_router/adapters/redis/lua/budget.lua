-- Read a window as it stands, or as it would open.
-- KEYS, ARGV  a level: see window.lua
-- Returns  {'missing'} (no such account), {'again', 0, name} or {'told', fields of the window}

local at = level(1, 1)
local hindrance, name = look(at)
if hindrance then return {hindrance, 0, name} end
return {'told', at.fields}
