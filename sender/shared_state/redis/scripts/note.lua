-- ARGV: "get" | "put" | "swap", name, expected ("0" = none, "1" + value), new ("0" = none, "1" + value).
local notes = prefix .. 'notes'
local value = redis.call('HGET', notes, ARGV[3])
if ARGV[2] == 'get' then return value end
if ARGV[2] == 'swap' and (value and '1' .. value or '0') ~= ARGV[4] then return 0 end
if ARGV[5] == '0' then
  redis.call('HDEL', notes, ARGV[3])
else
  redis.call('HSET', notes, ARGV[3], string.sub(ARGV[5], 2))
end
return 1
