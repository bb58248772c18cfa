-- ARGV: run, "d" (in doubt) or "h" (taken from the dead), last key of the page before, most.
-- Returns key, content, detail, resendable of each, in the order of the keys.
local keys
if ARGV[3] == 'd' then
  keys = redis.call('ZRANGEBYLEX', prefix .. 'doubts', ARGV[4] == '' and '-' or '(' .. ARGV[4], '+', 'LIMIT', 0, ARGV[5])
else
  keys = {}
  for _, key in ipairs(redis.call('SMEMBERS', prefix .. 'taken:' .. ARGV[2])) do
    if redis.call('HGET', prefix .. 'j:' .. key, 's') ~= 'h' then
      redis.call('SREM', prefix .. 'taken:' .. ARGV[2], key)  -- its owner was not dead and came to an end
    elseif key > ARGV[4] then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
end
local rows = {}
for n = 1, math.min(#keys, tonumber(ARGV[5])) do
  local row = redis.call('HMGET', prefix .. 'j:' .. keys[n], 'c', 't', 'r')
  rows[#rows + 1] = keys[n]
  rows[#rows + 1] = row[1] or ''
  rows[#rows + 1] = row[2] or '{}'
  rows[#rows + 1] = row[3] or '1'
end
return rows
