local here = version_here()
local wanted = ARGV[3]
if here ~= nil and here == ARGV[1]:sub(3, 18) then
  return 1
end
if (here or '') ~= wanted then
  return 0
end
if ARGV[2] == '' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
