-- KEYS: list, put and not done.
if tonumber(redis.call('GET', KEYS[2]) or '0') > 0 then
  return false
end
return 1
