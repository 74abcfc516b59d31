-- ARGV: id, lease, parties.  -1: the last to come; else the generation to wait for.
local error = broken()
if error then
  return error
end
if redis.call('ZCARD', KEYS[3]) > 0 and redis.call('HGET', KEYS[2], 'parties') ~= ARGV[3] then
  return redis.error_reply('PARTIES others wait for another number')
end
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('HSET', KEYS[2], 'parties', ARGV[3])
return is_complete() and -1 or tonumber(generation())
