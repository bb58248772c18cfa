-- Stands before every script but enter.lua. KEYS[1] is the workspace's meta hash, ARGV[1] the epoch the caller knows.
-- All keys of a workspace share one hash tag and so one cluster slot; their names are derived from KEYS[1].
-- Instants are microseconds of the server's clock.
local meta = KEYS[1]
local prefix = string.sub(meta, 1, -5)
if redis.call('HGET', meta, 'token') ~= ARGV[1] then
  return redis.error_reply('STATELOST the epoch marker is missing or another')
end
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function whole(number) return string.format('%.0f', number) end

-- While nobody could reach the server nobody could say that he lives: such time counts for no one.
local beat = tonumber(redis.call('HGET', meta, 'beat') or 0)
local function alive(owner)
  local deadline = redis.call('HGET', prefix .. 'owners', owner)
  return deadline and tonumber(deadline) > math.min(now, beat + 10000000)
end
local function require_alive(owner)
  if not alive(owner) then return redis.error_reply('STATELOST this replica was taken for dead') end
end
local function tell(state, by) redis.call('HINCRBY', prefix .. 'counts', state, by) end
