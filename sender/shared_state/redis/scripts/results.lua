-- ARGV: first day, last day, results... Returns those that belong to a job.
local known = {}
for n = 4, #ARGV do
  for day = tonumber(ARGV[3]), tonumber(ARGV[2]), -1 do
    if redis.call('SISMEMBER', prefix .. 'results:' .. whole(day), ARGV[n]) == 1 then
      known[#known + 1] = ARGV[n]
      break
    end
  end
end
return known
