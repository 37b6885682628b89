-- GET /notes: the caller's notes. POST /notes: one more.
local db = sql.open(env.DATABASE_URL)

return {
  path = "/notes", methods = { "GET", "POST" }, auth = true,
  input = require "lib.note",

  handler = function(event, context)
    local me = context.identityContext.claims.sub
    if event.httpMethod == "GET" then
      return respond.json(200, db:query("select id, body from notes where owner = $1 order by id", me))
    end
    local note = { id = crypto.uuid(), body = event:json().body }
    db:exec("insert into notes (id, owner, body) values ($1, $2, $3)", note.id, me, note.body)
    return respond.json(201, note)
  end,
}
