-- wrk ... URL -- BODY "Name: value" ...  posts BODY and prints one line of JSON at the end.
function init(args)
  wrk.method = "POST"
  wrk.body = args[1]
  for index = 2, #args do
    local name, value = args[index]:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
  end
  request_bytes = wrk.format()
end

function request()
  return request_bytes
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failures = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "failures": %d, "p50_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6, failures, latency:percentile(50) / 1000))
end
