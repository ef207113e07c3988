-- Every request is a new Slack message: a timestamp of its own, a little later than the one before, or a
-- random one if the second argument is `random`.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  token = args[1] or ""
  random = args[2] == "random"
  math.randomseed(os.time() * 100 + number)
  count = 0
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  wrk.headers["User-Agent"] = "Slackbot 1.0 (+https://api.slack.com/robots)"
  wrk.headers["Accept"] = "application/json,*/*"
  base = os.time() * 10 + number
end

function request()
  count = count + 1
  local seconds, fraction = base + math.floor(count / 1000000) * 100, count % 1000000
  if random then
    seconds, fraction = math.random(1000000000, 1999999999), math.random(0, 999999)
  end
  local timestamp = string.format("%d.%06d", seconds, fraction)
  wrk.body = "token=" .. token .. "&team_id=T3R0C6ABC&team_domain=pagertree&service_id=398047594123"
    .. "&channel_id=C014E5UMZ1S&channel_name=production&timestamp=" .. timestamp
    .. "&user_id=U3QTH7ABC&user_name=austinrmiller1991"
    .. "&text=outage+check+servers+high&trigger_word=outage"
  return wrk.format()
end
