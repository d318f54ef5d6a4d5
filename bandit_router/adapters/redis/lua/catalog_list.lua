-- A page of documents in key order.
-- KEYS  1 documents  2 index
-- ARGV  1 lower and 2 upper bound as ZRANGEBYLEX takes them  3 page size
-- Returns  {key, 'VERSION BODY', key, ...}

local page = {}
for _, key in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])) do
  table.insert(page, key)
  table.insert(page, redis.call('HGET', KEYS[1], key))
end
return page
