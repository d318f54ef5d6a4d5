-- Apply an audited edit to a window.
-- KEYS  1-4 see window.lua  5 audit stream
-- ARGV  1-6 see window.lua  7 kind  8 amount  9 reason  10 actor  11 edited at  12 audit entries kept
-- Returns  {'missing'}                        no such account
--          {'limit', fields of the window}    a grant would lead to a limit outside [0, 2^53]; nothing was changed
--          {'edited', fields of the window after}

local account, before, is_open = look()
if not account then return {'missing'} end
local kind, amount = ARGV[7], ARGV[8]
if kind == 'grant' then
  local limit = tonumber(before[1])
  if tonumber(amount) > MAX_LIMIT - limit or tonumber(amount) < -limit then return {'limit', before} end
end

if not is_open then open_window(account, before) end
if kind == 'grant' then
  redis.call('HINCRBY', KEYS[2], 'limit', amount)
elseif kind == 'reset' then
  redis.call('HSET', KEYS[2], 'spent', '0', 'over', '0')
else
  redis.call('HSET', KEYS[2], 'limit', amount)
  redis.call('HSET', KEYS[1], 'limit', amount)
end
local after = window_fields(KEYS[2])
redis.call('XADD', KEYS[5], 'MAXLEN', ARGV[12], '*', 'kind', kind, 'amount', amount, 'reason', ARGV[9],
  'actor', ARGV[10], 'edited_ms', ARGV[11],
  'before', table.concat(before, ' ', 1, 6), 'after', table.concat(after, ' ', 1, 6))
return {'edited', after}
