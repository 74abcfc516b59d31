-- ARGV: id, lease, delay, priority, retries, limit, backoff, keep (ms), keep (how many), key, value.
-- The job's id; below 0, that of the job that has the key.
local id = ARGV[10] ~= '' and redis.call('HGET', all .. 'keys', ARGV[10])
if id then
  return over(-id)
end
id = next_number()
if ARGV[10] ~= '' then
  redis.call('HSET', all .. 'keys', ARGV[10], id)
end
redis.call('HSET', all .. id, 'priority', ARGV[4], 'retries', ARGV[5], 'limit', ARGV[6], 'backoff',
           ARGV[7], 'keep', ARGV[8], 'key', ARGV[10], 'value', ARGV[11], 'tries', 0, 'token', 0,
           'limit_at', 0, 'progress', 0, 'worker', '', 'note', '', 'outcome', '')
redis.call('HSET', counts, 'keep', ARGV[9])
count('put')
local delay = tonumber(ARGV[3])
move(id, delay > 0 and 2 or 1, now + delay)
return over(tonumber(id))
