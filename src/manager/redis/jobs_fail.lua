-- ARGV: id, lease, job, token, AGAIN or NEVER or UNDONE, error.  1: it will be tried again.
local id = ARGV[3]
if not is_held(id, ARGV[4]) then
  return not_owner()
end
leave('running', id)
if ARGV[5] == 'UNDONE' then
  redis.call('HINCRBY', all .. id, 'tries', -1)
  redis.call('HINCRBY', counts, 'taken', -1)
  move(id, 1)
  return over(1)
end
redis.call('HSET', all .. id, 'outcome', ARGV[6])
count('failed')
local job = get(id, 'tries', 'retries', 'backoff')
local tries, pause = tonumber(job[1]), tonumber(job[3])
if ARGV[5] == 'NEVER' or tries > tonumber(job[2]) then
  ends(id, 5)
  return over(0)
end
if pause > 0 then
  local most = math.max(pause, 3600000)
  move(id, 2, now + math.min(pause * 2 ^ math.min(tries - 1, 40), most))
else
  move(id, 1)
end
return over(1)
