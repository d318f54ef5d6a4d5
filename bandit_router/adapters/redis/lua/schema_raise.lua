-- Raise the schema version of the store, never lower it.
-- KEYS  1 schema
-- ARGV  1 version
-- Returns  1 if it was lower, else 0

if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
