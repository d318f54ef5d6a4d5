-- Prelude of hold, budget and edit_budget: one level, that is one window of one account.
--   KEYS[k..k+5]   account, window, another window to look at, windows index, audit stream, and the window by its start
--                  alone, as the first schema named it: whichever kind of window uses such a record first, goes on in it
--   ARGV[a..a+12]  name of the window, start, end or '', start of the one right before or '', kind, ordinal, '1': carry over, when the record may be forgotten or '': never, which windows leave
--                  the index by start or '', cap of a session or '', '1': shadow, shares to tell of such as '50 80',
--                  name of the window in KEYS[k+2] or ''
-- A record keeps the name that it was opened under. When the tenant's rule changes, the present window goes on as one of
-- the new rule: `label` is what it is called now, and `book` of a window says in which other record its money is.
-- Money crosses Lua as decimal strings, and counters are kept by HINCRBY, in 64-bit integers. Doubles serve for
-- comparisons with limits, which are at most 2^53.

local MAX_LIMIT = 9007199254740992
local KEYS_OF_LEVEL, ARGS_OF_LEVEL = 6, 13

local function integer(number) return string.format('%.0f', number) end

-- limit spent held over inflight n, price price_n price_snap, end ord, epoch alerted prev label
local function window_fields(key)
  return redis.call('HMGET', key, 'limit', 'spent', 'held', 'over', 'inflight', 'n',
    'price', 'price_n', 'price_snap', 'end', 'ord', 'epoch', 'alerted', 'prev', 'label')
end

local function level(k, a)
  return {
    account = KEYS[k], window = KEYS[k + 1], own = KEYS[k + 1], latest = KEYS[k + 2], index = KEYS[k + 3],
    audit = KEYS[k + 4], old = KEYS[k + 5], record = ARGV[a],
    name = ARGV[a], start = ARGV[a + 1], finish = ARGV[a + 2], previous = ARGV[a + 3], kind = ARGV[a + 4],
    ordinal = ARGV[a + 5], carries = ARGV[a + 6] == '1', forget_at = ARGV[a + 7], forget_before = ARGV[a + 8],
    cap = ARGV[a + 9], shadow = ARGV[a + 10] == '1', shares = ARGV[a + 11], latest_name = ARGV[a + 12],
  }
end

-- What the windows before have left. The second result names the window to look at, if it is not in KEYS.
local function carried(at)
  local base, latest, kind, ordinal = at.head[1], at.head[4], at.head[5], at.head[6]
  if not at.carries or kind ~= at.kind or tonumber(ordinal) >= tonumber(at.ordinal) then return 0 end
  if latest ~= at.latest_name then return 0, latest end
  local before = redis.call('HMGET', at.latest, 'limit', 'spent', 'held', 'epoch')
  local left = 0
  if before[4] == at.head[2] then left = tonumber(before[1]) - tonumber(before[3]) - tonumber(before[2]) end
  local idle = tonumber(at.ordinal) - tonumber(ordinal) - 1
  return math.max(0, left) + tonumber(base) * math.max(0, idle)
end

local function begins_before(start, finish, name)
  if finish == '' then return name == 'fixed:0' end -- else its end is unknown
  return tonumber(start) < tonumber(finish)
end

-- Whether the present window, of another name, runs on in this one. The second result: see `carried`.
local function runs_on(at)
  local latest, label, finish = at.head[4], at.head[7] or at.head[4], at.head[8]
  if not latest or label == at.name then return false end
  if not finish then -- its last opening was before ends were kept with the account
    if latest ~= at.latest_name then return false, latest end
    local known = redis.call('HMGET', at.latest, 'end', 'epoch')
    if known[2] ~= at.head[2] then return false end
    finish = known[1]
  end
  return begins_before(at.start, finish, label) and begins_before(string.match(label, '%d+$'), at.finish, at.name)
end

-- Finds the record that the window's money is in. What is in the way, if anything: see `carried`.
local function find_record(at)
  local latest, label = at.head[4], at.head[7] or at.head[4]
  local goes_on, again = runs_on(at)
  if again then return again end
  local record = at.name
  if goes_on or label == at.name then
    record = latest
  else
    local epoch, book = string.match(redis.call('HGET', at.own, 'book') or '', '^(%S+) (.+)$')
    if epoch == at.head[2] then record = book end
  end
  at.goes_on = goes_on
  if record == at.name or record == at.start then return end
  if record ~= at.latest_name then return record end
  at.window, at.record = at.latest, record
end

-- Fills in the account's head and the window's fields, as they are or would be. What is in the way, if anything:
-- 'missing' (no account), or 'again' and the name of the window that must be in KEYS[k+2].
local function look(at)
  at.head = redis.call('HMGET', at.account, 'limit', 'epoch', 'resets', 'latest', 'latest_kind', 'latest_ordinal',
    'latest_label', 'latest_end', 'latest_ms')
  if not at.head[1] then return 'missing' end
  local again = at.cap == '' and find_record(at)
  if again then return 'again', again end
  local fields = window_fields(at.window)
  if fields[12] ~= at.head[2] and at.cap == '' then
    local kind = redis.call('HGET', at.old, 'kind')
    local old = window_fields(at.old)
    if old[12] == at.head[2] and (not kind or kind == at.kind) then
      at.window, at.record, fields, at.is_old = at.old, at.start, old, true
      fields[11], fields[13], fields[15] = at.ordinal, fields[13] or '0', fields[15] or at.name
    end
  end
  at.is_open = fields[12] == at.head[2]
  at.is_stale = fields[12] and not at.is_open
  if not at.is_open then
    local limit = at.cap
    if limit == '' then
      local more, again = carried(at)
      if again then return 'again', again end
      limit = integer(math.min(MAX_LIMIT, tonumber(at.head[1]) + more))
    end
    fields = {limit, '0', '0', '0', '0', '0', false, false, false, at.finish, at.ordinal, at.head[2], '0', at.previous,
      at.name}
  elseif at.cap ~= '' then
    fields[1] = at.cap
  end
  fields[15] = fields[15] or at.record
  if at.goes_on then fields[10], fields[11], fields[14], fields[15] = at.finish, at.ordinal, at.previous, at.name end
  at.fields = fields
