-- POST a batch of BATCH movements of as many different items, all or none, under a key of its own.
local run, stock = require("run"), require("stock")

wrk.headers["Content-Type"] = "application/json"
local bodies = {}

function init()
  run.seed()
  for number = 1, 64 do
    local movements = {}
    for _, id in ipairs(stock.some(tonumber(os.getenv("BATCH")))) do
      movements[#movements + 1] = ('{"itemId":"%s","delta":1,"reason":"benchmark"}'):format(id)
    end
    bodies[number] = ('{"mode":"all","movements":[%s]}'):format(table.concat(movements, ","))
  end
end

function request()
  run.key()
  return wrk.format("POST", os.getenv("BATCH_PATH"), nil, bodies[math.random(#bodies)])
end
