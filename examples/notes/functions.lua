-- Notes: everybody who is signed in has his own, in a database.
return {
  functions = {
    notes = { script = "scripts/notes.lua", env = { "DATABASE_URL" }, sql = { "DATABASE_URL" } },
    note = { script = "scripts/note.lua", env = { "DATABASE_URL" }, sql = { "DATABASE_URL" } },
  },
  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },
}
