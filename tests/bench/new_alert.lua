-- Every request is one new alert, as Prometheus posts it.
function init(args)
  count = 0
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  count = count + 1
  wrk.body = '[{"labels":{"alertname":"outage","id":"' .. count
    .. '","severity":"high","channel":"production"},"annotations":{"summary":"outage check servers high",'
    .. '"user":"austinrmiller1991","team":"pagertree"}}]'
  return wrk.format()
end
