-- luafn test: each test begins with an empty database.
local function add(t, who, text)
  local res = t.invoke("notes", { method = "POST", as = who, body = { body = text } })
  t.equal(res.status, 201)
  return res.json().id
end

local function bodies(t, who)
  local list = {}
  for i, note in ipairs(t.invoke("notes", { method = "GET", as = who }).json()) do list[i] = note.body end
  table.sort(list)
  return list
end

test("everybody sees his own", function(t)
  add(t, "ada", "buy milk")
  add(t, "ada", "it's '; drop table notes; --")
  add(t, "bob", "call ada")
  t.equal(bodies(t, "ada"), { "buy milk", "it's '; drop table notes; --" })
  t.equal(bodies(t, "bob"), { "call ada" })
  t.equal(t.invoke("notes", { method = "GET" }).status, 401)
end)

test("changes and deletes his own, and nobody else's", function(t)
  local path = "/notes/" .. add(t, "ada", "buy milk")
  local function change(who)
    return t.invoke("note", { method = "PUT", path = path, as = who, body = { body = "buy tea" } }).status
  end
  local function delete(who) return t.invoke("note", { method = "DELETE", path = path, as = who }).status end
  t.equal({ change("bob"), delete("bob") }, { 404, 404 })
  t.equal(bodies(t, "ada"), { "buy milk" })
  t.equal(change("ada"), 204)
  t.equal(bodies(t, "ada"), { "buy tea" })
  t.equal({ delete("ada"), delete("ada") }, { 204, 404 })
  t.equal(bodies(t, "ada"), {})
end)

test("takes a note that is one", function(t)
  for _, body in ipairs { {}, { body = "" }, { body = 5 }, { body = "x", owner = "bob" } } do
    t.equal(t.invoke("notes", { method = "POST", as = "ada", body = body }).status, 422)
  end
  t.equal(bodies(t, "ada"), {})
end)
