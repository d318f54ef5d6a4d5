-- Make a tenant known; an account that exists is left as it is.
-- KEYS  1 account  2 counter of openings
-- ARGV  1 base limit
-- Returns  1 if it was opened, 0 if it existed

if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'limit', ARGV[1], 'epoch', redis.call('INCR', KEYS[2]))
return 1
