-- ARGV: run, keys... Of the known ones: key, state, content, run, resendable, held by another that lives, result,
-- detail of its end.
local found = {}
for n = 3, #ARGV do
  local row = redis.call('HMGET', prefix .. 'j:' .. ARGV[n], 's', 'c', 'o', 'r', 'i', 't')
  if row[1] then
    local held = row[1] == 'h' and row[3] ~= ARGV[2] and alive(row[3])
    local detail = row[1] ~= 'h' and row[6] or ''
    for _, value in ipairs({ARGV[n], row[1], row[2], row[3], row[4] or '1', held and '1' or '0', row[5] or '', detail}) do
      found[#found + 1] = value
    end
  end
end
return found
