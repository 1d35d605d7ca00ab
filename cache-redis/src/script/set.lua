local function set(at, string, lifetime, wanted)
  local here = version_of(at)
  if here ~= nil and here == string:sub(3, 18) then
    return '1'
  end
  if (here or '') ~= wanted then
    return '0'
  end
  if lifetime == '' then
    redis.call('SET', KEYS[at], string)
  else
    redis.call('SET', KEYS[at], string, 'PX', lifetime)
  end
  return '1'
end
local answers = {}
for at = 1, #KEYS do
  answers[at] = set(at, ARGV[3 * at - 2], ARGV[3 * at - 1], ARGV[3 * at])
end
return table.concat(answers)
