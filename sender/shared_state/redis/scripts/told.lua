-- ARGV: run. This replica has said again what a restarted server may have forgotten. Returns how many others have not
-- yet, and whether to wait for them.
redis.call('SREM', prefix .. 'untold', ARGV[2])
local changed = tonumber(redis.call('HGET', meta, 'changed') or 0)
return {redis.call('SCARD', prefix .. 'untold'), now < changed + 8000000 and 1 or 0}
