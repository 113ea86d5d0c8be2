-- What every script has in common. From the environment:
--   TOKEN   sent as a bearer token, when there is one
--   RUN_ID  differs for each run: seeds the dice and begins the Idempotency-Keys
-- The last line that wrk prints is one JSON object.
local run = {}

local token = os.getenv("TOKEN")
if token then wrk.headers["Authorization"] = "Bearer " .. token end

function run.seed()
  math.randomseed(tonumber(os.getenv("RUN_ID"):sub(1, 8), 16))
end

local sent = 0

-- A key of its own for the next request; with KEYED=0 none.
function run.key()
  if os.getenv("KEYED") == "0" then return end
  sent = sent + 1
  wrk.headers["Idempotency-Key"] = os.getenv("RUN_ID") .. "-" .. sent
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests":%d,"seconds":%.4f,"p50":%.3f,"p99":%.3f,"refused":%d,"broken":%d,"late":%d}',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write, errors.timeout
  ))
end

return run
