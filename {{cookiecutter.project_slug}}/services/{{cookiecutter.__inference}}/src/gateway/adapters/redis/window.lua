-- What admit.lua and settle.lua have in common: this comes before each of them.
--
-- A window is a flat list, oldest first: of each second in which something was let through its
-- number, the requests, the tokens, and the time of the last one. A second counts until its
-- last one is out of the window, so that in no sixty seconds too much is let through, and there are
-- never more than 61.
local WINDOW = 60 * 1000000
local SECOND, REQUESTS, TOKENS, LAST, WIDTH = 0, 1, 2, 3, 4

local stored = redis.call('GET', KEYS[1])
local seconds = stored and cmsgpack.unpack(stored) or {}

-- Correct the tokens that were counted, as long as they are in the window. From ARGV[first] on come
-- pairs: the second in which they were, and how many more there are, or, negative, fewer.
local function correct(first)
  for i = first, #ARGV, 2 do
    local second, tokens = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
    -- From the newest on: most requests end soon.
    for j = #seconds - WIDTH + 1, 1, -WIDTH do
      if seconds[j + SECOND] == second then
        seconds[j + TOKENS] = math.max(0, seconds[j + TOKENS] + tokens)
        break
      end
    end
  end
end
