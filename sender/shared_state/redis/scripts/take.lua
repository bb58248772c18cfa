-- ARGV: run, most. Take what dead replicas left handed over; returns how many were taken now.
local run, most, taken = ARGV[2], tonumber(ARGV[3]), 0
for _, owner in ipairs(redis.call('HKEYS', prefix .. 'owners')) do
  if owner ~= run and not alive(owner) then
    for _, set in ipairs({prefix .. 'handed:' .. owner, prefix .. 'taken:' .. owner}) do
      if most > taken then
        for _, key in ipairs(redis.call('SRANDMEMBER', set, most - taken)) do
          redis.call('SMOVE', set, prefix .. 'taken:' .. run, key)
          taken = taken + 1
        end
      end
    end
  end
end
return taken
