-- GET one item of any of many accounts: each request is another one's than the one before it.
-- From the environment: ACCOUNTS, a file with a token and an item's id in each line, and ITEM_BASE,
-- the path under which items are.
local run = require("run")

local base = os.getenv("ITEM_BASE")
local requests = {}
for line in io.lines(os.getenv("ACCOUNTS")) do
  local token, id = line:match("(%S+) (%S+)")
  requests[#requests + 1] = { "Bearer " .. token, base .. "/" .. id }
end

init = run.seed

function request()
  local token, path = unpack(requests[math.random(#requests)])
  wrk.headers["Authorization"] = token
  return wrk.format("GET", path)
end
