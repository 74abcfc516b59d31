-- KEYS: name, a list that has an item while the event is set.
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('RPUSH', KEYS[2], 'set')
end
return redis.status_reply('OK')
