-- By one whose wait is over.  ARGV: id, lease, generation.  1: the others had come.
local result = over() or broken()
if result then
  return result
end
redis.call('HSET', KEYS[2], 'broken', 'BROKEN')
redis.call('DEL', KEYS[3])
return 0
