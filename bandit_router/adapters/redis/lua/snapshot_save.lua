-- Store a snapshot under a fencing token that nobody has superseded, in place of the one that it was made from, and
-- change the dead letters with it.
-- KEYS  1 fencing counter  2 snapshot  3 dead letters
-- ARGV  1 token  2 version and 3 mark of the snapshot it was made from  4 version  5 mark  6 state  7 letters kept
--       8 how many letters go  then their ids
--       then per letter that comes: partition, entry id, decision, before, after, free, recorded at, reason, died at,
--       tries
-- Returns  1 if it was stored, else 0

local NAMES = {'p', 'i', 'd', 'b', 'a', 'f', 't', 'why', 'at', 'tries'}

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local stored = redis.call('HMGET', KEYS[2], 'version', 'mark')
if (stored[1] or '0') ~= ARGV[2] or (stored[2] or '') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[2], 'version', ARGV[4], 'mark', ARGV[5], 'state', ARGV[6])

local first = 9 + ARGV[8]
for index = 9, first - 1 do redis.call('XDEL', KEYS[3], ARGV[index]) end
for start = first, #ARGV, #NAMES do
  local letter = {}
  for offset, name in ipairs(NAMES) do
    table.insert(letter, name)
    table.insert(letter, ARGV[start + offset - 1])
  end
  redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[7], '*', unpack(letter))
end
return 1
