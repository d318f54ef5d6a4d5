-- Prelude of catalog_put and catalog_delete. They share:
--   KEYS[1] documents  KEYS[2] index  KEYS[3] version counter  KEYS[4] changes  KEYS[5] stamps
--   ARGV[1] key  ARGV[2] member of changes  ARGV[3] expected version (-1: any, 0: absent)  ARGV[4] stamps kept

local function stored_version()
  local stored = redis.call('HGET', KEYS[1], ARGV[1])
  return stored and string.match(stored, '^%d+') or '0'
end

local function conflicts(version) return ARGV[3] ~= '-1' and ARGV[3] ~= version end

local function touch()
  local version = redis.call('INCR', KEYS[3])
  redis.call('ZADD', KEYS[4], version, ARGV[2])
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[5], version, now[1] .. '.' .. now[2])
  redis.call('HDEL', KEYS[5], version - ARGV[4])
  return version
end
