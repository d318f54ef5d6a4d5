-- Store a document.
-- KEYS  see document.lua
-- ARGV  1-4 see document.lua  5 body
-- Returns  {1, new version} or {0, version that is in the way}

local version = stored_version()
if conflicts(version) then return {0, tonumber(version)} end
local new = touch()
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d ', new) .. ARGV[5])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return {1, new}
