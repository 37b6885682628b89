-- What hangs on the wall, and its page.
local db = sql.open(env.DATABASE_URL)

local wall = { db = db }

-- The newest come first.
function wall.pictures()
  return db:query("select id, owner, caption from pictures order by added desc, id limit 50")
end

-- `fault`: what was wrong with the form, which is shown again with its caption.
function wall.page(context, fault, caption)
  local me = context.identityContext.claims.sub
  local values = { me = me, pictures = wall.pictures(), fault = fault, caption = caption }
  return respond.html(html.render("views/wall.html", values), fault and 422)
end

return wall
