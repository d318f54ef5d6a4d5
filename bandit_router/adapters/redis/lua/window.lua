-- Prelude of hold, budget and edit_budget. They share:
--   KEYS[1] account  KEYS[2] window  KEYS[3] window before (the window itself if there is none)  KEYS[4] windows index
--   ARGV[1] start    ARGV[2] end or ''    ARGV[3] start of the window before or ''    ARGV[4] '1': carry over
--   ARGV[5] when the window's record may be forgotten, or '': never    ARGV[6] which windows are forgotten by start
-- Money crosses Lua as decimal strings, and counters are kept by HINCRBY, in 64-bit integers. Doubles serve for
-- comparisons with limits, which are at most 2^53.

local MAX_LIMIT = 9007199254740992

local function integer(number) return string.format('%.0f', number) end

-- limit spent held over inflight n price price_n price_snap end prev epoch
local function window_fields(key)
  return redis.call('HMGET', key, 'limit', 'spent', 'held', 'over', 'inflight', 'n',
    'price', 'price_n', 'price_snap', 'end', 'prev', 'epoch')
end

-- What the window before has left: nothing from before the tenant's first window; all of it, if it was idle.
local function carried(account)
  local previous, since = ARGV[3], account[3]
  if ARGV[4] ~= '1' or previous == '' or not since or tonumber(previous) < tonumber(since) then return 0 end
  local before = redis.call('HMGET', KEYS[3], 'limit', 'spent', 'held', 'epoch')
  if before[4] ~= account[2] then return tonumber(account[1]) end
  return math.max(0, tonumber(before[1]) - tonumber(before[3]) - tonumber(before[2]))
end

-- The account's fields (nil: no account), the window's fields as they are or would be, and whether it is open.
local function look()
  local account = redis.call('HMGET', KEYS[1], 'limit', 'epoch', 'since')
  if not account[1] then return nil end
  local window = window_fields(KEYS[2])
  if window[12] == account[2] then return account, window, true end
  local limit = integer(math.min(MAX_LIMIT, tonumber(account[1]) + carried(account)))
  return account, {limit, '0', '0', '0', '0', '0', false, false, false, ARGV[2], ARGV[3], account[2]}, false
end

local function open_window(account, window)
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], 'limit', window[1], 'spent', '0', 'held', '0', 'over', '0', 'inflight', '0', 'n', '0',
    'end', ARGV[2], 'prev', ARGV[3], 'epoch', account[2])
  if ARGV[5] ~= '' then redis.call('PEXPIREAT', KEYS[2], ARGV[5]) end
  redis.call('HSETNX', KEYS[1], 'since', ARGV[1])
  redis.call('ZADD', KEYS[4], ARGV[1], ARGV[1])
  if ARGV[6] ~= '' then redis.call('ZREMRANGEBYSCORE', KEYS[4], 1, ARGV[6]) end
end
