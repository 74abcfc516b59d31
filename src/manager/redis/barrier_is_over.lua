-- ARGV: id, lease, generation.
local result = over()
if result then
  return result
end
redis.call('ZADD', KEYS[3], 'XX', now, ARGV[1])
return broken() or false
