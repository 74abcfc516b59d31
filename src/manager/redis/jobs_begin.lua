-- What each call on a queue of jobs begins with: what is overdue has its end.
-- KEYS: name, what all other keys begin with, a list that has an item while a job can be taken.
-- Of these others: a hash for each job, a sorted set for each state (by turn, or by when it ends),
-- keys (hash, key to id) and counts (hash; also the last number, and whether it is paused).
local all = KEYS[2] .. ':'
local counts = all .. 'counts'
local states = {'waiting', 'delayed', 'running', 'done', 'dead'}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function get(id, ...)
  return redis.call('HMGET', all .. id, ...)
end

local function count(what)
  redis.call('HINCRBY', counts, what, 1)
end

-- As text: 16 digits, so that by the alphabet is by the number.
local function next_number()
  local last = tonumber(redis.call('HGET', counts, 'last') or '0')
  local number = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
  redis.call('HSET', counts, 'last', number)
  return number
end

-- `ends`: when the state does.
local function move(id, to, ends)
  local job = get(id, 'state', 'priority')
  if job[1] then
    redis.call('ZREM', all .. states[tonumber(job[1])], id)
  end
  redis.call('HSET', all .. id, 'state', to, 'since', now)
  redis.call('ZADD', all .. states[to], to == 1 and -job[2] or ends, id)
end

local function forget(id)
  local job = get(id, 'state', 'key')
  redis.call('ZREM', all .. states[tonumber(job[1])], id)
  if job[2] ~= '' then
    redis.call('HDEL', all .. 'keys', job[2])
  end
  redis.call('DEL', all .. id)
end

-- It is done, or dead; the oldest may go for it.
local function ends(id, to)
  move(id, to, now + get(id, 'keep')[1])
  local much = redis.call('ZCARD', all .. states[to]) - redis.call('HGET', counts, 'keep')
  if much > 0 then
    for _, old in ipairs(redis.call('ZRANGE', all .. states[to], 0, math.min(much, 4) - 1)) do
      forget(old)
    end
  end
end

-- A Redis whose memory is full refuses a script's first write if that takes some, and none behind
-- one that takes none.  What lets jobs go on begins with this one.
local function leave(state, id)
  redis.call('ZREM', all .. state, id)
end

local function lost(id)
  local job = get(id, 'tries', 'retries', 'limit_at')
  leave('running', id)
  count('lost')
  local late = tonumber(job[3]) > 0 and tonumber(job[3]) <= now
  redis.call('HSET', all .. id, 'outcome', late and 'out of time' or 'the lease ended')
  if tonumber(job[1]) > tonumber(job[2]) then
    ends(id, 5)
  else
    move(id, 1)
  end
end

local function overdue(state)
  return ipairs(redis.call('ZRANGEBYSCORE', all .. states[state], '-inf', now, 'LIMIT', 0, 64))
end
for _, id in overdue(2) do
  move(id, 1)
end
for _, id in overdue(3) do
  lost(id)
end
for state = 4, 5 do
  for _, id in overdue(state) do
    forget(id)
  end
end

-- With the list as it has to be: what the call returns.
local function over(result)
  if redis.call('EXISTS', all .. 'waiting') == 0 or redis.call('HGET', counts, 'paused') == '1' then
    redis.call('DEL', KEYS[3])
  elseif redis.call('EXISTS', KEYS[3]) == 0 then
    redis.call('RPUSH', KEYS[3], 'take')
  end
  return result
end

local function no_such_job()
  return over(redis.error_reply('NOSUCH there is no such job'))
end

local function is_held(id, token)
  local job = get(id, 'state', 'token')
  return job[1] == '3' and job[2] == token and
         tonumber(redis.call('ZSCORE', all .. 'running', id)) > now
end

local function not_owner()
  return over(redis.error_reply('NOTOWNER the lease is over'))
end

local function lease_end(id, lease)
  local limit = tonumber(get(id, 'limit_at')[1])
  return limit > 0 and math.min(limit, now + lease) or now + lease
end

local function info(id)
  local job = get(id, 'token', 'state', 'priority', 'tries', 'retries', 'limit', 'since', 'state',
                  'progress', 'value', 'worker', 'note', 'outcome', 'key')
  local state = tonumber(job[2])
  job[8] = state > 1 and redis.call('ZSCORE', all .. states[state], id) or '0'
  table.insert(job, 1, id)
  return job
end
