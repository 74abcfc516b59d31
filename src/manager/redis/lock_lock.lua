-- KEYS: name, hash (owner, token, depth; it ends with its lease), the last token, which outlives it.
-- ARGV: id, lease, RECURSIVE (or none).  The token; false: another has it.
local owner = redis.call('HGET', KEYS[2], 'owner')
if owner == ARGV[1] then
  if ARGV[3] ~= 'RECURSIVE' then
    return redis.error_reply('DEADLOCK the client has it')
  end
  redis.call('HINCRBY', KEYS[2], 'depth', 1)
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  return tonumber(redis.call('HGET', KEYS[2], 'token'))
end
if owner then
  return false
end
local token = redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[2], 'owner', ARGV[1], 'token', token, 'depth', 1)
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return token
