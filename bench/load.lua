-- wrk: every request carries the next user's token; TRADE=1 makes it, under a key of its own, a market order.
local tokens = {}
for line in io.lines(os.getenv("TOKENS")) do if #line > 0 then tokens[#tokens + 1] = line end end
local trade = os.getenv("TRADE") == "1"
local run = os.getenv("RUN")
local n = 0
request = function()
  n = n + 1
  local headers = { ["Authorization"] = "Bearer " .. tokens[n % #tokens + 1] }
  if not trade then return wrk.format("GET", nil, headers) end
  headers["Content-Type"] = "application/json"
  headers["Idempotency-Key"] = run .. "-" .. n
  local body = n % 2 == 0 and '{"action":"buy","type":"market","amount":"100","currency":"inr"}'
                           or '{"action":"sell","type":"market","amount":"0.00001","currency":"btc"}'
  return wrk.format("POST", nil, headers, body)
end
