-- Set money aside and record the decision, or change nothing.
-- KEYS  1-4 see window.lua  5 decision  6 request id (the decision itself if there is none)  7 due  8 recent
-- ARGV  1-6 see window.lua  7 hold  8 expected cost  9 deadline  10 keep  11 '1': shadow  12 decision id
--       13 member of due  14 decision  15 outcome  16 context  17 price  18 price_n  19 price_snap  20 contexts kept
-- Returns  {'missing'}                                   no such account
--          {'held', fields of the window after, free before}
--          {'full', fields of the window}                the hold exceeds what is free
--          {'decided', fields of the window, decision, outcome, free, rev}
--          {'requested', fields of the window, decision id}   the request id has that decision

local TRIM_EVERY = 64 -- contexts that may pile up beyond those kept

local account, window, is_open = look()
if not account then return {'missing'} end

if KEYS[6] ~= KEYS[5] then
  local decision_id = redis.call('GET', KEYS[6])
  if decision_id then return {'requested', window, decision_id} end
end
local record = redis.call('HMGET', KEYS[5], 'd', 'o', 'free', 'rev')
if record[1] then return {'decided', window, record[1], record[2], record[3], record[4]} end

-- `hold` is not negative. Decimal strings without leading zeros: the longer one is larger.
local function exceeds(hold, free)
  if string.sub(free, 1, 1) == '-' then return true end
  if #hold ~= #free then return #hold > #free end
  return hold > free
end

-- Exact while |free| <= 2^53; beyond that (overspent by as much as the largest limit) still of the right sign.
local free = integer(tonumber(window[1]) - tonumber(window[3]) - tonumber(window[2]))
if ARGV[11] ~= '1' and exceeds(ARGV[7], free) then return {'full', window} end

if not is_open then open_window(account, window) end
local held = redis.call('HINCRBY', KEYS[2], 'held', ARGV[7])
local in_flight = redis.call('HINCRBY', KEYS[2], 'inflight', ARGV[8])
local n = integer(window[6] + 1)
redis.call('HSET', KEYS[2], 'n', n, 'price', ARGV[17], 'price_n', ARGV[18], 'price_snap', ARGV[19])
redis.call('HSET', KEYS[5], 'd', ARGV[14], 'o', ARGV[15], 'free', free, 'rev', '0', 'epoch', account[2],
  'deadline', ARGV[9], 'keep', ARGV[10])
if KEYS[6] ~= KEYS[5] then
  redis.call('SET', KEYS[6], ARGV[12], 'PXAT', integer(ARGV[9] + ARGV[10]))
end
redis.call('ZADD', KEYS[7], ARGV[9], ARGV[13])
if redis.call('LPUSH', KEYS[8], ARGV[16]) >= ARGV[20] + TRIM_EVERY then
  redis.call('LTRIM', KEYS[8], 0, ARGV[20] - 1)
end

if held > MAX_LIMIT or in_flight > MAX_LIMIT then return {'held', window_fields(KEYS[2]), free} end
window[3], window[5], window[6] = integer(held), integer(in_flight), n
window[7], window[8], window[9] = ARGV[17], ARGV[18], ARGV[19]
return {'held', window, free}
