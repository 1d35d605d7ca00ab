local value = redis.pcall('GET', KEYS[1])
if not value then
  return nil
end
if type(value) == 'table' then
  value = 'not a string'
end
return {redis.call('PTTL', KEYS[1]), value}
