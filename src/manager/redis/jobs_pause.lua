-- ARGV: id, lease, 0 or 1.
redis.call('HSET', counts, 'paused', ARGV[3])
return over(tonumber(ARGV[3]))
