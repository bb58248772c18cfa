-- ARGV: run, milliseconds to keep a finished one, keys... Only what this replica itself handed over.
local run = ARGV[2]
for n = 4, #ARGV do
  local job = prefix .. 'j:' .. ARGV[n]
  local row = redis.call('HMGET', job, 's', 'o', 'b')
  if row[1] == 'h' and row[2] == run and redis.call('SREM', prefix .. 'handed:' .. run, ARGV[n]) == 1 then
    redis.call('DEL', job)
    tell('h', -1)
    if row[3] then
      local fields = cjson.decode(row[3])
      redis.call('HSET', job, unpack(fields))
      local state = redis.call('HGET', job, 's')
      tell(state, 1)
      if state == 'd' then
        redis.call('ZADD', prefix .. 'doubts', 0, ARGV[n])
      else
        redis.call('PEXPIRE', job, ARGV[3])
      end
    end
  end
end
return 1
