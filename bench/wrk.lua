-- What wrk sends, and what it measured as one line of JSON.
--   wrk ... -- tokens FILE     each line's token in turn
--   wrk ... -- once FILE       each line's token once, then it ends
--   wrk ... -- body FILE       a POST of the file
--   wrk ... -- functions N     f1 to fN in turn, beside the path that was given
--   wrk ... -- keys N          1 to N below the path that was given, in an order that jumps
local requests, at, ends = {}, 0, false

local function tokens(name)
  for token in io.lines(name) do
    requests[#requests + 1] = wrk.format("GET", nil, { Authorization = "Bearer " .. token })
  end
end

local build = {
  tokens = tokens,
  once = function(name)
    tokens(name)
    ends = true
  end,
  body = function(name)
    local file = assert(io.open(name))
    requests[1] = wrk.format("POST", nil, { ["Content-Type"] = "application/json" }, file:read "*a")
    file:close()
  end,
  functions = function(count)
    for i = 1, tonumber(count) do
      requests[i] = wrk.format("GET", (wrk.path:gsub("[^/]+$", "f" .. i)))
    end
  end,
  keys = function(count)
    count = tonumber(count)
    for i = 1, count do requests[i] = wrk.format("GET", wrk.path .. i * 7919 % count + 1) end
  end,
}

function init(args)
  if args[1] then build[args[1]](args[2]) else requests[1] = wrk.format "GET" end
end

function request()
  at = at % #requests + 1
  if ends and at == #requests then wrk.thread:stop() end
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nJSON {"requests":%d,"us":%d,"p50":%d,"p99":%d,"bad":%d,"broken":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
