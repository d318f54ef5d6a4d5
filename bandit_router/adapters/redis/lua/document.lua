-- Prelude of catalog_put and catalog_delete. They share:
--   KEYS[1] documents  KEYS[2] index  KEYS[3] version counter  KEYS[4] changes
--   ARGV[1] key  ARGV[2] member of changes  ARGV[3] expected version (-1: any, 0: absent)

local function stored_version()
  local stored = redis.call('HGET', KEYS[1], ARGV[1])
  return stored and string.match(stored, '^%d+') or '0'
end

local function conflicts(version) return ARGV[3] ~= '-1' and ARGV[3] ~= version end

local function touch()
  local version = redis.call('INCR', KEYS[3])
  redis.call('ZADD', KEYS[4], version, ARGV[2])
  return version
end
