-- ARGV: id, lease, job, token, its lease, progress, note.
if not is_held(ARGV[3], ARGV[4]) then
  return not_owner()
end
leave('running', ARGV[3])
redis.call('HSET', all .. ARGV[3], 'progress', ARGV[6], 'note', ARGV[7])
redis.call('ZADD', all .. 'running', lease_end(ARGV[3], ARGV[5]), ARGV[3])
return over(1)
