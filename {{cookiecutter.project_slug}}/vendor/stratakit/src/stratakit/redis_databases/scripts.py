"""What has to be one step on a Redis server: to look, and to do what depends on it.

KEYS[1] is the marker. A database is only ever changed by one that finds its own token in it.
"""

TAKE = """
-- Mark the database if it is empty; note that it is in use. Return how many keys are beside the
-- marker, or -1 if the database is not ours.
-- ARGV: the token, the project, the process.
local size = redis.call('DBSIZE')
if size == 0 then
  -- Without the right to what is needed later, nothing is left behind.
  redis.call('HGET', KEYS[1], 'token')
  redis.call('OBJECT', 'IDLETIME', KEYS[1])
  redis.call('UNLINK', KEYS[1])
elseif redis.pcall('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return -1
end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'project', ARGV[2], 'process', ARGV[3],
  'seen', redis.call('TIME')[1])
return math.max(size - 1, 0)
"""
DELETE = """
-- Delete keys; return whether the database was still ours.
-- KEYS: from the second on, what to delete. ARGV: the token.
if redis.pcall('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
return 1
"""
SWEEP = """
-- Delete what a dead run has left, and its marker, unless somebody has used one of the keys since.
-- Return that key, or nothing.
-- ARGV: the token of the run; for how many seconds its last test may have gone on.
if redis.pcall('HGET', KEYS[1], 'token') ~= ARGV[1] then return false end
local now = tonumber(redis.call('TIME')[1])
local last = tonumber(redis.call('HGET', KEYS[1], 'seen')) + tonumber(ARGV[2])
local keys = redis.call('KEYS', '*')
for _, key in ipairs(keys) do
  local idle = redis.pcall('OBJECT', 'IDLETIME', key)
  -- It is no number where the server keeps no such times.
  if key ~= KEYS[1] and (type(idle) ~= 'number' or now - idle > last) then return key end
end
for _, key in ipairs(keys) do redis.call('UNLINK', key) end
return false
"""
