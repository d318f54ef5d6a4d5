-- Take or renew a pool's lease.
-- KEYS  1 lease  2 fencing counter
-- ARGV  1 owner  2 time to live in ms
-- Returns  the fencing token, or nil while another owner has the lease

local owner = redis.call('GET', KEYS[1])
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(redis.call('GET', KEYS[2]))
end
if owner then return nil end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('INCR', KEYS[2])
