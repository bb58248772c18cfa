-- ARGV: lane, what is asked, and its arguments:
--   declare, configured rate, limit, window: join the lane. A rate configured otherwise than before is a change of it;
--     an empty one takes the rate as it is.
--   rate, limit, window | pause, microseconds | hold | go | distrust
-- Anything else changes nothing. Returns limit, window, held ("1": an operator paused it), now.
local name, asked = ARGV[2], ARGV[3]
local lane = prefix .. 'lane:' .. name

local function field(which) return tonumber(redis.call('HGET', lane, which) or 0) end
local function not_before(instant) redis.call('HSET', lane, 'floor', whole(math.max(field('floor'), instant))) end

-- When all is past that may have been granted before; in lanes that may be divided parts are held for seconds.
local function past(limit, window)
  return now + window + (limit >= 20 and window <= 1000000 and 5200000 or 700000)
end

local function change(limit, window)
  local old_limit, old_window = field('limit'), field('window')
  if limit * old_window < old_limit * window then  -- what was granted under the old rate still counts; parts shrink
    not_before(field('last') + math.max(window, old_window))
  end
  redis.call('HSET', lane, 'limit', whole(limit), 'window', whole(window), 'unsettled', whole(now))
  redis.call('HDEL', lane, 'span', 'span_at')
end

if asked == 'declare' then
  local limit, window = tonumber(ARGV[5]), tonumber(ARGV[6])
  if redis.call('HSETNX', lane, 'configured', ARGV[4]) == 1 then
    -- Nobody knows what was written before this state began: one window, and all that may be granted.
    redis.call('HSET', lane, 'limit', whole(limit), 'window', whole(window), 'floor', whole(past(limit, window)))
    redis.call('SADD', prefix .. 'lanes', name)
  elseif ARGV[4] ~= '' and redis.call('HGET', lane, 'configured') ~= ARGV[4] then
    redis.call('HSET', lane, 'configured', ARGV[4])
    change(limit, window)
  end
elseif asked == 'rate' then
  change(tonumber(ARGV[4]), tonumber(ARGV[5]))
elseif asked == 'pause' then
  redis.call('HSET', lane, 'paused', whole(math.max(field('paused'), now + tonumber(ARGV[4]))))
elseif asked == 'hold' then
  redis.call('HSET', lane, 'held', 1)
elseif asked == 'go' then
  redis.call('HSET', lane, 'held', 0)
elseif asked == 'distrust' then
  not_before(now + field('window') + 700000)
end
return {redis.call('HGET', lane, 'limit') or '0', redis.call('HGET', lane, 'window') or '0',
        redis.call('HGET', lane, 'held') or '0', whole(now)}
