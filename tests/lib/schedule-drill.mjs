// A schedule that calls a background function each second: 60 runs a minute, none lost, none twice.
import fs from 'node:fs';
import { deployment, eventually, folder, freePort, lua, sleep, start } from './host.mjs';
import { upstream } from './upstream.mjs';

export const LOOPBACK = 'fetch = { "127.0.0.1" }';

// Keeps what is posted to it, but for what `takes` refuses.
export async function counter(t, takes = () => true) {
  const seen = [];
  const origin = await upstream(t, (req, res) => {
    let body = '';
    req.on('data', (d) => { body += d; });
    req.on('end', () => {
      if (takes(body)) seen.push(body); else res.statusCode = 410;
      res.end();
    });
  });
  return { seen, url: `${origin}/` };
}

// Kills these processes of a host between two runs of a schedule of each second. They are stopped first, so that none begins one
// while we look, and their supervisor, whose watchdog would wonder. `newest` gives the second of the newest run, if it has ended:
// what is not yet due nobody has begun.
export async function killBetweenRuns(h, pids, newest) {
  const stopped = [...new Set([h.pid, ...pids])];
  const stands = (pid) => /^State:\tT/m.test(fs.readFileSync(`/proc/${pid}/status`, 'latin1'));
  await eventually(async () => {
    for (const pid of stopped) process.kill(pid, 'SIGSTOP');
    await eventually(() => stopped.every(stands), 5, 'they stand still');
    const ended = await newest();
    const between = ended === Math.floor(Date.now() / 1000);
    const killed = between ? pids : [];
    for (const pid of killed) process.kill(pid, 'SIGKILL');
    for (const pid of stopped.filter((one) => !killed.includes(one))) process.kill(pid, 'SIGCONT');
    return between;
  }, 20, 'that no run is under way');
}

// The second for which a run of a schedule of each second is, of its `next_run`.
export const dueBefore = (text) => Date.parse(text) / 1000 - 1;

// What is wrong with these due seconds, in order: one twice, or one missing of which no host's log says that the machine
// was too late for it, or that the run before had not ended.
export function wrong(hosts, dues) {
  const lines = [hosts].flat().flatMap((h) => h.stderr.split('\n').slice(0, -1)).filter((l) => /"scheduled runs? /.test(l)).map((l) => JSON.parse(l));
  const told = (what) => lines.filter((l) => l.msg.includes(what)).map((l) => Date.parse(l.due) / 1000);
  const [skipped, late] = [told('run skipped'), told('were missed')];
  const faults = [];
  for (let i = 1; i < dues.length; i++) {
    if (dues[i] === dues[i - 1]) faults.push(`${dues[i]} twice`);
    for (let due = dues[i - 1] + 1; due < dues[i]; due++) {
      if (!skipped.includes(due) && !late.some((next) => next > due && next <= dues[i])) faults.push(`${due} is missing`);
    }
  }
  return faults;
}

// Runs for `seconds`, and three runs at least. Each due second is posted twice: by the schedule, and by the background
// function that the schedule calls. Result: { runs, jobs, faults }.
export async function scheduleDrill(t, { seconds = 600, workers = 2, tell = () => {} }) {
  let over = false; // no run counts from then on, so that none is under way when the host ends
  const up = await counter(t, (text) => !over || !text.startsWith('run '));
  const post = (text) => `fetch(${lua(up.url)}, { method = "POST", body = ${text} })`;
  const dir = folder(t, deployment({
    tick: `return function(event)
      local due = json.decode(event.body).next_run
      if ${post('"run " .. due')}.status ~= 200 then return end
      local res = fetch(env.SELF .. "/.netlify/functions/job-background", { method = "POST", body = due, headers = { ["content-type"] = "text/plain" } })
      if res.status ~= 202 then ${post('"refused " .. due')} end
    end`,
    'job-background': `return function(event) sleep(0.2) ${post('"job " .. event.body')} end`,
  }, { fields: { tick: `schedule = "* * * * * *", env = { "SELF" }, ${LOOPBACK}`, 'job-background': `auth = "public", ${LOOPBACK}` } }));
  const port = await freePort();
  const h = await start(t, { dir, workers, listen: `127.0.0.1:${port}`, env: { SELF: `http://127.0.0.1:${port}` } });
  const of = (kind) => up.seen.filter((s) => s.startsWith(`${kind} `)).map((s) => dueBefore(s.slice(kind.length + 1))).sort((a, b) => a - b);
  for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(1)) tell(`${of('run').length} runs`);
  await eventually(() => of('run').length >= 3, 5, 'three runs');
  over = true;
  await eventually(() => of('job').length >= of('run').length, 5, 'the last jobs').catch(() => {});
  await h.stop();

  const runs = of('run');
  const jobs = of('job');
  const faults = up.seen.filter((s) => s.startsWith('refused'));
  faults.push(...wrong(h, runs).map((fault) => `run: ${fault}`), ...wrong(h, jobs).map((fault) => `job: ${fault}`));
  if (jobs.length !== runs.length) faults.push(`${runs.length} runs, ${jobs.length} jobs`);
  return { runs: runs.length, jobs: jobs.length, faults };
}
