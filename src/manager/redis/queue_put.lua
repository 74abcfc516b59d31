-- KEYS: list, how it was closed, put and not done.  ARGV: id, lease, capacity (0: none), item.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('CLOSED the queue is closed')
end
local most = tonumber(ARGV[3])
if most > 0 and redis.call('LLEN', KEYS[1]) >= most then
  return false
end
redis.call('RPUSH', KEYS[1], ARGV[4])
redis.call('INCR', KEYS[3])
return 1
