-- Store a newer snapshot under a fencing token that nobody has superseded, and change the dead letters with it.
-- KEYS  1 fencing counter  2 snapshot  3 dead letters
-- ARGV  1 token  2 version  3 state  4 letters kept  5 how many letters go  then their ids
--       then per letter that comes: partition, entry id, decision, before, after, free, recorded at, reason, died at,
--       tries
-- Returns  1 if it was stored, else 0

local NAMES = {'p', 'i', 'd', 'b', 'a', 'f', 't', 'why', 'at', 'tries'}

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local stored = redis.call('HGET', KEYS[2], 'version')
if stored and tonumber(stored) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[2], 'version', ARGV[2], 'state', ARGV[3])

local first = 6 + ARGV[5]
for index = 6, first - 1 do redis.call('XDEL', KEYS[3], ARGV[index]) end
for start = first, #ARGV, #NAMES do
  local letter = {}
  for offset, name in ipairs(NAMES) do
    table.insert(letter, name)
    table.insert(letter, ARGV[start + offset - 1])
  end
  redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[4], '*', unpack(letter))
end
return 1
