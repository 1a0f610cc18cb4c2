-- Correct earlier counts; then count a request and its tokens against a team's limits, or neither.
--
-- KEYS: the team's window, the version of the newest announcement.
-- ARGV: now (microseconds since the epoch), the limits of requests and of tokens, the request's
-- tokens, the version that it depends on (* for any); then corrections in pairs: the second in which
-- tokens were counted, and the number to add, which may be negative. Without a time there are only
-- corrections, and no request.
--
-- A window is a flat list, oldest first, with four values for each second with an admission: the
-- second, the number of requests, the number of tokens, the time of the last request. A second
-- counts until its last request has left the window, so that any sixty seconds stay within the
-- limits. There are never more than 61 seconds.
local WINDOW = 60 * 1000000
local SECOND, REQUESTS, TOKENS, LAST, WIDTH = 0, 1, 2, 3, 4

local stored = redis.call('GET', KEYS[1])
local seconds = stored and cmsgpack.unpack(stored) or {}
local now, tokens = tonumber(ARGV[1]), tonumber(ARGV[4])
local request_limit, token_limit = tonumber(ARGV[2]), tonumber(ARGV[3])

for i = 6, #ARGV, 2 do
  -- Newest first, since most requests end soon.
  for j = #seconds - WIDTH + 1, 1, -WIDTH do
    if seconds[j + SECOND] == tonumber(ARGV[i]) then
      seconds[j + TOKENS] = math.max(0, seconds[j + TOKENS] + tonumber(ARGV[i + 1]))
      break
    end
  end
end
if stored and #ARGV > 5 then
  redis.call('SET', KEYS[1], cmsgpack.pack(seconds), 'KEEPTTL')
end
if not now then return end

local version = redis.call('GET', KEYS[2]) or ''
if ARGV[5] ~= '*' and ARGV[5] ~= version then
  return {'version', version, 0, 0, 0, 0, 0, now}
end

-- The clock of another process may be ahead, but times within a window must not decrease.
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

-- Return the time at which enough will have left the window for `needed` more to fit.
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
  -- Twice the window, since the clocks of Redis and of the processes may differ.
  redis.call('SET', KEYS[1], cmsgpack.pack(kept), 'EX', 120)
end

return {
  refused,
  version,
  math.max(0, request_limit - requests_used),
  math.max(0, token_limit - tokens_used),
  requests_end - now,
  tokens_end - now,
  math.max(requests_at, tokens_at) - now,
  now,
}
