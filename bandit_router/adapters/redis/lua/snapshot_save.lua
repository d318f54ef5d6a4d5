-- Store a newer snapshot under a fencing token that nobody has superseded.
-- KEYS  1 fencing counter  2 snapshot
-- ARGV  1 token  2 version  3 state
-- Returns  1 if it was stored, else 0

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local stored = redis.call('HGET', KEYS[2], 'version')
if stored and tonumber(stored) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[2], 'version', ARGV[2], 'state', ARGV[3])
return 1
