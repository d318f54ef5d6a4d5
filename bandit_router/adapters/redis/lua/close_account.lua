-- Forget a tenant's account, unless it is of a later generation. Its windows can no longer be reached by then.
-- KEYS  1 account  2 windows index  3 audit stream  4 recent contexts  and any windows
-- ARGV  1 generation
-- Returns  1 if there was one, else 0

local known = redis.call('HMGET', KEYS[1], 'limit', 'generation')
if not known[1] or tonumber(known[2] or '0') > tonumber(ARGV[1]) then return 0 end
redis.call('DEL', unpack(KEYS))
return 1
