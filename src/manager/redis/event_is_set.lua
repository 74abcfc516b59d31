return redis.call('EXISTS', KEYS[2])