end

local function free(at) return tonumber(at.fields[1]) - tonumber(at.fields[3]) - tonumber(at.fields[2]) end

local function become_latest(at, now_ms)
  redis.call('HSET', at.account, 'latest', at.record, 'latest_kind', at.kind, 'latest_ordinal', at.ordinal,
    'latest_label', at.name, 'latest_end', at.finish, 'latest_ms', now_ms)
end

local function audit(at, kept, kind, amount, reason, actor, edited_ms, before, after)
  redis.call('XADD', at.audit, 'MAXLEN', kept, '*', 'kind', kind, 'amount', amount, 'reason', reason,
    'actor', actor, 'edited_ms', edited_ms,
    'before', table.concat(before, ' ', 1, 6), 'after', table.concat(after, ' ', 1, 6))
end

-- Says in which other record the window's money is.
local function keep_book(at)
  if at.record == at.name then redis.call('HDEL', at.own, 'book') return end
  local is_new = redis.call('EXISTS', at.own) == 0
  redis.call('HSET', at.own, 'book', at.head[2] .. ' ' .. at.record)
  if is_new and at.forget_at ~= '' then redis.call('PEXPIREAT', at.own, at.forget_at) end
  redis.call('ZADD', at.index, at.start, at.name)
end

-- The present window goes on under this name, if it bears another, with all that it has. A call from before it took the
-- name that it bears is charged to it, and leaves it that name.
local function go_on_as(at, kept, now_ms)
  if not at.goes_on then return end
  local is_late = tonumber(now_ms) < tonumber(at.head[9] or '0')
  if not is_late then
    redis.call('HSET', at.window, 'end', at.finish, 'ord', at.ordinal, 'prev', at.previous, 'label', at.name)
    become_latest(at, now_ms)
    if at.forget_at == '' then
      redis.call('PERSIST', at.window)
    elseif redis.call('PTTL', at.window) < 0 then
      redis.call('PEXPIREAT', at.window, at.forget_at)
    else
      redis.call('PEXPIREAT', at.window, at.forget_at, 'GT')
    end
    local why = (at.head[7] or at.head[4]) .. ' goes on as ' .. at.name
    audit(at, kept, 'window', '0', why, '', now_ms, at.fields, at.fields)
  end
  keep_book(at)
  at.goes_on = false
end

local function open_window(at, kept, now_ms)
  if at.is_old then
    redis.call('HSET', at.window, 'kind', at.kind)
    if not at.head[4] then become_latest(at, now_ms) end
  end
  go_on_as(at, kept, now_ms)
  if at.is_open then
    at.opening = redis.call('HGET', at.window, 'opening')
    if at.cap ~= '' then
      redis.call('HSET', at.window, 'limit', at.cap)
      redis.call('PEXPIREAT', at.window, at.forget_at, 'GT')
    end
    return
  end
  at.is_open = true
  if at.is_stale then redis.call('DEL', at.window) end -- else the first write must be one that a full server refuses
  at.opening = redis.call('HINCRBY', at.account, 'openings', 1)
  redis.call('HSET', at.window, 'opening', at.opening, 'limit', at.fields[1], 'spent', '0', 'held', '0', 'over', '0', 'inflight', '0',
    'n', '0', 'end', at.finish, 'ord', at.ordinal, 'epoch', at.head[2], 'alerted', '0', 'reset', '0',
    'prev', at.previous, 'label', at.name)
  if at.forget_at ~= '' then redis.call('PEXPIREAT', at.window, at.forget_at) end
  if at.cap ~= '' then return end
  local latest = at.head[7] or at.head[4]
  if not latest or tonumber(string.match(latest, '%d+$')) < tonumber(at.start) then become_latest(at, now_ms) end
  redis.call('ZADD', at.index, at.start, at.name)
  if at.forget_before ~= '' then redis.call('ZREMRANGEBYSCORE', at.index, 1, at.forget_before) end
end

-- The largest of the shares that held and spent money have reached, 0 for none. Exact up to 2^53.
local function reached(at)
  local limit, used, top = tonumber(at.fields[1]), tonumber(at.fields[2]) + tonumber(at.fields[3]), 0
  local hundredth, rest = math.floor(limit / 100), limit % 100
  for share in string.gmatch(at.shares, '%d+') do
    local percent = tonumber(share)
    if used >= hundredth * percent + math.ceil(rest * percent / 100) then top = math.max(top, percent) end
  end
  return top
end

-- Notes down that a further share has been reached; which, or 0.
local function alert(at, kept, now_ms)
  if at.shares == '' or not at.is_open then return 0 end
  local percent = reached(at)
  if percent <= tonumber(at.fields[13]) then return 0 end
  at.fields[13] = integer(percent)
  redis.call('HSET', at.window, 'alerted', at.fields[13])
  audit(at, kept, 'alert', at.fields[13], '', '', now_ms, at.fields, at.fields)
  return percent
end
