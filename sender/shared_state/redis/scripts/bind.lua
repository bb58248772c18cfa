-- ARGV: name of a fact, its value. Returns the value that stands, which is the first that was given.
redis.call('HSETNX', meta, ARGV[2], ARGV[3])
return redis.call('HGET', meta, ARGV[2])
