-- Store a config and tell everybody; return its version.
--
-- KEYS: the hash of the config. ARGV: it as JSON, the channel.
local version = redis.pcall('HINCRBY', KEYS[1], 'version', 1)
if type(version) == 'table' then
  -- What is there is no config of ours: count on from a number that was never reached.
  redis.call('DEL', KEYS[1])
  version = redis.call('HINCRBY', KEYS[1], 'version', redis.call('TIME')[1])
end
redis.call('HSET', KEYS[1], 'config', ARGV[1])
redis.call('PUBLISH', ARGV[2], 'config')
return version
