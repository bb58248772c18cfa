-- Register a replica; returns its number.
local run = redis.call('HINCRBY', meta, 'runs', 1)
redis.call('HSET', prefix .. 'owners', run, whole(now + 22000000))
return run
