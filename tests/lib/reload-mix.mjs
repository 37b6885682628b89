// Everything that a deployment can have under way while it is replaced, again and again: what is borrowed from it must not outlive it.
import path from 'node:path';
import { atomicWrite } from './drill.mjs';
import { deployment, folder, lua, sleep, start } from './host.mjs';
import { CODE, frame, GET, H2Wire, headers, TYPE, u32 } from './h2wire.mjs';
import { AUDIENCE, Issuer } from './issuer.mjs';
import { upstream } from './upstream.mjs';
import { requestText } from './wire.mjs';

// Answers in pieces; /hang never ends. /introspect knows every opaque token.
function answer(req, res) {
  if (req.url === '/introspect') { setTimeout(() => res.end('{"active":true,"sub":"opaque"}'), 20); return; }
  res.write('one');
  if (req.url !== '/hang') setTimeout(() => res.end('two'), 15);
}

const scripts = (up) => ({
  garbage: 'return function() local t = {} for i = 1, 4000 do t[i] = { i } end return "done" end',
  me: 'return function(_, context) return context.identityContext.claims.sub end',
  own: `local wrap = jwt.verifier { issuer = env.ISSUER, audience = ${lua(AUDIENCE)} }
    return wrap(function(_, context) return context.identityContext.claims.sub end)`,
  count: 'return function() return tostring(kv.incr("n", 1, { ttl = 1 })) end',
  nap: 'return function() sleep(0.03) return "rested" end',
  burn: 'return function() local n = 0 for i = 1, 300000 do n = n + i % 7 end return tostring(n) end',
  get: `return function() return fetch(${lua(up)}):text() end`,
  pieces: `return function() local out = {} for p in fetch(${lua(up)}, { stream = true }):chunks() do out[#out + 1] = p end return table.concat(out) end`,
  left: `return function() for _ in fetch(${lua(`${up}/hang`)}, { stream = true }):chunks() do break end return "left" end`,
  both: `return function() parallel(function() fetch(${lua(up)}) end, function() sleep(0.02) end, function() kv.set("k", { 1 }) end) return "both" end`,
  after: `return function() after_response(function() sleep(0.02) fetch(${lua(up)}) kv.incr("after") end) return "first" end`,
  stream: 'return function() return { statusCode = 200, body = function(write) for i = 1, 5 do write(("x"):rep(3000)) sleep(0.005) end end } end',
  limited: 'return function() return "in" end',
  raises: 'return function() error({ code = "boom" }) end',
  late: 'return function() sleep(5) end',
  'work-background': `return function() sleep(0.03) fetch(${lua(up)}) end`,
  tick: 'return function() sleep(0.03) kv.incr("ticks") end',
});

const FIELDS = {
  me: 'auth = true', own: 'env = { "ISSUER" }', limited: 'rate_limit = { limit = 5, window = 1 }', late: 'timeout = 0.05', nap: 'concurrency = 2, queue = 4',
  tick: 'schedule = "* * * * * *"', ...Object.fromEntries(['get', 'pieces', 'left', 'both', 'after', 'work-background'].map((n) => [n, 'fetch = { "127.0.0.1" }'])),
};

// functions.lua, in one of several forms.
function files(up, issuer, turn) {
  const more = `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, backend = ${turn % 3 === 0 ? '"libjwt"' : '"openssl"'},
    introspection = { url = "${up}/introspect", client_id = "me", client_secret = "secret", cache = 1 } },
  publish = "web", redirects = { { from = "/old/*", to = "/.netlify/functions/:splat", status = 200 } },
  headers = { { ["for"] = "/*", values = { ["X-Turn"] = "${turn}" } } },`;
  const all = scripts(up);
  if (turn % 4 === 1) delete all.burn;
  return deployment(all, { fields: FIELDS, more, files: { '.env': `ISSUER=${issuer.issuer}\nTURN=${turn}\n`, 'web/page.html': `<p>${'page '.repeat(20000)}</p>` } });
}

function replace(dir, all) {
  for (const [name, text] of Object.entries(all)) {
    if (/lua$|env$/.test(name)) atomicWrite(path.join(dir, name), text);
  }
}

