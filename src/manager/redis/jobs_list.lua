-- ARGV: id, lease, state, the job after which to begin (0: none), how many.
local set, first = all .. states[tonumber(ARGV[3])], 0
if ARGV[4] ~= '0' then
  first = redis.call('ZRANK', set, ARGV[4])
  if not first then
    return no_such_job()
  end
  first = first + 1
end
local jobs = {}
if ARGV[5] ~= '0' then
  for i, id in ipairs(redis.call('ZRANGE', set, first, first + ARGV[5] - 1)) do
    jobs[i] = info(id)
  end
end
return over(jobs)
