-- GET the same path again and again: GET_PATH.
require("run")

function request()
  return wrk.format("GET", os.getenv("GET_PATH"))
end
