-- Drop events that a snapshot contains and nobody is to find any more.
-- KEYS  1 event stream  2 id of the newest event ever dropped
-- ARGV  1 id that the snapshot contains  2 keep what is at or past this time in ms
--       3 but no more than so many  4 drop at most so many of those
-- Returns  how many were dropped

local function is_behind(id, other)
  local ms, sequence = string.match(id, '(%d+)%-(%d+)')
  local other_ms, other_sequence = string.match(other, '(%d+)%-(%d+)')
  if ms ~= other_ms then return tonumber(ms) > tonumber(other_ms) end
  return tonumber(sequence) > tonumber(other_sequence)
end

local target = '0-0'
if tonumber(ARGV[2]) > 0 then
  local old = redis.call('XREVRANGE', KEYS[1], string.format('%.0f', ARGV[2] - 1), '-', 'COUNT', 1)
  if old[1] then target = old[1][1] end
end
local too_many = math.min(redis.call('XLEN', KEYS[1]) - ARGV[3], tonumber(ARGV[4]))
if too_many > 0 then
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', too_many)
  if is_behind(first[too_many][1], target) then target = first[too_many][1] end
end
if is_behind(target, ARGV[1]) then target = ARGV[1] end

local last = redis.call('XREVRANGE', KEYS[1], target, '-', 'COUNT', 1)
if not last[1] then return 0 end
local ms, sequence = string.match(last[1][1], '(%d+)%-(%d+)')
redis.call('SET', KEYS[2], last[1][1])
return redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%s-%.0f', ms, sequence + 1))
