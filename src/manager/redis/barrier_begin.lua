-- What each call on a barrier begins with.
-- KEYS: name, hash (generation, parties, broken), who is there and was seen when (sorted set),
-- generations that a reset ended (hash).
local DEAD_AFTER_MS = 5000 -- a hundred times the longest pause between two questions of one that waits
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function generation()
  return redis.call('HGET', KEYS[2], 'generation') or '0'
end
-- Breaks it if one that waited has not asked for so long that it must be dead; the error if it is
-- broken.
local function broken()
  if redis.call('ZCOUNT', KEYS[3], '-inf', now - DEAD_AFTER_MS) > 0 then
    redis.call('HSET', KEYS[2], 'broken', 'OWNERDEAD')
    redis.call('DEL', KEYS[3])
  end
  local why = redis.call('HGET', KEYS[2], 'broken')
  return why and redis.error_reply(why .. ' the barrier is broken')
end
-- Of the generation in ARGV[3]: an error if it was reset, 1 if all came, else nothing.
local function over()
  if redis.call('HEXISTS', KEYS[4], ARGV[3]) == 1 then
    return redis.error_reply('BROKEN the barrier is broken')
  end
  return generation() ~= ARGV[3] and 1
end
