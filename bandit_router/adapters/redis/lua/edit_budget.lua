-- Apply an audited edit to a window.
-- KEYS  1-6 a level: see window.lua  7 the edit's id (the account itself if there is none)
-- ARGV  1-13 a level: see window.lua  14 kind  15 amount  16 reason  17 actor  18 edited at  19 audit entries kept
--       20 how long the id is kept, in ms
-- Returns  {'missing'}, {'again', 0, name}    see window.lua
--          {'limit', fields of the window}    a grant would lead to a limit outside [0, 2^53]; nothing was changed
--          {'taken', fields of the window}    the id is that of another edit; nothing was changed
--          {'edited', fields of the window after}, also when the id says that it was edited before

local at = level(1, 1)
local hindrance, name = look(at)
if hindrance then return {hindrance, 0, name} end
local kind, amount, before = ARGV[14], ARGV[15], at.fields

local what = at.head[2] .. ' ' .. kind .. ' ' .. amount
if KEYS[7] ~= KEYS[1] then
  local known = redis.call('GET', KEYS[7])
  if known == what then return {'edited', before} end
  if known and string.match(known, '^%d+') == at.head[2] then return {'taken', before} end
end
if kind == 'grant' then
  local limit = tonumber(before[1])
  if tonumber(amount) > MAX_LIMIT - limit or tonumber(amount) < -limit then return {'limit', before} end
end

open_window(at, ARGV[19], ARGV[18])
if kind == 'grant' then
  redis.call('HINCRBY', at.window, 'limit', amount)
elseif kind == 'reset' then
  redis.call('HSET', at.window, 'spent', '0', 'over', '0', 'reset', redis.call('HINCRBY', at.account, 'resets', 1))
else
  redis.call('HSET', at.window, 'limit', amount)
  redis.call('HSET', at.account, 'limit', amount)
end
at.fields = window_fields(at.window)
local ready = math.min(tonumber(at.fields[13] or '0'), reached(at))
redis.call('HSET', at.window, 'alerted', ready)
at.fields[13] = integer(ready)
audit(at, ARGV[19], kind, amount, ARGV[16], ARGV[17], ARGV[18], before, at.fields)
if KEYS[7] ~= KEYS[1] then redis.call('SET', KEYS[7], what, 'PX', ARGV[20]) end
return {'edited', at.fields}
