-- Every request is a new Slack message: a timestamp of its own.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  token = args[1] or ""
  count = 0
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  wrk.headers["User-Agent"] = "Slackbot 1.0 (+https://api.slack.com/robots)"
  wrk.headers["Accept"] = "application/json,*/*"
  base = os.time() * 10 + number
end

function request()
  count = count + 1
  local timestamp = string.format("%d.%06d", base + math.floor(count / 1000000) * 100, count % 1000000)
  wrk.body = "token=" .. token .. "&team_id=T3R0C6ABC&team_domain=pagertree&service_id=398047594123"
    .. "&channel_id=C014E5UMZ1S&channel_name=production&timestamp=" .. timestamp
    .. "&user_id=U3QTH7ABC&user_name=austinrmiller1991"
    .. "&text=outage+check+servers+high&trigger_word=outage"
  return wrk.format()
end
