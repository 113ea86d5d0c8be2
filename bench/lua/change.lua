-- PATCH the quantity of any item to a number far above its threshold, each with a key of its own.
local run, stock = require("run"), require("stock")

wrk.headers["Content-Type"] = "application/json"
init = run.seed

function request()
  run.key()
  local body = ('{"quantity":%d,"reason":"benchmark"}'):format(math.random(1000, 9999))
  return wrk.format("PATCH", stock.base .. "/" .. stock.any() .. "/quantity", nil, body)
end
