-- POST a login: EMAIL, PASSWORD.
require("run")

wrk.headers["Content-Type"] = "application/json"
local body = ('{"email":"%s","password":"%s"}'):format(os.getenv("EMAIL"), os.getenv("PASSWORD"))

function request()
  return wrk.format("POST", "/api/auth/login", nil, body)
end
