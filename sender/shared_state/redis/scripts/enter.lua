-- On every new connection: find or found the epoch; notice a server that was restarted or replaced.
-- ARGV: server's run id (empty: not asked), a token for a new epoch, host of the API. Returns token, born, host, run ids differ.
local meta = KEYS[1]
local prefix = string.sub(meta, 1, -5)
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function whole(number) return string.format('%.0f', number) end
if redis.call('HEXISTS', meta, 'token') == 0 then  -- a server that is full is written to only where it has to be
  redis.call('HSET', meta, 'token', ARGV[2], 'born', whole(now), 'server', ARGV[1], 'host', ARGV[3], 'beat', whole(now))
end
local other = ARGV[1] ~= '' and redis.call('HGET', meta, 'server') ~= ARGV[1]
if other then
  redis.call('HSET', meta, 'server', ARGV[1])
  -- What was granted or recorded in its last moments may be forgotten: nothing starts before all of it is past.
  for _, lane in ipairs(redis.call('SMEMBERS', prefix .. 'lanes')) do
    local limit = tonumber(redis.call('HGET', prefix .. 'lane:' .. lane, 'limit') or 0)
    local window = tonumber(redis.call('HGET', prefix .. 'lane:' .. lane, 'window') or 0)
    local held = limit >= 20 and window <= 1000000 and 5200000 or 700000  -- parts are held for longer (division.py)
    redis.call('HSET', prefix .. 'lane:' .. lane, 'floor', whole(now + window + held))
  end
  -- Those that live say again what is theirs; whoever does not is dead, and what it did last may be forgotten.
  redis.call('HSET', meta, 'changed', whole(now))
  redis.call('DEL', prefix .. 'untold')
  local owners = redis.call('HGETALL', prefix .. 'owners')
  for n = 1, #owners, 2 do
    if tonumber(owners[n + 1]) > 0 then
      redis.call('HSET', prefix .. 'owners', owners[n], whole(now + 22000000))
      redis.call('SADD', prefix .. 'untold', owners[n])
    end
  end
end
return {redis.call('HGET', meta, 'token'), redis.call('HGET', meta, 'born'), redis.call('HGET', meta, 'host') or '',
        other and 1 or 0}
