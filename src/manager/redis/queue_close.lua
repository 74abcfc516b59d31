-- KEYS: list, how it was closed, put and not done.  ARGV: id, lease, DRAIN or DISCARD.
redis.call('SET', KEYS[2], ARGV[3])
if ARGV[3] == 'DISCARD' then
  local left = tonumber(redis.call('GET', KEYS[3]) or '0') - redis.call('LLEN', KEYS[1])
  redis.call('SET', KEYS[3], math.max(left, 0))
  redis.call('DEL', KEYS[1])
end
return redis.status_reply('OK')
