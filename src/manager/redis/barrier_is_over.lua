-- ARGV: id, lease, generation.  1: all came; -1: it was the last that was in doubt.
local result = over()
if result then
  return result
end
redis.call('ZADD', KEYS[3], 'XX', now, ARGV[1])
return broken() or (is_complete() and -1)
