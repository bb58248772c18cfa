-- ARGV: run, lane, version of the division that the caller knows, a division to put in its place (empty: none), whether
-- that has parts ('1'), care (the widened window of the caller's guard). See division.py: it is only kept here.
-- Returns now, version, division, begins, floor, limit, window, held, paused until, unsettled since, care, replicas, and
-- owner and instant of each that was heard.
--
-- While there are parts no slots are given from the line. The first parts begin BEGIN after its last slot, since a write
-- may come late and the line can make up for it no more; the line begins after the window of the last part.
local TERM, BEGIN, OPEN, OLD = 4600000, 250000, 50000, 60000000

local run, lane = ARGV[2], prefix .. 'lane:' .. ARGV[3]
local refused = require_alive(run)
if refused then return refused end
local h, flat = {}, redis.call('HGETALL', lane)
for n = 1, #flat, 2 do h[flat[n]] = flat[n + 1] end
if not h.limit then return {whole(now), '-1'} end
local function field(name) return tonumber(h[name] or 0) end
local window, floor, begins, version = field('window'), field('floor'), field('begins'), field('version')

local heard, stamps = lane .. ':heard', redis.call('HGETALL', lane .. ':heard')
for n = 1, #stamps, 2 do
  local at = tonumber(stamps[n + 1])
  if at > now then redis.call('HSET', heard, stamps[n], whole(now)) end  -- the server's clock was set back
  if at < now - OLD then redis.call('HDEL', heard, stamps[n]) end
  if stamps[n] == run and at < now - TERM then version = version + 1 end  -- others may have taken its part just now
end
if begins > now + window + 10000000 then begins, floor = now, now + window + 5200000 end
redis.call('HSET', heard, run, whole(now))

if ARGV[5] ~= '' and tonumber(ARGV[4]) == version then
  version = version + 1
  if ARGV[6] ~= '1' then
    floor, h.unsettled = math.max(floor, now + window + OPEN), whole(now)
    redis.call('HDEL', lane, 'divided')
  elseif h.divided ~= '1' then
    begins = math.max(field('last'), floor, now) + BEGIN
    redis.call('HSET', lane, 'divided', 1)
  end
  h.division = ARGV[5]
end
local care = tonumber(ARGV[7])  -- the most careful replica of the last 5 s decides
if care >= field('care') or now - field('care_at') > 5000000 then
  h.care, h.care_at = whole(care), whole(now)
end
redis.call('HSET', lane, 'version', whole(version), 'division', h.division or '', 'begins', whole(begins),
           'floor', whole(floor), 'unsettled', h.unsettled or '0', 'care', h.care, 'care_at', h.care_at)
redis.call('ZREMRANGEBYSCORE', lane .. ':active', '-inf', now - 1500000)
return {whole(now), whole(version), h.division or '', whole(begins), whole(floor), h.limit, h.window, h.held or '0',
        whole(field('paused')), h.unsettled or '0', h.care, redis.call('ZCARD', lane .. ':active'),
        redis.call('HGETALL', heard)}
