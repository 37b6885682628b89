-- The few pages of the issuer. Everything that is put into them is escaped.
local pages = {}

local ENTITIES = {
  ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;",
}

function pages.escape(text)
  return (tostring(text):gsub("[&<>\"']", ENTITIES))
end

local STYLE = [[
:root { color-scheme: light dark; --ink: #171a21; --soft: #596070; --paper: #f7f6f2; --card: #fff;
  --line: #e0ded6; --edge: #8b8f9a; --accent: #24408e; --on-accent: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceef3; --soft: #a2aaba; --paper: #13151a;
  --card: #1b1e25; --line: #31353f; --edge: #6d7482; --accent: #9db7ff; --on-accent: #10131c; } }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { box-sizing: border-box; width: min(28rem, 100% - 2rem); margin: 1rem; padding: 2rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 1rem; }
h1 { margin: 0 0 .5rem; font-size: 1.4rem; }
p { margin: 0 0 1.25rem; color: var(--soft); }
ul { margin: 0 0 1.25rem; padding-left: 1.25rem; }
button { display: block; width: 100%; margin: .75rem 0 0; padding: .8rem 1rem; text-align: left;
  font: inherit; color: inherit; background: none; border: 1px solid var(--edge);
  border-radius: .7rem; cursor: pointer; }
button:hover { border-color: var(--accent); }
.choice { display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; }
.choice button { margin: 0; text-align: center; }
.choice .first { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
button:focus-visible, a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
small { display: block; color: var(--soft); }
main { overflow-wrap: anywhere; }
@media (forced-colors: active) { .choice .first { border-width: 3px; } }
a { color: var(--accent); }]]

-- `policy` is added to a Content-Security-Policy that allows nothing but the style below.
local function page(status, title, content, policy, head)
  policy = ("default-src 'none'; base-uri 'none'; img-src 'self'; style-src 'sha256-%s'; %s"):format(
    base64.encode(crypto.sha256(STYLE, "raw")),
    policy
  )
  return {
    statusCode = status,
    headers = {
      ["Content-Type"] = "text/html; charset=utf-8",
      ["Cache-Control"] = "no-store",
      ["Referrer-Policy"] = "same-origin", -- the forms must tell where they come from
      ["X-Content-Type-Options"] = "nosniff",
      ["Content-Security-Policy"] = policy,
    },
    body = table.concat {
      '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n',
      '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>',
      pages.escape(title),
      '</title>\n<link rel="icon" href="/_luafn/dev/icon.svg" type="image/svg+xml">\n<style>',
      STYLE,
      "</style>\n",
      head or "",
      "<main>\n<h1>",
      pages.escape(title),
      "</h1>\n",
      content,
      "</main>\n</html>\n",
    },
  }
end

-- Choose who to be: one button a user, no script. `users` is what users.describe() tells, `action`
-- where the choice is sent.
function pages.login(users, action)
  local parts = { "<p>This is the development issuer: no password, choose a user.</p>\n" }
  parts[#parts + 1] = ('<form method="post" action="%s">\n'):format(pages.escape(action))
  for i, user in ipairs(users) do
    local roles = table.concat(user.roles, ", ")
    local button = '<button name="user" value="%s"%s>%s<small>%s &middot; %s</small></button>\n'
    parts[#parts + 1] = button:format(
      pages.escape(user.sub),
      i == 1 and " autofocus" or "",
      pages.escape(user.name),
      pages.escape(user.email or user.sub),
      pages.escape(user.blocked and "blocked" or roles ~= "" and roles or "no role")
    )
  end
  parts[#parts + 1] = "</form>\n"
  return page(200, "Sign in", table.concat(parts), "frame-ancestors 'none'")
end

-- May the application have what it asks for? Two buttons, no script.
function pages.consent(client, user, params, action)
  local scopes = {}
  for scope in (params.scope or "openid"):gmatch("%S+") do
    scopes[#scopes + 1] = "<li><code>" .. pages.escape(scope) .. "</code></li>"
  end
  local content = ([[
<p>%s asks for access to %s in your name, %s:</p>
<ul>%s</ul>
<form method="post" action="%s" class="choice">
<button name="consent" value="decline">Decline</button>
<button name="consent" value="accept" class="first" autofocus>Accept</button>
</form>
]]):format(
    pages.escape(client.name or params.client_id),
    pages.escape(params.audience or "your profile"),
    pages.escape(user.name),
    table.concat(scopes),
    pages.escape(action)
  )
  return page(200, "Authorize", content, "frame-ancestors 'none'")
end

function pages.message(status, title, text)
  local content = ('<p>%s</p>\n<a href="/">Back to the start</a>\n'):format(pages.escape(text))
  return page(status, title, content, "frame-ancestors 'none'")
end

local SCRIPT_ESCAPES = { ["<"] = "\\u003c", [">"] = "\\u003e", ["&"] = "\\u0026" }

-- JSON that may stand in a script element.
local function script_json(value)
  local text = json.encode(value):gsub("[<>&]", SCRIPT_ESCAPES)
  return (text:gsub("\u{2028}", "\\u2028"):gsub("\u{2029}", "\\u2029"))
end

-- Hands `response` to the page that opened this one, and to no other origin
-- (response_mode=web_message).
function pages.web_message(response, origin)
  local script = ("(window.opener || window.parent).postMessage(%s, %s);"):format(
    script_json { type = "authorization_response", response = response },
    script_json(origin)
  )
  local policy = ("script-src 'sha256-%s'; frame-ancestors %s"):format(
    base64.encode(crypto.sha256(script, "raw")),
    origin
  )
  local head = "<script>" .. script .. "</script>\n"
  return page(200, "Signing in", "<p>One moment.</p>\n", policy, head)
end

return pages
