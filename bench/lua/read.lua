-- GET one item, any of them.
local run, stock = require("run"), require("stock")

init = run.seed

function request()
  return wrk.format("GET", stock.base .. "/" .. stock.any())
end
