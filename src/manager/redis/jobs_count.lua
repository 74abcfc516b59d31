local result = {}
for i, state in ipairs(states) do
  result[i] = redis.call('ZCARD', all .. state)
end
for _, what in ipairs({'paused', 'put', 'taken', 'ended', 'failed', 'lost'}) do
  result[#result + 1] = tonumber(redis.call('HGET', counts, what) or '0')
end
return over(result)
