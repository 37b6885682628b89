-- luafn test: each test begins with an empty database.
local PNG = "\x89PNG\r\n\x1a\n and what follows\0"

local function add(t, form) return t.invoke("add", { as = "ada", form = form }) end
local function picture(data) return { filename = "cat.png", type = "image/png", data = data } end
local function page(t) return t.invoke("wall", { method = "GET", as = "bob" }).body end

test("hangs up a picture, which everybody who signed in sees", function(t)
  t.equal(add(t, { caption = "A <cat> & a dog", picture = picture(PNG) }).status, 303)
  t.match(page(t), "<p>A &lt;cat&gt; &amp; a dog</p>")
  local path = page(t):match('src="(/pictures/[^"]+)"')
  local res = t.invoke("picture", { method = "GET", path = path, as = "bob" })
  t.equal({ res.status, res.headers["content-type"], res.body }, { 200, "image/png", PNG })
  t.equal(t.invoke("picture", { method = "GET", path = "/pictures/none", as = "bob" }).status, 404)
end)

test("shows the form again where something is wrong with it", function(t)
  local function fault(form)
    local res = add(t, form)
    t.equal(res.status, 422)
    t.match(res.body, 'value="&lt;a cat&gt;"')
    return res.body:match('role="alert">([^<]*)<')
  end
  local function kept(form) form.caption = "<a cat>" return form end
  t.equal(fault(kept { picture = picture("<svg onload=alert(1)>") }), "That file is no PNG, JPEG, GIF or WebP.")
  t.equal(fault(kept { picture = picture("") }), "That file is no PNG, JPEG, GIF or WebP.")
  t.equal(fault(kept { picture = PNG }), "That file is no PNG, JPEG, GIF or WebP.")
  for _, caption in ipairs { "", ("x"):rep(201) } do
    t.match(add(t, { caption = caption, picture = picture(PNG) }).body, 'role="alert">The caption must ')
  end
  t.ok(not page(t):find("<li>"))
end)

test("is for those who signed in", function(t)
  for _, name in ipairs { "wall", "add", "live", "picture" } do
    local path = name == "picture" and "/pictures/1" or nil
    t.equal(t.invoke(name, { method = name == "add" and "POST" or "GET", path = path }).status, 401)
  end
end)
