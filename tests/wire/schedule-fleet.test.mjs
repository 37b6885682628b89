// Scheduled functions of hosts that share a store: each due time once over all of them, by the store's clock.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { describe, test } from 'node:test';
import { deployment, eventually, folder, launch, lua, run, SLOW, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { Redis } from '../lib/redis.mjs';
import { counter, dueBefore, killBetweenRuns, LOOPBACK, wrong } from '../lib/schedule-drill.mjs';
import { gate } from '../lib/upstream.mjs';

const TICK = 'schedule = "* * * * * *"';
const FAKETIME = fs.readdirSync('/usr/lib').map((name) => `/usr/lib/${name}/faketime/libfaketime.so.1`).find((file) => fs.existsSync(file));

// The environment of a host whose clock is a minute late; none where that cannot be: sanitizers want to be loaded first.
async function late(t) {
  const env = { LD_PRELOAD: FAKETIME, FAKETIME: '-60', FAKETIME_DONT_FAKE_MONOTONIC: '1' };
  if (FAKETIME && (await run(t, ['version'], { env })).code === 0) return env;
  t.diagnostic('no clock was set off: libfaketime is not there, or cannot be loaded');
  return {};
}

const lines = (hosts, text) => hosts.flatMap((h) => h.stderr.split('\n').slice(0, -1).filter((line) => line.includes(text)).map((line) => JSON.parse(line)));
const seconds = (list) => list.map((line) => Date.parse(line.due) / 1000).sort((a, b) => a - b);

// Posts when the run after it is due.
const reporter = (url) => `return function(event)
  fetch(${lua(url)}, { method = "POST", body = json.decode(event.body).next_run })
end`;
const dues = (up) => up.seen.map(dueBefore).sort((a, b) => a - b);

async function fleet(t, count, files, options = {}) {
  const redis = options.redis ?? await Redis.start(t);
  const hosts = Array.from({ length: count }, (_, i) => launch(folder(t, files), {
    workers: 2, env: { KV_URL: redis.url, ...options.env?.[i] },
  }));
  for (const h of hosts) later(t, () => h.isLost ? h.exit : h.stop());
  await Promise.all(hosts.map((h) => h.listening));
  return { redis, hosts };
}

// The machine is gone, with all that ran on it.
const machine = (h) => [h.child.pid, ...h.workers()];
function lose(h) {
  h.isLost = true;
  for (const pid of machine(h)) process.kill(pid, 'SIGKILL');
}

// Who runs it, of the hash that the server has of it.
const runner = (redis) => redis.ask('hget', 'luafn:{queue}:due:tick * * * * * *', 'run');

// They wait for seconds to pass, so they do it together.
describe('schedules over hosts', { concurrency: true }, () => {
  test('each due second once over three hosts: one has a clock that is a minute late, one is lost, one is replaced', async (t) => {
    const up = await counter(t);
    const files = deployment({ tick: reporter(up.url) }, { fields: { tick: `${TICK}, ${LOOPBACK}` } });
    const { redis, hosts } = await fleet(t, 3, files, { env: [{}, await late(t), {}] });
    await eventually(() => up.seen.length >= 2, 20, 'the first runs');
    await killBetweenRuns(hosts[0], machine(hosts[0]), async () => (await runner(redis) === '' ? dues(up).at(-1) : undefined));
    hosts[0].isLost = true;
    await hosts[2].stop();
    const { hosts: [next] } = await fleet(t, 1, files, { redis });
    const already = up.seen.length;
    await eventually(() => up.seen.length >= already + 2, 30, 'two more runs');
    const due = dues(up);
    assert.deepEqual(wrong([...hosts, next], due), []);
    assert.deepEqual(lines([hosts[1], next], 'were missed'), []);
    const now = Number((await redis.ask('time')).split('\n')[0]);
    assert.ok(Math.abs(now - due.at(-1)) < 30 * SLOW, 'they go by the clock of the server');
  });

  test('while a run goes on at one host, what is due is skipped once over all, and then goes on', async (t) => {
    const way = await gate(t);
    const { redis, hosts } = await fleet(t, 3, deployment({ tick: `return function() fetch(${lua(way.url)}) end` }, { fields: { tick: `${TICK}, ${LOOPBACK}` } }));
    await way.asked();
    await eventually(() => lines(hosts, 'run skipped').length >= 2, 20, 'two are skipped');
    assert.equal(lines(hosts, 'scheduled run ended').length, 0);
    way.open();
    await way.asked();
    way.open();
    await eventually(() => lines(hosts, 'scheduled run ended').length >= 2, 20, 'two have ended');
    const skipped = seconds(lines(hosts, 'run skipped')), ran = seconds(lines(hosts, 'scheduled run ended'));
    const all = [...skipped, ...ran].sort((a, b) => a - b);
    assert.equal(new Set(all).size, all.length, 'none twice');
    const counted = async (name) => (await Promise.all(hosts.map((h) => h.metric(name)))).reduce((a, b) => a + b);
    await eventually(async () => await counted('schedule_skipped_total') >= 2, 10, 'they are counted');
    const running = way.asked();
    await running;
    const stopped = Promise.all(hosts.map((h) => h.stop()));
    await eventually(async () => { way.open(); return await runner(redis) === ''; }, 20, 'whoever stops says that its run has ended');
    way.open();
    await stopped;
  });

  test('a host is lost in the middle of a run: what was due meanwhile is made up for, once, when the store gives it up', async (t) => {
    const way = await gate(t);
    const body = `return function(event)
      log.info("begun", { due = json.decode(event.body).next_run })
      if env.HELD then fetch(${lua(way.url)}) end
    end`;
    const files = deployment({ tick: body }, { fields: { tick: `${TICK}, env = { "HELD" }, ${LOOPBACK}` } });
    const { redis, hosts: [lost] } = await fleet(t, 1, files, { env: [{ HELD: '1' }] });
    await way.asked();
    const owner = await runner(redis);
    const { hosts } = await fleet(t, 2, files, { redis });
    lose(lost);
    const [at] = (await redis.ask('time')).split('\n').map(Number);
    await redis.ask('zadd', 'luafn:{queue}:owners', String((at + 600) * 1000), owner);
    await eventually(async () => Number((await redis.ask('time')).split('\n')[0]) > at + 2, 20, 'more is due');
    assert.equal(lines(hosts, '"begun"').length, 0, 'nobody knows whether it runs');
    await redis.ask('zadd', 'luafn:{queue}:owners', '1', owner);
    const begun = (of) => lines(of, '"begun"').map((line) => dueBefore(line.fields.due)).sort((a, b) => a - b);
    await eventually(() => begun(hosts).length >= 4, 20, 'they are made up for');
    const due = begun(hosts);
    assert.deepEqual(wrong([lost, ...hosts], due), []);
    const [first] = begun([lost]);
    const skipped = seconds(lines([lost, ...hosts], 'run skipped'));
    assert.deepEqual([...skipped, ...due].sort((a, b) => a - b)[0], first + 1, 'from the one after it on');
  });

  test('a lost reply: what it gave is run, once', async (t) => {
    const redis = await Redis.start(t);
    const up = await counter(t);
    const state = { lost: 0 };
    const relay = net.createServer((a) => {
      const b = net.connect(redis.port, '127.0.0.1');
      for (const [x, y] of [[a, b], [b, a]]) { x.on('error', () => y.destroy()); x.on('close', () => y.destroy()); }
      a.pipe(b);
      b.on('data', (data) => {
        const taken = /\*3\r\n:2\r\n:(\d+)\r\n/.exec(data.toString('latin1'));
        if (!taken || state.lost > 0) { a.write(data); return; }
        state.lost = Number(taken[1]);
        a.destroy();
      });
    });
    await new Promise((resolve) => relay.listen(0, '127.0.0.1', resolve));
    later(t, () => relay.close());
    const h = await start(t, {
      files: deployment({ tick: reporter(up.url) }, { fields: { tick: `${TICK}, ${LOOPBACK}` } }),
      env: { KV_URL: `redis://127.0.0.1:${relay.address().port}` },
    });
    await eventually(() => up.seen.length >= 3, 20, 'it goes on');
    const due = dues(up);
    assert.equal(due[0], state.lost);
    assert.deepEqual(wrong(h, due), []);
    await h.says(/scheduled functions wait until KV_URL's server knows who runs them: the connection to the store's server was lost/);
  });

  test('without the server nothing runs, which is said and counted; when it is back, with nothing in it, runs go on', async (t) => {
    const { redis, hosts } = await fleet(t, 2, deployment({ tick: 'return function() end' }, { fields: { tick: TICK } }));
    await eventually(() => lines(hosts, 'scheduled run ended').length >= 2, 20, 'some runs');
    await redis.stop();
    for (const h of hosts) {
      await h.says(/"warn","msg":"scheduled functions wait until KV_URL's server knows who runs them: the (store's server cannot be reached|connection)/);
      await eventually(async () => await h.metric('schedule_unasked_total') >= 2, 20, 'it is counted');
    }
    const already = lines(hosts, 'scheduled run ended').length;
    await redis.begin();
    await eventually(() => lines(hosts, 'scheduled run ended').length >= already + 2, 20, 'runs go on');
    for (const h of hosts) await h.says(/scheduled functions go on: KV_URL's server can be asked again/);
    const due = seconds(lines(hosts, 'scheduled run ended'));
    assert.equal(new Set(due).size, due.length, 'none twice');
    await eventually(() => lines(hosts, 'were missed').length === 1, 20, 'what was missed is said by one');
  });
});
