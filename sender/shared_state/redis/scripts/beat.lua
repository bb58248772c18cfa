-- ARGV: run, logged up to. Say that the replica lives. After a time in which nobody could, everybody gets another chance.
local refused = require_alive(ARGV[2])
if refused then return refused end
if now < beat - 1000000 then  -- the server's clock was set back: no owner lives longer for that
  local owners = redis.call('HGETALL', prefix .. 'owners')
  for n = 1, #owners, 2 do
    if tonumber(owners[n + 1]) > now + 22000000 then
      redis.call('HSET', prefix .. 'owners', owners[n], whole(now + 22000000))
    end
  end
end
if now - beat > 10000000 then
  local owners = redis.call('HGETALL', prefix .. 'owners')
  for n = 1, #owners, 2 do
    if tonumber(owners[n + 1]) > 0 then
      redis.call('HSET', prefix .. 'owners', owners[n], whole(now + 22000000))
    end
  end
end
redis.call('HSET', meta, 'beat', whole(now))
redis.call('HSET', prefix .. 'owners', ARGV[2], whole(now + 22000000))
return 1
