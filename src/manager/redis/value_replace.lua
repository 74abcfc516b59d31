-- KEYS: name.  ARGV: id, lease, what it has to be, what it becomes.  false: done; else what it is.
local is = redis.call('GET', KEYS[1]) or '0'
if is ~= ARGV[3] then
  return is
end
redis.call('SET', KEYS[1], ARGV[4])
return false
