-- ARGV: run, then key, content, detail, record the caller saw ("state run" or "") of each.
-- Returns those refused, as find.lua does.
local run = ARGV[2]
local refused = require_alive(run)
if refused then return refused end
refused = {}
for n = 3, #ARGV, 4 do
  local key, content, detail, seen = ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3]
  local job = prefix .. 'j:' .. key
  local row = redis.call('HMGET', job, 's', 'c', 'o', 'r', 'i', 't')
  local state, owner = row[1], row[3]
  if state == 'h' and owner == run then
    redis.call('HSET', job, 'c', content, 't', detail)
  elseif not state or state == 'f' or (state ~= 'h' and seen == state .. ' ' .. owner) then
    local before = state and cjson.encode(redis.call('HGETALL', job))
    if state then
      tell(state, -1)
      redis.call('PERSIST', job)
      redis.call('ZREM', prefix .. 'doubts', key)
      redis.call('HDEL', job, 'r')
      redis.call('HSET', job, 'b', before)
    end
    redis.call('HSET', job, 's', 'h', 'c', content, 'o', run, 't', detail)
    redis.call('SADD', prefix .. 'handed:' .. run, key)
    tell('h', 1)
  else
    local held = state == 'h' and alive(owner)
    local ending = state ~= 'h' and row[6] or ''
    for _, value in ipairs({key, state, row[2], owner, row[4] or '1', held and '1' or '0', row[5] or '', ending}) do
      refused[#refused + 1] = value
    end
  end
end
return refused
