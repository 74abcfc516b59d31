-- ARGV: id, lease, jobs with blanks between.  1; false: some are not over.
local result = 1
for id in string.gmatch(ARGV[3], '%d+') do
  local state = get(id, 'state')[1]
  if not state then
    return no_such_job()
  end
  if tonumber(state) < 4 then
    result = false
  end
end
return over(result)
