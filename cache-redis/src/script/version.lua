-- The version of what is under KEYS[at] as 16 bytes, or nil. Some servers require that keys are written like this.
local function version_of(at)
  local head = redis.pcall('GETRANGE', KEYS[at], 0, 25)
  if type(head) == 'string' then
    if #head == 26 and head:sub(1, 2) == '\193r' then
      return head:sub(3, 18)
    end
    if #head == 0 and redis.call('EXISTS', KEYS[at]) == 0 then
      return nil
    end
    head = redis.call('GET', KEYS[at])
  else
    head = 'not a string'
  end
  return (redis.sha1hex(head):sub(1, 32):gsub('%x%x', function(byte)
    return string.char(tonumber(byte, 16))
  end))
end
