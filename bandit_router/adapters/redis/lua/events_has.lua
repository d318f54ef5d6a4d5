-- Whether a stream has this entry.
-- KEYS  1 event stream
-- ARGV  1 id
-- Returns  1 if it has, else 0

return #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
