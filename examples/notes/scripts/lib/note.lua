-- What a note is, as JSON: `input` of those who write one.
return {
  type = "object", required = { "body" }, additionalProperties = false,
  properties = { body = { type = "string", minLength = 1, maxLength = 10000 } },
}
