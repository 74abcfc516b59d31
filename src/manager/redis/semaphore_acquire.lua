if free <= 0 then
  return false
end
redis.call('HINCRBY', KEYS[3], ARGV[1], 1)
renew()
return redis.call('DECR', KEYS[2])
