-- POST /: one more picture, of a form. The host refuses what a page of another site posts.
local wall = require "lib.wall"

local CAPTION = { type = "string", minLength = 1, maxLength = 200 }

-- What a file is says its beginning, whatever its sender calls it.
local KINDS = {
  ["^\x89PNG\r\n"] = "image/png", ["^\xff\xd8\xff"] = "image/jpeg",
  ["^GIF8[79]a"] = "image/gif", ["^RIFF....WEBP"] = "image/webp",
}

local function kind_of(file)
  for beginning, kind in pairs(KINDS) do
    if type(file) == "table" and file.data:find(beginning) then return kind end
  end
end

return {
  path = "/", methods = { "POST" }, auth = { login = true },
  body = "5MB", memory = "64MB", concurrency = 4,  -- a form is read whole: four of them fit

  handler = function(event, context)
    local form = event:form()
    local kind = kind_of(form.picture)
    local caption, faults = schema.check(CAPTION, form.caption)
    if not caption then return wall.page(context, "The caption " .. faults[1].message .. ".", form.caption) end
    if not kind then return wall.page(context, "That file is no PNG, JPEG, GIF or WebP.", caption) end
    wall.db:exec("insert into pictures (id, owner, caption, type, data, added) values ($1, $2, $3, $4, $5, $6)",
      crypto.uuid(), context.identityContext.claims.sub, caption, kind, form.picture.data, time.iso())
    channel.publish("wall", "changed")
    return respond.redirect("/", 303)
  end,
}
