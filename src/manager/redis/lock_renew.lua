-- KEYS: name, hash.  ARGV: id, lease.
if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then
  return redis.error_reply('NOTOWNER the client does not have it')
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
