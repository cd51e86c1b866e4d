-- What wrk sends and says, told by the environment:
--   BENCH_CREDENTIALS  file of Authorization values, one a line; an empty line sends no such header
--   BENCH_ORDER        "random", else one after the other
--   BENCH_SOURCES      if set, each request says that it comes from another of so many addresses
--   BENCH_STATUSES     if set, every answer's status is counted
-- The last line it prints is JSON for bench/load.py.

local credentials = {}
for line in io.lines(os.getenv("BENCH_CREDENTIALS")) do
  credentials[#credentials + 1] = line
end
local sources = tonumber(os.getenv("BENCH_SOURCES") or "")
local ordered = os.getenv("BENCH_ORDER") ~= "random"
local prepared, place = {}, 0
local threads = {}

local function headers_of(credential)
  local headers = { Host = wrk.headers["Host"] }
  if credential ~= "" then headers["Authorization"] = credential end
  return headers
end

function setup(thread)
  threads[#threads + 1] = thread
end

function init(arguments)
  math.randomseed(os.time())
  statuses = {}
  for index, credential in ipairs(credentials) do
    prepared[index] = wrk.format(nil, nil, headers_of(credential))
  end
end

function request()
  place = ordered and place % #credentials + 1 or math.random(#credentials)
  if not sources then return prepared[place] end
  local headers, number = headers_of(credentials[place]), math.random(sources) - 1
  headers["X-Forwarded-For"] = string.format(
    "10.%d.%d.%d", math.floor(number / 65536) % 256, math.floor(number / 256) % 256, number % 256)
  return wrk.format(nil, nil, headers)
end

if os.getenv("BENCH_STATUSES") then
  function response(status)
    statuses[status] = (statuses[status] or 0) + 1
  end
end

function done(summary, latency)
  local counted = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do
      counted[status] = (counted[status] or 0) + count
    end
  end
  local listed = {}
  for status, count in pairs(counted) do
    listed[#listed + 1] = string.format('"%d": %d', status, count)
  end
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "microseconds": %d, "p50": %.1f, "p99": %.1f, "refused": %d, "broken": %d, "statuses": {%s}}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, table.concat(listed, ", ")))
end
