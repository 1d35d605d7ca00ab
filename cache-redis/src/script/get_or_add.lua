local value = redis.pcall('GET', KEYS[1])
if not value then
  if ARGV[2] == '' then
    redis.call('SET', KEYS[1], ARGV[1])
  else
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  end
  return nil
end
if type(value) == 'table' then
  value = 'not a string'
elseif value:sub(1, 18) == ARGV[1]:sub(1, 18) then
  return nil
end
return {redis.call('PTTL', KEYS[1]), value}
