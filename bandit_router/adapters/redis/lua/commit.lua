-- Make a transition of a decision's outcome durable: outcome, money and event together, if nobody was faster.
-- KEYS  1 account  2 window  3 decision  4 due  5 event stream
-- ARGV  1 revision that was read  2 outcome before  3 outcome after  4 '1': the hold no longer stands
--       5 recorded at  6-9 change of held, spent, over, inflight  10 member of due
-- Returns  nil                               the record is gone or at another revision
--          {}                                done, but the account that paid is closed: no money was moved
--          {fields of the window after}

local record = redis.call('HMGET', KEYS[3], 'rev', 'd', 'free', 'epoch', 'deadline', 'keep')
if record[1] ~= ARGV[1] then return nil end

redis.call('HSET', KEYS[3], 'o', ARGV[3])
redis.call('HINCRBY', KEYS[3], 'rev', 1)
if ARGV[4] == '1' then
  redis.call('ZREM', KEYS[4], ARGV[10])
  local from_ms = math.max(tonumber(record[5]), tonumber(ARGV[5]))
  redis.call('PEXPIREAT', KEYS[3], string.format('%.0f', from_ms + record[6]))
end
redis.call('XADD', KEYS[5], '*', 'd', record[2], 'b', ARGV[2], 'a', ARGV[3], 'f', record[3], 't', ARGV[5])

if redis.call('HGET', KEYS[1], 'epoch') ~= record[4] or redis.call('HGET', KEYS[2], 'epoch') ~= record[4] then
  return {}
end
for index, field in ipairs({'held', 'spent', 'over', 'inflight'}) do
  if ARGV[5 + index] ~= '0' then redis.call('HINCRBY', KEYS[2], field, ARGV[5 + index]) end
end
return redis.call('HMGET', KEYS[2], 'limit', 'spent', 'held', 'over', 'inflight', 'n',
  'price', 'price_n', 'price_snap', 'end', 'prev')
