-- KEYS: list, put and not done.
if tonumber(redis.call('GET', KEYS[2]) or '0') <= 0 then
  return redis.error_reply('TOOMANY more are done than were put')
end
return redis.call('DECR', KEYS[2])
