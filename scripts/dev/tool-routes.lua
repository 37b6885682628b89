-- What `luafn routes` tells, of the host that runs.
return {
  handler = function() return { routes = json.decode(host.routes()) } end,
  auth = "public",
  tool = {
    title = "Routes",
    description = "Every route: method, path, function, script, who may call it (auth), limits, generation.",
    annotations = { readOnlyHint = true },
  },
}
