redis.call('HSET', KEYS[2], 'broken', 'BROKEN')
redis.call('DEL', KEYS[3])
return redis.status_reply('OK')
