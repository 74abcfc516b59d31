-- ARGV: id, lease, job, token, result.
local job = get(ARGV[3], 'state', 'token')
if job[1] == '4' and job[2] == ARGV[4] then
  return over(1) -- said twice
end
if not is_held(ARGV[3], ARGV[4]) then
  return not_owner()
end
if #ARGV[5] <= 1024 then
  leave('running', ARGV[3])
end
redis.call('HSET', all .. ARGV[3], 'outcome', ARGV[5])
count('ended')
ends(ARGV[3], 4)
return over(1)
