-- Whether queue_put may go on; the same, without the item.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 1
end
if redis.call('LLEN', KEYS[1]) < tonumber(ARGV[3]) then
  return 1
end
return false
