redis.call('DEL', KEYS[2])
return redis.status_reply('OK')
