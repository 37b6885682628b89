-- PUT /notes/ID: another text. DELETE /notes/ID: the end of it. Others' notes are not there.
local db = sql.open(env.DATABASE_URL)

return {
  path = "/notes/:id", methods = { "PUT", "DELETE" }, auth = true,
  input = require "lib.note",

  handler = function(event, context)
    local id, me = event.params.id, context.identityContext.claims.sub
    local written
    if event.httpMethod == "DELETE" then
      written = db:exec("delete from notes where id = $1 and owner = $2", id, me)
    else
      written = db:exec("update notes set body = $1 where id = $2 and owner = $3", event:json().body, id, me)
    end
    if written == 0 then return respond.error(404, "not_found", "You have no such note") end
    return { statusCode = 204 }
  end,
}
