-- ARGV: id, lease, job.  0: it is not dead.
local state = get(ARGV[3], 'state')[1]
if not state then
  return no_such_job()
end
if state ~= '5' then
  return over(0)
end
redis.call('HSET', all .. ARGV[3], 'tries', 0)
move(ARGV[3], 1)
return over(1)
