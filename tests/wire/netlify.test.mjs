// The recorded answers of netlify-cli's functions server and of netlify-redirector (`make netlify-diff`
// makes them anew), replayed: the same handlers in Lua, the same requests. Differences stand in
// tests/netlify/cases.mjs with their reasons, or below.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, ROOT, start } from '../lib/host.mjs';
import { answers, events, FIELDS, HEADERS, redirects, RULES } from '../netlify/cases.mjs';

const recorded = JSON.parse(fs.readFileSync(path.join(ROOT, 'tests/data/netlify.json')));
const scripts = (entries) => deployment(Object.fromEntries(entries), {
  fields: Object.fromEntries(entries.map(([name]) => [name, 'auth = "public"'])),
});

test(`answers of handlers are those of netlify-cli ${recorded.versions['netlify-cli']}`, async (t) => {
  assert.deepEqual(recorded.answers.map((a) => a.name), answers.map(([name]) => name), 'run make netlify-diff');
  const host = await start(t, { files: scripts(answers.map(([, , lua], i) => [`a${i}`, `return function() ${lua} end`])) });
  for (const [i, [name, , , differs]] of answers.entries()) {
    await t.test(name + (differs ? ` (differs: ${differs.why})` : ''), async () => {
      const theirs = differs ?? recorded.answers[i];
      const res = await host.call(`a${i}`);
      assert.deepEqual([res.status, res.body.toString()], [theirs.status, theirs.body]);
      if (differs) assert.notEqual(`${differs.status} ${differs.body}`, `${recorded.answers[i].status} ${recorded.answers[i].body}`, 'no difference any more');
      for (const [key, value] of Object.entries(theirs.headers ?? {})) assert.equal(res.headers[key].join(', '), value, key);
      // They send no Content-Type of their own in `dev`; here every body has one.
      if (res.status === 200 && res.body.length > 0 && !theirs.headers?.['content-type']) {
        assert.equal(res.headers['content-type'][0], 'text/plain; charset=utf-8');
      }
    });
  }
});

test('events are those of netlify-cli', async (t) => {
  assert.deepEqual(recorded.events.map((e) => e.name), events.map((e) => e.name), 'run make netlify-diff');
  const host = await start(t, {
    files: scripts([['echo', `return function(event)
      local out = { headers = {} }
      for _, name in ipairs { ${FIELDS.map((f) => `"${f}"`).join(', ')} } do out[name] = event[name] end
      for _, name in ipairs { ${HEADERS.map((h) => `"${h}"`).join(', ')} } do out.headers[name] = event.headers[name] end
      return { statusCode = 200, body = json.encode(out) }
    end`]]),
  });
  const empty = ['queryStringParameters', 'multiValueQueryStringParameters', 'headers'];
  for (const [i, { name, path: suffix = '', ...request }] of events.entries()) {
    await t.test(name, async () => {
      const ours = JSON.parse((await host.call('echo', { ...request, suffix })).body);
      // An empty Lua table is an empty list in JSON.
      for (const key of empty) if (Array.isArray(ours[key]) && ours[key].length === 0) ours[key] = {};
      const { name: _, ...theirs } = recorded.events[i];
      assert.deepEqual(ours, theirs);
    });
  }
});

test('errors, background and unknown functions: the same, but for what the contract says otherwise', async (t) => {
  const host = await start(t, { files: scripts([['raises', 'return function() error("boom", 0) end'], ['late-background', 'return function() end']]) });
  const post = (name) => host.call(name, { method: 'POST' });
  const late = await post('late-background');
  assert.deepEqual({ status: late.status, body: late.body.toString() }, recorded.others.background);
  // Netlify's own production answers like this; its `dev` with 500 and a stack.
  const raised = await post('raises');
  assert.equal(recorded.others.raises.status, 500);
  assert.deepEqual([raised.status, JSON.parse(raised.body).errorMessage], [502, recorded.others.raises.body.replace('Error: ', '')]);
  // A body in JSON, with the same status.
  const unknown = await post('nobody');
  assert.deepEqual([unknown.status, JSON.parse(unknown.body).error], [recorded.others.unknown.status, 'not_found']);
  assert.equal((await post('a.b')).status, recorded.others['bad name'].status);
});

// What the proxy in front of netlify-redirector does as well: the query is copied where the target
// has none, which the recorded targets do not show; a rule with parameters uses the query up.
test(`redirects are those of netlify-redirector ${recorded.versions['netlify-redirector']}`, async (t) => {
  assert.deepEqual(recorded.redirects.map((r) => r.url), redirects.map((r) => r.url), 'run make netlify-diff');
  // A rewrite shows where it leads by what is there.
  const files = {
    ...deployment({ me: 'return function(event) return "me" end' }, { fields: { me: 'auth = "public"' }, more: '  publish = "web",' }),
    _redirects: RULES, 'web/404.html': 'lost', 'web/f/x.html': 'forced',
  };
  const host = await start(t, { files });
  const shown = { '/.netlify/functions/me/x': [200, 'me'], '/404.html': [404, 'lost'], '/f/x': [200, 'forced'] };
  for (const { url, headers, match } of recorded.redirects) {
    await t.test(`${url} ${JSON.stringify(headers)}`, async () => {
      const res = await host.get(url, headers);
      if (match === null) assert.deepEqual([res.status, res.headers.location], [404, undefined]);
      else if (match.status >= 300 && match.status < 400) assert.deepEqual([res.status, res.headers.location], [match.status, [match.to]]);
      else assert.deepEqual([res.status, res.body.toString()], shown[match.to]);
    });
  }
});
