// All abuses in the background, honest traffic beside them: does memory grow, is an answer wrong?
import { isDeepStrictEqual } from 'node:util';
import { abuseFiles, abuses, isRight } from './abuse.mjs';
import { eventually, folder, SLOW, sleep, start } from './host.mjs';
import { AUDIENCE, Issuer } from './issuer.mjs';
import { percentile, rss, slope } from './process.mjs';

const HONEST = {
  me: 'return function(_, context) return context.identityContext.claims.sub end',
  count: 'return function(event) return tostring(kv.incr(event.queryStringParameters.key)) end',
  echo: 'return function(event) return json.encode(json.decode(event.body)) end',
  napper: 'return function() sleep(0.02) return "rested" end',
  fetcher: 'return function(event) return fetch(event.queryStringParameters.url):json().jwks_uri end',
};

// One honest request of each kind: what is asked, and what is right.
function kinds(h, issuer, state) {
  const body = JSON.stringify({ a: [1, 2.5, 'x', null, true], b: { c: 'y'.repeat(2000) } });
  const plain = (name, options, right) => () => h.call(name, { ms: 60000 * SLOW, ...options }).then((res) => (right(res) ? undefined : `${name}: ${res.status} ${res.text.slice(0, 100)}`));
  return [
    () => { const n = (state.n += 1); return plain('honest', { suffix: `?n=${n}` }, (r) => r.text === `${n} {"square":${n * n}}`)(); },
    plain('me', { headers: issuer.bearer() }, (r) => r.text === 'auth0|1'),
    () => plain('me', { headers: issuer.bearer({ sub: `user ${state.n}` }) }, (r) => /^user \d+$/.test(r.text))(),
    () => plain('me', { headers: issuer.bearer({ exp: 1000 }) }, (r) => r.status === 401 && r.json().error === 'jwt_expired')(),
    () => plain('me', { headers: issuer.bearer({}, { by: 'k3' }) }, (r) => r.status === 401)(),
    () => { // each value of a counter is given to one caller only
      const key = `k${state.n % 7}`;
      const is = (r) => { const v = `${key} ${r.text}`; const fresh = /^k\d \d+$/.test(v) && !state.seen.has(v); state.seen.add(v); return fresh; };
      return plain('count', { suffix: `?key=${key}` }, is)();
    },
    plain('echo', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } }, (r) => isDeepStrictEqual(r.json(), JSON.parse(body))),
    plain('napper', {}, (r) => r.text === 'rested'),
    plain('fetcher', { suffix: `?url=${encodeURIComponent(`${issuer.base}/.well-known/openid-configuration`)}` }, (r) => r.text === `${issuer.base}/.well-known/jwks.json`),
    () => h.get('/page.html').then((r) => (r.text === '<p>page</p>' ? undefined : `page: ${r.status}`)),
    () => h.get('/nothing').then((r) => (r.status === 404 ? undefined : `nothing: ${r.status}`)),
    () => h.connect().then(async (wire) => { wire.send('GET / HTTP/1.1\r\nHost : x\r\n\r\n'); const r = await wire.response(); wire.close(); return r.status === 400 ? undefined : `malformed: ${r.status}`; }),
  ];
}

// Sends at `rate` a second until the time is over; never more than `most` at once.
async function steadily(rate, until, most, one) {
  const pending = new Set();
  while (Date.now() < until) {
    await sleep(1 / rate);
    if (pending.size >= most) await Promise.race(pending);
    const p = one();
    pending.add(p);
    p.finally(() => pending.delete(p));
  }
  await Promise.all(pending);
}

export async function soak(t, { seconds, honestRate = 20, abuseRate = 3, workers = 2, tell = () => {} }) {
  const issuer = (await Issuer.start(t)).tenant();
  const files = abuseFiles({
    timeout: 60, scripts: HONEST, fields: { me: 'auth = true', fetcher: 'fetch = { "127.0.0.1" }' },
    more: `  auth = { issuer = "${issuer.issuer}", audience = "${AUDIENCE}" }, publish = "web",`,
  });
  files['web/page.html'] = '<p>page</p>';
  // Work after the answer goes on for its 60 s; the end does not wait for it.
  const h = await start(t, { dir: folder(t, files), workers, args: ['--log', 'none', '--drain', '3s'] });
  const pids = h.workers();
  // Each has its keys before it has no time to wait for them: who waits for three seconds is sent away.
  const known = async () => { const ready = (await h.admin('ready')).json(); return ready.keys && ready.serving === workers; };
  await eventually(known, 20, 'the keys');
  const got = { honest: 0, abuse: 0, faults: [], ms: [], memory: [] };
  const note = (fault) => { if (fault) got.faults.push(fault); };
  const state = { n: 0, seen: new Set() };
  const all = kinds(h, issuer, state);
  const begun = Date.now();
  const until = begun + seconds * 1000;
  const honest = () => {
    const t0 = Date.now();
    return all[(got.honest += 1) % all.length]().then((fault) => { note(fault); got.ms.push([t0 - begun, Date.now() - t0]); }, (e) => note(e.message));
  };
  const abusive = () => {
    const abuse = abuses[(got.abuse += 1) % abuses.length];
    return h.call(abuse.name, { suffix: '?go', ms: 120000 * SLOW })
      .then((res) => note(!isRight(abuse, res) && res.status !== 503 && `${abuse.name}: ${res.status} ${res.text.slice(0, 100)}`), (e) => note(`${abuse.name}: ${e.message}`));
  };
  const watch = async () => {
    while (Date.now() < until) {
      if (String(h.workers()) !== String(pids)) { // what came before is worth nothing then
        got.faults.push(`a worker was replaced: ${h.stderr.split('\n').filter((l) => /worker/.test(l)).join(' ')}`);
        break;
      }
      const kib = [h.pid, ...pids].map((pid) => rss(pid).anon).reduce((a, b) => a + b);
      got.memory.push([(Date.now() - begun) / 60000, kib]);
      tell(`${Math.round((Date.now() - begun) / 1000)} s, ${got.honest} honest, ${got.abuse} abuses, ${kib} KiB, ${got.faults.length} faults`);
      await sleep(1);
    }
  };
  await Promise.all([steadily(honestRate, until, 32, honest), steadily(abuseRate, until, 6, abusive), watch()]);
  // By then each worker has seen each abuse twice or so: what grows after that grows for ever.
  const settled = Math.min(seconds / 60 / 2, Math.max((2 * workers * abuses.length) / abuseRate / 60, seconds / 60 / 4));
  const later = got.memory.filter(([minute]) => minute > settled);
  const mean = (points) => points.reduce((sum, [, kib]) => sum + kib, 0) / points.length;
  const half = Math.floor(later.length / 2);
  const p99 = (from, to) => percentile(got.ms.filter(([at]) => at >= from && at < to).map(([, ms]) => ms), 0.99);
  return {
    ...got, kibPerMinute: slope(later), grown: mean(later.slice(half)) - mean(later.slice(0, half)), first: mean(later.slice(0, half)), last: mean(later.slice(half)),
    p99: [p99(0, seconds * 500), p99(seconds * 500, Infinity)],
  };
}

export const report = (s) => `${s.honest} honest requests, ${s.abuse} abuses, ${s.faults.length} wrong answers; memory of all processes ${Math.round(s.first)} to ${Math.round(s.last)} KiB, `
  + `${s.kibPerMinute.toFixed(1)} KiB a minute; p99 of the honest ${s.p99[0]} ms in the first half, ${s.p99[1]} ms in the second`;
