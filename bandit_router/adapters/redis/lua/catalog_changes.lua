-- What was put or deleted behind a version.
-- KEYS  1 version counter  2 changes  3 stamps  4 schema
-- ARGV  1 version  2 its stamp, left out where that is not to be compared
-- Returns  {version now, its stamp, 1 if the catalog has come from the version and stamp asked about else 0, schema,
--           members}

local version = redis.call('GET', KEYS[1]) or '0'
local stamp = redis.call('HGET', KEYS[3], version) or ''
local known = redis.call('HGET', KEYS[3], ARGV[1]) or ''
local continues = ARGV[1] == '0' or not ARGV[2]
  or known == ARGV[2] and tonumber(ARGV[1]) <= tonumber(version)
local members = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf')
return {version, stamp, continues and 1 or 0, redis.call('GET', KEYS[4]) or '0', members}
