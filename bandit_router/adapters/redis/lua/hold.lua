-- Set money aside on every level and record the decision, or change nothing (but take note of alerts, and of windows
-- that go on under another name).
-- KEYS  1 decision  2 request id (the decision itself if there is none)  3 due  4 recent  then levels: see window.lua
-- ARGV  1 hold  2 expected cost  3 held at  4 deadline  5 keep  6 decision id  7 member of due  8 decision  9 outcome
--       10 context  11 price  12 price_n  13 price_snap  14 contexts kept  15 audit entries kept
--       then levels: see window.lua
-- Returns  {'missing'}                                          a level has no account
--          {'again', level, name}                               that window must be in KEYS of the level (from 0)
--          {'held', fields of all windows after, percent alerted on each level, free before}
--          {'full', fields of all windows, percents, free, level}   the hold exceeds what is free there
--          {'decided', fields of all windows, decision, outcome, free, rev}
--          {'requested', fields of all windows, decision id}    the request id has that decision

local TRIM_EVERY = 64 -- contexts that may pile up beyond those kept
local FIRST_KEY, FIRST_ARG = 5, 16

local levels = {}
for index = 0, (#KEYS - FIRST_KEY + 1) / KEYS_OF_LEVEL - 1 do
  local at = level(FIRST_KEY + index * KEYS_OF_LEVEL, FIRST_ARG + index * ARGS_OF_LEVEL)
  local hindrance, name = look(at)
  if hindrance then return {hindrance, index, name} end
  table.insert(levels, at)
end

local function all_fields()
  local found = {}
  for index, at in ipairs(levels) do found[index] = at.fields end
  return found
end

local function all_alerts()
  local found = {}
  for index, at in ipairs(levels) do found[index] = alert(at, ARGV[15], ARGV[3]) end
  return found
end

if KEYS[2] ~= KEYS[1] then
  local decision_id = redis.call('GET', KEYS[2])
  if decision_id then return {'requested', all_fields(), decision_id} end
end
local record = redis.call('HMGET', KEYS[1], 'd', 'o', 'free', 'rev')
if record[1] then return {'decided', all_fields(), record[1], record[2], record[3], record[4]} end

-- `hold` is not negative. Decimal strings without leading zeros: the longer one is larger.
local function exceeds(hold, left)
  if string.sub(left, 1, 1) == '-' then return true end
  if #hold ~= #left then return #hold > #left end
  return hold > left
end

-- Exact while |free| <= 2^53; beyond that (overspent by as much as the largest limit) still of the right sign.
local least, short
for index, at in ipairs(levels) do
  local left = free(at)
  if not at.shadow and (not least or left < least) then least, short = left, index - 1 end
end
local before = integer(least or free(levels[1]))
if short and exceeds(ARGV[1], before) then
  for _, at in ipairs(levels) do go_on_as(at, ARGV[15], ARGV[3]) end
  local alerts = all_alerts()
  return {'full', all_fields(), alerts, before, short}
end

local paying = {}
for index, at in ipairs(levels) do
  open_window(at, ARGV[15], ARGV[3])
  redis.call('HINCRBY', at.window, 'held', ARGV[1])
  redis.call('HINCRBY', at.window, 'inflight', ARGV[2])
  redis.call('HINCRBY', at.window, 'n', 1)
  if index == 1 then redis.call('HSET', at.window, 'price', ARGV[11], 'price_n', ARGV[12], 'price_snap', ARGV[13]) end
  at.fields = window_fields(at.window)
  table.insert(paying, 'g' .. index)
  local elsewhere = at.record ~= at.name and not at.is_old
  table.insert(paying, at.head[2] .. ' ' .. (at.opening or '0') .. (elsewhere and ' ' .. at.record or ''))
end
redis.call('HSET', KEYS[1], 'd', ARGV[8], 'o', ARGV[9], 'free', before, 'rev', '0', 'deadline', ARGV[4],
  'keep', ARGV[5], unpack(paying))
if KEYS[2] ~= KEYS[1] then
  redis.call('SET', KEYS[2], ARGV[6], 'PXAT', integer(ARGV[4] + ARGV[5]))
end
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[7])
if redis.call('LPUSH', KEYS[4], ARGV[10]) >= ARGV[14] + TRIM_EVERY then
  redis.call('LTRIM', KEYS[4], 0, ARGV[14] - 1)
end
local alerts = all_alerts()
return {'held', all_fields(), alerts, before}
