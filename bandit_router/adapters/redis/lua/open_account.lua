-- Make a tenant known, unless it has an account of this or a later generation. One without a generation, from before
-- there were any, takes this one.
-- KEYS  1 account  2 counter of openings in the partition
-- ARGV  1 base limit  2 generation
-- Returns  1 if it was opened, 0 if it existed

local known = redis.call('HMGET', KEYS[1], 'limit', 'generation')
if known[1] and not known[2] then redis.call('HSET', KEYS[1], 'generation', ARGV[2]) end
if known[1] and tonumber(known[2] or ARGV[2]) >= tonumber(ARGV[2]) then return 0 end
local epoch = redis.call('INCR', KEYS[2]) -- a write that a full server refuses, before any that it would let pass
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'limit', ARGV[1], 'generation', ARGV[2], 'epoch', epoch)
return 1
