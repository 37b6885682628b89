// Scheduled functions, and background ones: each run once, none lost.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { describe, test } from 'node:test';
import { deployment, eventually, lua, run, sleep, start, write } from '../lib/host.mjs';
import { counter, dueBefore, killBetweenRuns, LOOPBACK, scheduleDrill, wrong } from '../lib/schedule-drill.mjs';
import { upstream } from '../lib/upstream.mjs';

// Posts a line about each run.
const reporter = (url, more = '') => `return function(event)
  ${more}
  fetch(${lua(url)}, { method = "POST", body = json.encode({
    method = event.httpMethod, body = event.body, agent = event.headers["user-agent"],
    nf = event.headers["x-nf-event"], path = event.path }) })
end`;

const runs = (h) => h.stderr.split('\n').slice(0, -1).filter((l) => l.includes('scheduled run ended')).map((l) => JSON.parse(l));

// They wait for seconds to pass, so they do it together.
describe('schedules', { concurrency: true }, () => {
  test('every due second once, over two workers of which some are killed', async (t) => {
    const up = await counter(t);
    const h = await start(t, {
      files: deployment({ tick: reporter(up.url) }, { fields: { tick: `schedule = "* * * * * *", ${LOOPBACK}` } }),
      workers: 2,
    });
    await eventually(() => up.seen.length >= 2, 5, 'the first runs');
    for (let [i, last] = [0, 0]; i < 3; i++) { // each in another second
      const [pid] = h.workers();
      await killBetweenRuns(h, [pid], () => {
        const ended = Date.parse(runs(h).at(-1)?.due) / 1000;
        return ended > last ? ended : undefined;
      });
      last = Date.parse(runs(h).at(-1).due) / 1000;
      await eventually(() => h.workers().length === 2 && !h.workers().includes(pid), 5, 'another worker');
    }
    const before = up.seen.length;
    await eventually(() => up.seen.length >= before + 2, 5, 'two more runs');
    await h.stop();
    const due = up.seen.map((text) => {
      const seen = JSON.parse(text);
      assert.equal(seen.method, 'POST');
      assert.equal(seen.agent, 'luafn schedule');
      assert.equal(seen.nf, 'schedule');
      assert.equal(seen.path, '/.netlify/functions/tick');
      return dueBefore(JSON.parse(seen.body).next_run);
    }).sort((a, b) => a - b);
    assert.deepEqual(wrong(h, due), []);
  });

  test('a run is skipped while the one before goes on', async (t) => {
    const held = [];
    let over = false;
    const up = await upstream(t, (req, res) => { held.push(res); if (over) res.end(); });
    const h = await start(t, {
      files: deployment({ slow: `return function() fetch(${lua(up)}, { timeout = 60 }) end` }, { fields: { slow: `schedule = "* * * * * *", timeout = 60, ${LOOPBACK}` } }),
      workers: 2,
    });
    const skipped = () => h.stderr.split('\n').slice(0, -1).filter((l) => l.includes('scheduled run skipped: the one before has not ended')).map((l) => JSON.parse(l).due);
    await eventually(() => skipped().length >= 2, 10, 'two that are skipped');
    assert.deepEqual([held.length, runs(h).length], [1, 0], 'while one goes on');
    held[0].end();
    await eventually(() => held.length === 2, 10, 'the next one');
    held[1].end();
    await eventually(() => runs(h).length === 2, 10, 'its end');
    const due = runs(h).map((r) => r.due), passed = skipped();
    assert.ok(!passed.some((at) => due.includes(at)), 'what was skipped is not run');
    assert.ok(passed.filter((at) => at > due[0] && at < due[1]).length >= 2, `${due}: ${passed}`);
    over = true;
    held.forEach((res) => res.end());
  });

  test('serve has no route to it; dev runs it by hand, once a call', async (t) => {
    const files = deployment({ nightly: 'return function(event) return event.httpMethod .. " " .. event.body end' }, { fields: { nightly: 'schedule = "@yearly", auth = "public"' } });
    const served = await start(t, { files });
    assert.equal((await served.call('nightly')).status, 404);
    assert.equal((await served.call('nightly', { method: 'POST', body: '{}' })).status, 404);
    const dev = await start(t, { files, command: 'dev' });
    for (const method of ['GET', 'POST']) {
      const r = await dev.call('nightly', { method, headers: { 'content-type': 'text/plain' }, body: method === 'POST' ? 'mine' : undefined });
      assert.equal(r.status, 200);
      assert.match(r.text, /^POST \{"next_run":"\d{4}-01-01T00:00:00\.000Z"\}$/);
    }
  });

  test('the fault of a run is logged, and the next one comes', async (t) => {
    const h = await start(t, {
      files: deployment({ bad: 'return function() error("boom today") end' }, { fields: { bad: 'schedule = "* * * * * *"' } }),
    });
    await eventually(() => runs(h).length >= 2, 8, 'two runs');
    assert.ok(runs(h).every((r) => r.status === 502 && r.level === 'error' && r.function === 'bad'), h.stderr);
    await h.says(/boom today/);
  });

  test('SIGTERM waits for a run, and for background work', async (t) => {
    const up = await counter(t);
    const h = await start(t, {
      files: deployment({ tick: reporter(up.url, 'log.info("begun") sleep(1)'), 'mail-background': reporter(up.url, 'sleep(1)') }, {
        fields: { tick: `schedule = "* * * * * *", ${LOOPBACK}`, 'mail-background': LOOPBACK },
      }),
    });
    assert.equal((await h.call('mail-background')).status, 202);
    await eventually(() => h.stderr.includes('"begun"'), 5, 'a run');
    await h.stop();
    assert.ok(up.seen.some((s) => s.includes('mail-background')), 'background');
    assert.equal(runs(h).length, up.seen.filter((s) => s.includes('/tick')).length);
    assert.ok(runs(h).length >= 1 && runs(h).every((r) => r.status < 400), h.stderr);
  });

  test('600 calls of a background function: each runs once', async (t) => {
    const up = await counter(t);
    const h = await start(t, {
      files: deployment({ 'count-background': `return function(event) fetch(${lua(up.url)}, { method = "POST", body = event.body }) end` }, { fields: { 'count-background': `${LOOPBACK}, queue = 600` } }),
      workers: 2,
    });
    for (let i = 0; i < 600; i += 30) {
      const answers = await Promise.all(Array.from({ length: 30 }, (_, k) => h.call('count-background', { method: 'POST', headers: { 'content-type': 'text/plain' }, body: `n${i + k}` })));
      assert.ok(answers.every((r) => r.status === 202 && r.text === ''));
    }
    await eventually(() => up.seen.length >= 600, 20, 'all of them');
    await h.stop();
    assert.equal(up.seen.length, 600);
    assert.equal(new Set(up.seen).size, 600);
  });

  test('a background call that finds no slot is refused, not promised', async (t) => {
    const held = []; // what the handlers wait for
    const up = http.createServer((req, res) => held.push(res)).listen(0, '127.0.0.1');
    await once(up, 'listening');
    const h = await start(t, {
      files: deployment({ 'slow-background': `return function() fetch("http://127.0.0.1:${up.address().port}/") end` },
        { fields: { 'slow-background': `${LOOPBACK}, concurrency = 1, queue = 1` } }),
    });
    const answers = [];
    for (let i = 0; i < 3; i++) answers.push(await h.call('slow-background', { method: 'POST', body: 'x' }));
    assert.deepEqual(answers.map((r) => r.status), [202, 202, 503]);
    assert.ok(Number(answers[2].headers['retry-after']) > 0);
    assert.equal(answers[2].json().error, 'no_free_slot');
    for (let i = 0; i < 2; i++) {
      await eventually(() => held.length > i, 5, 'a run');
      held[i].end();
    }
    await h.stop();
    up.close();
  });

  test('a schedule that calls a background function each second: none lost, none twice', async (t) => {
    const got = await scheduleDrill(t, { seconds: 4 });
    assert.deepEqual(got.faults, []);
  });

  test('a changed schedule is taken up', async (t) => {
    const files = (when) => deployment({ tick: 'return function() end' }, { fields: { tick: `schedule = "${when}"` } });
    const h = await start(t, { files: files('@yearly'), args: ['--watch'] });
    await sleep(1.2);
    assert.equal(runs(h).length, 0);
    write(h.dir, files('* * * * * *'));
    await eventually(() => runs(h).length >= 1, 10, 'a run');
  });

  test('routes and check: the next run, and what is wrong', async (t) => {
    const table = (fields) => deployment({ job: 'return function() end' }, { fields: { job: fields } });
    const good = await run(t, ['routes', '--json'], { files: table('schedule = "0 0 1 1 *"') });
    const [row] = JSON.parse(good.stdout);
    assert.equal(row.schedule, '0 0 1 1 *');
    assert.match(row.next_run, /^\d{4}-01-01T00:00:00Z$/);
    const text = await run(t, ['routes'], { files: table('schedule = "@daily"') });
    assert.match(text.stdout, /runs at "@daily" \(UTC\), next \d{4}-\d\d-\d\dT00:00:00Z/);
    assert.equal((await run(t, ['check'], { files: table('schedule = "@daily"') })).stderr, '');
    const faults = [
      ['schedule = "61 * * * *"', /functions\.lua:3: functions\.job\.schedule: '61' is no minute: write 0 to 59/],
      ['schedule = "* * *"', /functions\.lua:3: functions\.job\.schedule: '\* \* \*' has 3 fields; write five/],
      ['schedule = "@reboot"', /'@reboot' is not one of @hourly/],
      ['schedule = 5', /must be a text/],
      ['schedule = "@daily", path = "/x"', /functions\.job\.schedule: a scheduled function is not called over HTTP: leave out its `path`/],
      ['schedule = "@daily", methods = "GET"', /leave out its `methods`/],
      ['shedule = "@daily"', /did you mean `schedule`/],
    ];
    for (const [fields, expected] of faults) {
      const { code, stderr } = await run(t, ['check'], { files: table(fields) });
      assert.equal(code, 1, fields);
      assert.match(stderr, expected);
    }
    const script = await run(t, ['check'], { files: deployment({ job: 'return {\n  schedule = "* * * * 9",\n  handler = function() end,\n}' }) });
    assert.equal(script.code, 1);
    assert.match(script.stderr, /scripts\/job\.lua:2: schedule: '9' is no weekday/);
  });

  test('more schedules than there is room for: the one too many is named, the others go on', async (t) => {
    const rows = Array.from({ length: 1024 }, (_, i) => `    y${i} = { script = "scripts/y.lua", schedule = "0 0 1 1 *" },`);
    const h = await start(t, {
      files: {
        'scripts/y.lua': 'return function() return "y" end',
        'functions.lua': `return {\n  functions = {\n${rows.join('\n')}\n    each = { script = "scripts/y.lua", schedule = "* * * * * *" },\n    hello = { script = "scripts/y.lua", auth = "public" },\n  },\n}\n`,
      },
      args: ['--log-level', 'warn'], // a thousand lines about loading are more than a pipe has room for
    });
    const said = /more than 1024 schedules: y\d+ is not run/;
    await h.says(said);
    await eventually(async () => await h.metric('schedule_runs_total') >= 2, 10, 'two runs of the one of each second');
    assert.equal(h.stderr.split(said).length, 2, 'once, not each second');
    assert.equal((await h.call('hello')).text, 'y');
  });
});
