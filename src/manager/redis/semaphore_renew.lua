if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 0 then
  return redis.error_reply('NOTOWNER the lease is over')
end
renew()
return 1
