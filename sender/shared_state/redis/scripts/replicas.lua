-- Every owner that has not left: number, microseconds since its last sign of life, jobs that it has handed over.
local found, owners = {}, redis.call('HGETALL', prefix .. 'owners')
for n = 1, #owners, 2 do
  local deadline = tonumber(owners[n + 1])
  if deadline > 0 then
    found[#found + 1] = {owners[n], whole(now + 22000000 - deadline), redis.call('SCARD', prefix .. 'handed:' .. owners[n])}
  end
end
return found
