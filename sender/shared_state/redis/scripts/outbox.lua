-- ARGV: run, logged up to. Forget what is logged, take over what dead replicas left; returns the number of the last
-- line (0 when none waits) and the lines.
local run, upto = ARGV[2], tonumber(ARGV[3])
local seq, outbox = prefix .. 'seq:' .. run, prefix .. 'outbox:' .. run
local out = tonumber(redis.call('HGET', seq, 'out') or 0)
if upto > out then
  redis.call('LTRIM', outbox, upto - out, -1)
  redis.call('HSET', seq, 'out', upto)
end
for _, owner in ipairs(redis.call('HKEYS', prefix .. 'owners')) do
  if owner ~= run and not alive(owner) then
    local left = prefix .. 'outbox:' .. owner
    for _, line in ipairs(redis.call('LRANGE', left, 0, 999)) do
      redis.call('RPUSH', outbox, line)
      redis.call('HINCRBY', seq, 'in', 1)
    end
    redis.call('LTRIM', left, 1000, -1)
    if redis.call('SCARD', prefix .. 'handed:' .. owner) + redis.call('SCARD', prefix .. 'taken:' .. owner)
       + redis.call('LLEN', left) == 0 then
      redis.call('HDEL', prefix .. 'owners', owner)
      redis.call('DEL', prefix .. 'seq:' .. owner)
    end
  end
end
local lines = redis.call('LRANGE', outbox, 0, -1)
return {#lines == 0 and 0 or tonumber(redis.call('HGET', seq, 'in')), lines}
