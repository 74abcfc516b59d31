-- Before semaphore_begin.  ARGV: id, lease, units.
redis.call('SET', KEYS[2], ARGV[3], 'NX')
