local function set(key, string, lifetime, wanted)
  local here = version_of(key)
  if here ~= nil and here == string:sub(3, 18) then
    return '1'
  end
  if (here or '') ~= wanted then
    return '0'
  end
  if lifetime == '' then
    redis.call('SET', key, string)
  else
    redis.call('SET', key, string, 'PX', lifetime)
  end
  return '1'
end
local answers = {}
for at, key in ipairs(KEYS) do
  answers[at] = set(key, ARGV[3 * at - 2], ARGV[3 * at - 1], ARGV[3 * at])
end
return table.concat(answers)
