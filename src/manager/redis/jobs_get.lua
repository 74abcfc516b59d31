-- ARGV: id, lease, job.
if redis.call('EXISTS', all .. ARGV[3]) == 0 then
  return no_such_job()
end
return over(info(ARGV[3]))
