-- What each call on a semaphore begins with: gives back what is overdue.
-- KEYS: name, free units, who holds how many (hash), until when their leases last (sorted set).
local free = tonumber(redis.call('GET', KEYS[2]) or '-1')
if free < 0 then
  return redis.error_reply('NOSUCH there is no such semaphore')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now)) do
  free = redis.call('INCRBY', KEYS[2], redis.call('HGET', KEYS[3], id) or 0)
  redis.call('HDEL', KEYS[3], id)
  redis.call('ZREM', KEYS[4], id)
end
local function renew()
  redis.call('ZADD', KEYS[4], now + ARGV[2], ARGV[1])
end
