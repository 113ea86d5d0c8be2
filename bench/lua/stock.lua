-- The items a run is about. From the environment, one of:
--   ITEMS         a file of ids, one a line
--   ITEM_PATTERN  a format with one number, of which there are ITEM_COUNT, from 1; every
--                 ITEM_SKIP-th is left alone
-- and ITEM_BASE, the path under which items are.
local stock = { base = os.getenv("ITEM_BASE") }

local ids = {}
local pattern = os.getenv("ITEM_PATTERN")
local count = tonumber(os.getenv("ITEM_COUNT"))
local skip = tonumber(os.getenv("ITEM_SKIP"))

if not pattern then
  for id in io.lines(os.getenv("ITEMS")) do ids[#ids + 1] = id end
  count = #ids
end

local function numbered(number)
  return pattern and pattern:format(number) or ids[number]
end

-- The id of any item.
function stock.any()
  local number = math.random(count)
  if skip and number % skip == 0 then number = number - 1 end
  return numbered(number)
end

-- `wanted` different items.
function stock.some(wanted)
  local taken, found = {}, {}
  while #found < wanted do
    local id = stock.any()
    if not taken[id] then
      taken[id] = true
      found[#found + 1] = id
    end
  end
  return found
end

return stock
