-- Count up the version of the policies and tell everybody; return it.
--
-- KEYS: the counter. ARGV: the team, or nothing for all of them, and the channel.
local version = redis.call('INCR', KEYS[1])
redis.call('PUBLISH', ARGV[2], 'policy ' .. version .. ' ' .. ARGV[1])
return version
