if version_of(1) ~= ARGV[1] then
  return 0
end
return redis.call('UNLINK', KEYS[1])
