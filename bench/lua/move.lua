-- POST a movement of any item, each with a key of its own.
local run, stock = require("run"), require("stock")

wrk.headers["Content-Type"] = "application/json"
init = run.seed

function request()
  run.key()
  local body = '{"delta":1,"reason":"benchmark"}'
  return wrk.format("POST", stock.base .. "/" .. stock.any() .. "/movements", nil, body)
end
