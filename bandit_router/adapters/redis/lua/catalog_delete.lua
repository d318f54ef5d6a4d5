-- Remove a document.
-- KEYS, ARGV  see document.lua
-- Returns  {1, 1 if there was one else 0} or {0, version that is in the way}

local version = stored_version()
if conflicts(version) then return {0, tonumber(version)} end
if version == '0' then return {1, 0} end
touch()
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return {1, 1}
