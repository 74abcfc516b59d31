-- What each call on a barrier begins with.
-- KEYS: name, hash (generation, parties, broken), who is there (sorted set), generations that a
-- reset ended (hash).
-- Whose score is a time was seen then.  When nobody was seen for so long, the server may have been
-- stopped: all are in doubt from now on, until they ask, which is a score below 0.
local DEAD_AFTER_MS = 5000 -- a hundred times the longest pause between two questions of one that waits
local AWAY_MS = 1000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2] or '-1')
if last >= 0 and last < now - AWAY_MS then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    redis.call('ZADD', KEYS[3], -now, id)
  end
end
local function generation()
  return redis.call('HGET', KEYS[2], 'generation') or '0'
end
-- Breaks it if one that waited has not asked for so long that it must be dead; the error if it is
-- broken.
local function broken()
  if redis.call('ZCOUNT', KEYS[3], DEAD_AFTER_MS - now, now - DEAD_AFTER_MS) > 0 then
    redis.call('HSET', KEYS[2], 'broken', 'OWNERDEAD')
    redis.call('DEL', KEYS[3])
  end
  local why = redis.call('HGET', KEYS[2], 'broken')
  return why and redis.error_reply(why .. ' the barrier is broken')
end
-- Ends the generation if all are there, and none in doubt.
local function is_complete()
  local parties = redis.call('HGET', KEYS[2], 'parties')
  if not parties or redis.call('ZCARD', KEYS[3]) < tonumber(parties) or
     redis.call('ZCOUNT', KEYS[3], '-inf', '(0') > 0 then
    return false
  end
  redis.call('DEL', KEYS[3])
  redis.call('HINCRBY', KEYS[2], 'generation', 1)
  return true
end
-- Of the generation in ARGV[3]: an error if it was reset, 1 if all came, else nothing.
local function over()
  if redis.call('HEXISTS', KEYS[4], ARGV[3]) == 1 then
    return redis.error_reply('BROKEN the barrier is broken')
  end
  return generation() ~= ARGV[3] and 1
end
