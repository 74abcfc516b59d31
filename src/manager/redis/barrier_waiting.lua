return broken() or redis.call('ZCARD', KEYS[3])
