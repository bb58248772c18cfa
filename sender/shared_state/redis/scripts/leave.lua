-- ARGV: run. A clean end: whatever is left may be taken over at once.
local run = ARGV[2]
redis.call('SREM', prefix .. 'untold', run)
if redis.call('SCARD', prefix .. 'handed:' .. run) + redis.call('SCARD', prefix .. 'taken:' .. run)
   + redis.call('LLEN', prefix .. 'outbox:' .. run) == 0 then
  redis.call('HDEL', prefix .. 'owners', run)
  redis.call('DEL', prefix .. 'seq:' .. run)
else
  redis.call('HSET', prefix .. 'owners', run, 0)
end
return 1
