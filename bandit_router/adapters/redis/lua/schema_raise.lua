-- Raise the schema version of the store, never lower it.
-- KEYS  1 schema  2 there for as long as replicas are given to notice
-- ARGV  1 version  2 how long that is, in ms
-- Returns  ms until replicas must have noticed the version that is stored

if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then
  return math.max(0, redis.call('PTTL', KEYS[2]))
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
return tonumber(ARGV[2])
