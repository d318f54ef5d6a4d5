-- Give a lease up.
-- KEYS  1 lease
-- ARGV  1 owner
-- Returns  1 if the owner had it, else 0

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
