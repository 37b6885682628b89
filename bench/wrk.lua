-- Sends a token of a file with each request, one after the other; prints what was measured as JSON.
local requests, at = {}, 0

function init(args)
    local file = args[1] and io.open(args[1])
    if not file then
        requests[1] = wrk.format("GET")
        return
    end
    for token in file:lines() do
        requests[#requests + 1] = wrk.format("GET", nil, { Authorization = "Bearer " .. token })
    end
    file:close()
end

function request()
    at = at % #requests + 1
    return requests[at]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\nJSON {"requests":%d,"us":%d,"p50":%d,"p99":%d,"bad":%d,"broken":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
