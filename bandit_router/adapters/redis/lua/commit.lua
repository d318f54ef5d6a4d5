-- Make a transition of a decision's outcome durable: outcome, money and event together, if nobody was faster.
-- KEYS  1 decision  2 due  3 event stream  4 defaults  then of each charge the account, the window, and the window
--       as the first schema named it
-- ARGV  1 revision that was read  2 outcome before  3 outcome after  4 recorded at  5 member of due
--       6-9 '1' if the hold stood, '1' if it stands, spent before, spent after  10-13 change of held, spent, over,
--       inflight where no reset has come between  14 when a default reward is to be assumed, '-': no longer, '': as before
--       then of each charge the name of the window that is in KEYS
-- Returns  nil                               the record is gone, or at another revision or outcome
--          {'again', charge, name}           that window must be in KEYS of the charge (from 0); nothing was changed
--          {}                                done, but the tenant's account is closed: no money was moved in it
--          {fields of the tenant's window after}

local FIXED_KEYS, FIXED_ARGS = 4, 14
local record = redis.call('HMGET', KEYS[1], 'rev', 'd', 'free', 'deadline', 'keep', 'o')
if record[1] ~= ARGV[1] or record[6] ~= ARGV[2] then return nil end

-- What the record was charged to: epoch, opening, and the window's record if that bears another name. One of the first
-- schema knows its account's epoch alone.
local paid_from = {}
for index = 1, (#KEYS - FIXED_KEYS) / 3 do
  local found = redis.call('HMGET', KEYS[1], 'g' .. index, 'epoch')
  local made, name = string.match(found[1] or '', '^(%S+ %S+) (.+)$')
  if name and name ~= ARGV[FIXED_ARGS + index] then return {'again', index - 1, name} end
  paid_from[index] = made or found[1] or found[2] and found[2] .. ' 0'
end

redis.call('HSET', KEYS[1], 'o', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'rev', 1)
local stood = ARGV[6] == '1'
redis.call('XADD', KEYS[3], '*', 'd', record[2], 'b', ARGV[2], 'a', ARGV[3], 'f', record[3], 't', ARGV[4])

if ARGV[14] == '-' then
  redis.call('ZREM', KEYS[4], ARGV[5])
elseif ARGV[14] ~= '' then
  redis.call('ZADD', KEYS[4], ARGV[14], ARGV[5])
end

-- What an outcome counts for once a reset has written off part of its cost: see core.outcomes.Booking.less. Costs that
-- a reset could write off are at most 2^53; without one, the changes are kept in 64 bits.
local function change_after_reset(off)
  local change = math.max(0, tonumber(ARGV[9]) - off) - math.max(0, tonumber(ARGV[8]) - off)
  return {ARGV[10], string.format('%.0f', change), string.format('%.0f', change), ARGV[13]}
end

-- The cost that resets of the window have written off; kept with the record, as of the account's latest reset.
local function written_off(index, head, window)
  local seen, off = unpack(redis.call('HMGET', KEYS[1], 'b' .. index, 'w' .. index))
  off = tonumber(off or '0')
  if not stood and tonumber(window[2] or '0') > tonumber(seen or '0') then off = math.max(off, tonumber(ARGV[8])) end
  redis.call('HSET', KEYS[1], 'b' .. index, head[2] or '0', 'w' .. index, string.format('%.0f', off))
  return off
end

local paid = {}
for index = 1, #paid_from do
  local account, key, old = KEYS[2 + 3 * index], KEYS[3 + 3 * index], KEYS[4 + 3 * index]
  local head = redis.call('HMGET', account, 'epoch', 'resets')
  local window = redis.call('HMGET', key, 'epoch', 'reset', 'opening')
  if window[1] ~= head[1] then key, window = old, redis.call('HMGET', old, 'epoch', 'reset', 'opening') end
  local here = window[1] and window[1] .. ' ' .. (window[3] or '0')
  if window[1] and head[1] == window[1] and here == paid_from[index] then
    local off = written_off(index, head, window)
    local changes = off > 0 and change_after_reset(off) or {ARGV[10], ARGV[11], ARGV[12], ARGV[13]}
    for place, field in ipairs({'held', 'spent', 'over', 'inflight'}) do
      if changes[place] ~= '0' then redis.call('HINCRBY', key, field, changes[place]) end
    end
    if index == 1 then
      paid = redis.call('HMGET', key, 'limit', 'spent', 'held', 'over', 'inflight', 'n',
        'price', 'price_n', 'price_snap', 'end', 'ord', 'epoch', 'alerted', 'prev', 'label')
    end
  end
end
if stood and ARGV[7] ~= '1' then
  redis.call('ZREM', KEYS[2], ARGV[5])
  local from_ms = math.max(tonumber(record[4]), tonumber(ARGV[4]))
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', from_ms + record[5])) -- may be at once: nothing after this
end
return paid
