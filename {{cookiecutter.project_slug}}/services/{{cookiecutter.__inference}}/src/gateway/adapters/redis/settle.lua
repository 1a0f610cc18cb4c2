-- Correct the tokens that admissions counted.
--
-- KEYS: the team's window. ARGV: what is to be corrected.
correct(1)
if stored then
  redis.call('SET', KEYS[1], cmsgpack.pack(seconds), 'KEEPTTL')
end
