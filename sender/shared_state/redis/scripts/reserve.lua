-- ARGV: run, lane, jobs wanted of high, normal, low, microseconds by which the window is widened, share of the limit,
-- lead (how soon a slot can be reached), owed (by how much writes came late), urgent (1: one slot past what the API
-- asked to wait; 2: past an operator's pause, too).
-- Returns now, slots granted, the first, the step between them, when to ask again, paused until, held, limit, window,
-- whether the lane is divided (`divide.lua`): then no slots are given.
--
-- Slots follow each other on one line; `limit` of them take the widened window. A replica gets a run of them, as long
-- as all active replicas together reserve FILL ahead, so that they come round in turn. Nothing is reserved further
-- ahead than FAR (high) or NEAR; while a higher class is hungry, a lower one gets every 20th slot. In a slow lane who
-- had the last slot leaves the others the first word about the next, until it is BEHIND ahead.
local FILL, NEAR, FAR, BEHIND = 420000, 500000, 600000, 250000
local ACTIVE, HUNGRY, SHARE = 1500000, 450000, 20

local run, lane = ARGV[2], prefix .. 'lane:' .. ARGV[3]
local refused = require_alive(run)
if refused then return refused end
local h, flat = {}, redis.call('HGETALL', lane)
for n = 1, #flat, 2 do h[flat[n]] = flat[n + 1] end
if not h.limit then return {whole(now), '-1'} end
local function field(name) return tonumber(h[name] or 0) end

local limit, window, last, floor = field('limit'), field('window'), field('last'), field('floor')
if last > now + 2000000 + 2 * window then  -- the server's clock was set back
  last, floor = 0, now + window + 700000
  h.hungry1, h.hungry2, h.share2, h.share3, h.span_at, h.paused = 0, 0, 0, 0, 0, 0
end

local span = (window + tonumber(ARGV[7])) / tonumber(ARGV[8])  -- the most careful replica of the last 3 s decides
if span < field('span') and now - field('span_at') < 3000000 then
  span = field('span')
else
  redis.call('HSET', lane, 'span', span, 'span_at', whole(now))
end
local step = span / limit

local active = lane .. ':active'
redis.call('ZADD', active, now, run)
redis.call('ZREMRANGEBYSCORE', active, '-inf', now - ACTIVE)
local replicas = redis.call('ZCARD', active)
local batch = math.max(1, math.min(500, math.floor(FILL / (replicas * step))))

last = last + tonumber(ARGV[10])
local urgent, divided = ARGV[11] ~= '0', h.divided == '1'
local rank  -- of what the replica has most of (division.py): while replicas differ in it, the lane is not divided
for class = 1, 3 do
  local number = tonumber(ARGV[3 + class])
  if number > 0 and (not rank or tonumber(ARGV[3 + rank]) < 20) then rank = class end
end
if rank and h.rank ~= tostring(rank) then
  redis.call('HSET', lane, 'rank', rank, 'unsettled', h.rank and whole(now) or '0')
end
local first = math.max(last + step, floor, urgent and 0 or field('paused'), now + tonumber(ARGV[9]))
local granted, again = 0, now + 500000

local function pressed(class)
  for above = 1, class - 1 do
    if field('hungry' .. above) > now and h['by' .. above] ~= run then return true end
  end
end

local function grant(class, want)
  local n, horizon = math.min(want, batch - granted), class == 1 and FAR or NEAR
  local share
  if pressed(class) then
    share = math.max(field('share' .. class), now - 1000000)
    n, horizon = math.min(n, math.floor((now - share) / (SHARE * step)) + 1), FAR
    again = math.min(again, math.max(share, now + 20000))
  end
  n = math.max(0, math.min(n, math.floor((now + horizon - first - granted * step) / step) + 1))
  if share and n > 0 then redis.call('HSET', lane, 'share' .. class, whole(share + n * SHARE * step)) end
  if class < 3 and want > n then
    redis.call('HSET', lane, 'hungry' .. class, whole(now + HUNGRY), 'by' .. class, run)
  elseif class < 3 and h['by' .. class] == run then
    redis.call('HDEL', lane, 'hungry' .. class, 'by' .. class)
  end
  granted = granted + n
end

if divided then
  again = now + 300000
elseif urgent then
  granted = h.held == '1' and ARGV[11] ~= '2' and 0 or 1
elseif batch == 1 and replicas > 1 and h.winner == run and first > now + BEHIND then
  again = first - BEHIND
elseif h.held ~= '1' then
  for class = 1, 3 do grant(class, tonumber(ARGV[3 + class])) end
  local line = first + granted * step
  if line > now + FILL then again = math.max(line - FILL, now) end
end
if granted > 0 then
  last = first + (granted - 1) * step
  redis.call('HSET', lane, 'winner', run)
end
redis.call('HSET', lane, 'last', string.format('%.3f', last), 'floor', whole(floor), 'paused', whole(field('paused')))
return {whole(now), whole(granted), string.format('%.3f', first), string.format('%.3f', step), whole(again),
        whole(field('paused')), h.held or '0', whole(limit), whole(window), divided and 1 or 0}
