-- ARGV: id, lease, MINE if the client believes to hold some.
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then
  if redis.call('HINCRBY', KEYS[3], ARGV[1], -1) > 0 then
    renew()
  else
    redis.call('HDEL', KEYS[3], ARGV[1])
    redis.call('ZREM', KEYS[4], ARGV[1])
  end
elseif ARGV[3] then
  return redis.error_reply('NOTOWNER the lease is over')
end
return redis.call('INCR', KEYS[2])
