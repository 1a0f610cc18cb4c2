-- Count one request and its tokens against a team's limits, or neither; and correct before what was
-- counted.
--
-- KEYS: the team's window, the version of the newest announcement.
-- ARGV: now (microseconds of the epoch), the limits of requests and of tokens, the tokens of this
-- request; from the fifth on what is to be corrected, in pairs: the second in which it was counted,
-- and how many tokens more it is, or, negative, fewer. Without a time there is no request.
--
-- A window is a flat list, oldest first: of each second in which something was let through its
-- number, the requests, the tokens, and the time of the last one. A second counts until its
-- last one is out of the window, so that in no sixty seconds too much is let through, and there are
-- never more than 61.
local WINDOW = 60 * 1000000
local SECOND, REQUESTS, TOKENS, LAST, WIDTH = 0, 1, 2, 3, 4

local stored = redis.call('GET', KEYS[1])
local seconds = stored and cmsgpack.unpack(stored) or {}
local now, tokens = tonumber(ARGV[1]), tonumber(ARGV[4])
local request_limit, token_limit = tonumber(ARGV[2]), tonumber(ARGV[3])

for i = 5, #ARGV, 2 do
  -- From the newest on: most requests end soon.
  for j = #seconds - WIDTH + 1, 1, -WIDTH do
    if seconds[j + SECOND] == tonumber(ARGV[i]) then
      seconds[j + TOKENS] = math.max(0, seconds[j + TOKENS] + tonumber(ARGV[i + 1]))
      break
    end
  end
end
if stored and #ARGV > 4 then
  redis.call('SET', KEYS[1], cmsgpack.pack(seconds), 'KEEPTTL')
end
if not now then return end

-- The clock of another process may be ahead: in the order of a window time never runs back.
if #seconds > 0 then
  now = math.max(now, seconds[#seconds - WIDTH + 1 + LAST])
end

local kept = {}
local requests_used, tokens_used, requests_end, tokens_end = 0, 0, now, now
for i = 1, #seconds, WIDTH do
  local leaves = seconds[i + LAST] + WINDOW
  if leaves > now then
    for j = i, i + WIDTH - 1 do kept[#kept + 1] = seconds[j] end
    requests_used = requests_used + seconds[i + REQUESTS]
    tokens_used = tokens_used + seconds[i + TOKENS]
    requests_end = leaves
    if seconds[i + TOKENS] > 0 then tokens_end = leaves end
  end
end

-- When so many of what is used will have left that `needed` more fit.
local function fits_at(what, used, needed, limit)
  if needed > limit then return now + WINDOW end
  local excess, i, at = used + needed - limit, 1, now
  while excess > 0 do
    excess = excess - kept[i + what]
    at = kept[i + LAST] + WINDOW
    i = i + WIDTH
  end
  return at
end

local requests_at = fits_at(REQUESTS, requests_used, 1, request_limit)
local tokens_at = fits_at(TOKENS, tokens_used, tokens, token_limit)
local refused = requests_at > now and 'requests' or tokens_at > now and 'tokens'

if not refused then
  local second = math.floor(now / 1000000)
  local last = #kept - WIDTH + 1
  if last < 1 or kept[last + SECOND] ~= second then
    last = #kept + 1
    kept[last + SECOND], kept[last + REQUESTS], kept[last + TOKENS] = second, 0, 0
  end
  kept[last + REQUESTS] = kept[last + REQUESTS] + 1
  kept[last + TOKENS] = kept[last + TOKENS] + tokens
  kept[last + LAST] = now
  requests_used, tokens_used = requests_used + 1, tokens_used + tokens
  requests_end = now + WINDOW
  if tokens > 0 then tokens_end = requests_end end
  -- Twice the window, since the clocks of the processes are not Redis's own.
  redis.call('SET', KEYS[1], cmsgpack.pack(kept), 'EX', 120)
end

return {
  refused,
  redis.call('GET', KEYS[2]) or '',
  math.max(0, request_limit - requests_used),
  math.max(0, token_limit - tokens_used),
  requests_end - now,
  tokens_end - now,
  math.max(requests_at, tokens_at) - now,
  now,
}
