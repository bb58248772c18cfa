-- ARGV: run, milliseconds to keep a finished one, logged up to, day,
-- then key, content, state, resendable, result, detail, line of each. Returns the number of the last line.
local run, keep, day = ARGV[2], ARGV[3], ARGV[5]
local seq, outbox = prefix .. 'seq:' .. run, prefix .. 'outbox:' .. run

local function forget_logged(upto)
  local out = tonumber(redis.call('HGET', seq, 'out') or 0)
  if upto > out then
    redis.call('LTRIM', outbox, upto - out, -1)
    redis.call('HSET', seq, 'out', upto)
  end
end

local function let_go(key, owner)
  redis.call('SREM', prefix .. 'handed:' .. owner, key)
  redis.call('SREM', prefix .. 'taken:' .. owner, key)
end

local function finish(key, content, state, resendable, result, detail, line)
  local job = prefix .. 'j:' .. key
  local row = redis.call('HMGET', job, 's', 'o', 'i')
  let_go(key, run)
  -- A replica that was taken for dead may come late: its doubt says nothing against an acceptance that is known.
  if row[1] == 's' and row[2] ~= run and state ~= 's' then return end
  if row[1] then
    tell(row[1], -1)
    let_go(key, row[2])
    redis.call('DEL', job)
  end
  if result == '' then result = row[3] or '' end
  redis.call('HSET', job, 's', state, 'c', content, 'o', run)
  if result ~= '' then redis.call('HSET', job, 'i', result) end
  if resendable == '0' then redis.call('HSET', job, 'r', '0') end
  if detail ~= '{}' then redis.call('HSET', job, 't', detail) end
  if state == 'd' then
    redis.call('ZADD', prefix .. 'doubts', 0, key)
  else
    redis.call('PEXPIRE', job, keep)
    redis.call('ZREM', prefix .. 'doubts', key)
  end
  if result ~= '' then
    redis.call('SADD', prefix .. 'results:' .. day, result)
    redis.call('PEXPIRE', prefix .. 'results:' .. day, keep + 86400000)
  end
  tell(state, 1)
  redis.call('RPUSH', outbox, line)
  redis.call('HINCRBY', seq, 'in', 1)
end

forget_logged(tonumber(ARGV[4]))
for n = 6, #ARGV, 7 do
  finish(ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3], ARGV[n + 4], ARGV[n + 5], ARGV[n + 6])
end
return tonumber(redis.call('HGET', seq, 'in') or 0)
