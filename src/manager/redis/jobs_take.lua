-- ARGV: id, lease, the job's lease, TIED or FREE, worker.  The job; false: there is none.
if redis.call('HGET', counts, 'paused') == '1' then
  return over(false)
end
local id = redis.call('ZRANGE', all .. 'waiting', 0, 0)[1]
if not id then
  return over(false)
end
local limit = tonumber(get(id, 'limit')[1])
leave('waiting', id)
redis.call('HSET', all .. id, 'token', next_number(), 'worker', ARGV[5], 'note', '', 'progress', 0,
           'limit_at', limit > 0 and now + limit or 0)
redis.call('HINCRBY', all .. id, 'tries', 1)
count('taken')
move(id, 3, lease_end(id, ARGV[3]))
return over(info(id))
