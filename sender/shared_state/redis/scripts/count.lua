return redis.call('HGETALL', prefix .. 'counts')
