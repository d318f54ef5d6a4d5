-- Take a decision out of those whose default reward is to be assumed, unless its record has gone on.
-- KEYS  1 decision  2 defaults
-- ARGV  1 revision that was read, '' if there was no record  2 member of defaults
-- Returns  1 if it was taken out, else 0

if (redis.call('HGET', KEYS[1], 'rev') or '') ~= ARGV[1] then return 0 end
return redis.call('ZREM', KEYS[2], ARGV[2])