// Good ones, of which most are not in a cache; expired, by a key that nobody knows, opaque.
function tokenOf(issuer, n) {
  switch (n % 5) {
    case 0: return issuer.bearer({ exp: 1000 });
    case 1: return issuer.bearer({ sub: `user ${n}` }, { by: 'k3', kid: `k${n % 30}` });
    case 2: return { Authorization: `Bearer opaque-${n % 40}` };
    default: return issuer.bearer({ sub: `user ${n % 50}` });
  }
}

const oneIn = (n) => Math.random() * n < 1;
const STATUSES = new Set([200, 202, 401, 404, 429, 502, 503, 504]);

// Asks as one of the clients does, and goes away before the end now and then.
async function ask(h, issuer, names, got, n) {
  const name = names[n % names.length];
  const path = name === 'page' ? '/page.html' : oneIn(7) ? `/old/${name}` : `/.netlify/functions/${name}`;
  const wire = await h.connect();
  try {
    wire.send(requestText({ method: name.endsWith('background') ? 'POST' : 'GET', path, headers: tokenOf(issuer, n) }));
    if (oneIn(6)) { await sleep(Math.random() * 0.03); return; }
    const res = await wire.response();
    got.answers += 1;
    got.statuses[res.status] = (got.statuses[res.status] ?? 0) + 1;
    if (!STATUSES.has(res.status)) got.faults.push(`${name}: ${res.status} ${res.text.slice(0, 100)}`);
  } finally {
    wire.socket.resetAndDestroy();
  }
}

// Several streams of HTTP/2 at once, some of them left.
async function askH2(h, names, n) {
  const h2 = await H2Wire.connect(h);
  for (let i = 0; i < 8; i++) h2.send(headers(2 * i + 1, GET(`/.netlify/functions/${names[(n + i) % names.length]}`)));
  await sleep(0.01 + Math.random() * 0.05);
  h2.send(frame(TYPE.RST_STREAM, 0, 3, u32(CODE.CANCEL)));
  await sleep(Math.random() * 0.05);
  h2.wire.socket.resetAndDestroy();
}

// For so long, and on a busy machine until there is `enough(got)`. Result: counts, and faults: answers that cannot be, and a
// worker that was replaced. What sanitizers say fails when the host is stopped.
export async function reloadMix(t, { seconds, clients = 8, workers = 2, enough = () => true }) {
  const up = await upstream(t, answer);
  const issuer = (await Issuer.start(t)).tenant();
  issuer.state.delay = 0.04;
  const dir = folder(t, files(up, issuer, 0));
  const h = await start(t, { dir, workers, args: ['--watch', '--drain', '1s'] });
  const names = [...Object.keys(scripts(up)), 'page'];
  const got = { answers: 0, statuses: {}, faults: [], changes: 0 };
  const until = Date.now() + seconds * 1000;
  const goesOn = () => Date.now() < until || (!enough(got) && Date.now() < until + 100000);
  const pids = String(h.workers());
  const client = async (k) => {
    for (let n = k * 1000; goesOn(); n++) await (oneIn(9) ? askH2(h, names, n) : ask(h, issuer, names, got, n)).catch((e) => got.faults.push(e.message));
  };
  const reload = async () => {
    while (goesOn()) {
      const turn = got.changes += 1;
      if (turn % 3 === 0) replace(dir, files(up, issuer, turn));
      else if (turn % 3 === 1) h.kill('SIGHUP');
      else atomicWrite(path.join(dir, 'scripts/nap.lua'), `${scripts(up).nap} -- ${turn}`);
      await sleep(Math.random() * 0.25);
    }
  };
  await Promise.all([reload(), ...Array.from({ length: clients }, (_, k) => client(k))]);
  if (String(h.workers()) !== pids || /worker ended/.test(h.stderr)) got.faults.push('a worker was replaced');
  got.reloaded = Number(/config_reloads_total (\d+)/.exec((await h.admin('metrics')).text)?.[1]);
  await h.stop();
  return got;
}
