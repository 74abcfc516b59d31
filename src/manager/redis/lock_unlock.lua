-- KEYS: name, hash.  ARGV: id, lease.  How deep it is locked still.
if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then
  return redis.error_reply('NOTOWNER the client does not have it')
end
local depth = redis.call('HINCRBY', KEYS[2], 'depth', -1)
if depth == 0 then
  redis.call('DEL', KEYS[2])
else
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return depth
