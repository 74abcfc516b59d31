-- ARGV: id, lease, job.
if redis.call('EXISTS', all .. ARGV[3]) == 0 then
  return no_such_job()
end
forget(ARGV[3])
return over(1)
