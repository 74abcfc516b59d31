-- KEYS: list, how it was closed.  ARGV: id, lease, the longest item (or none).
local first = redis.call('LINDEX', KEYS[1], 0)
if not first then
  if redis.call('EXISTS', KEYS[2]) == 1 then
    return redis.error_reply('CLOSED the queue is closed')
  end
  return false
end
if ARGV[3] and #first > tonumber(ARGV[3]) then
  return redis.error_reply('TOOBIG ' .. #first)
end
redis.call('LPOP', KEYS[1])
return first
