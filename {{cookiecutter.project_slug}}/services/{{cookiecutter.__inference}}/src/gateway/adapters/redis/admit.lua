-- Count one request and its tokens against a team's limits, or neither.
--
-- KEYS: the team's window, the version of the newest announcement.
-- ARGV: now (microseconds of the epoch), the limits of requests and of tokens, the tokens of this request;
-- from the fifth on, what is to be corrected first.
local now, tokens = tonumber(ARGV[1]), tonumber(ARGV[4])
local request_limit, token_limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local version = redis.call('GET', KEYS[2]) or ''

correct(5)
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
local refused = requests_at > now and 1 or tokens_at > now and 2 or 0

if refused == 0 then
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
elseif #ARGV > 4 and stored then
  redis.call('SET', KEYS[1], cmsgpack.pack(seconds), 'KEEPTTL')
end

return {
  refused,
  math.max(0, request_limit - requests_used),
  math.max(0, token_limit - tokens_used),
  requests_end - now,
  tokens_end - now,
  math.max(requests_at, tokens_at) - now,
  now,
  version,
}
