// The scripts of tests/abuse as a deployment: each is a function that does its abuse when it is
// asked with ?go, and answers "fine" otherwise.
//
// A script begins with one line: -- CASE OUTCOME [MEMORY]: what it does. Outcomes:
//   cpu     500 CpuLimitExceeded           memory  500 MemoryLimitExceeded
//   limit   one of the two                 error   the call that abuses is refused: 502
//   ok      200 "ok"                       after   200 "ok", and the limit ends what follows it
//   result  the answer, or a 500 in its place
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { deployment, ROOT } from './host.mjs';

const FOLDER = path.join(ROOT, 'tests/abuse');
export const CPU_MS = 100;

export const abuses = fs.readdirSync(FOLDER).sort().map((file) => {
  const text = fs.readFileSync(path.join(FOLDER, file), 'utf8');
  const head = /^-- (L\d\d) (\w+)(?: (\w+))?: (.+)\n/.exec(text);
  assert.ok(head, `${file}: the first line says what it is`);
  return { name: path.basename(file, '.lua'), id: head[1], outcome: head[2], memory: head[3] ?? '8MB', what: head[4], text };
});

// Files of a deployment with these abuses, `honest`, which answers a sum, and whatever else is given.
export function abuseFiles({ timeout = 60, chosen = abuses, scripts: more = {}, fields = {}, more: config = '' } = {}) {
  const scripts = {
    ...more,
    honest: 'return function(event) local n = tonumber(event.queryStringParameters.n) return n .. " " .. json.encode({ square = n * n }) end',
  };
  const each = { ...fields };
  const files = {};
  for (const { name, memory, text } of chosen) {
    scripts[name] = `local abuse = require "abuse.${name}"
return function(event)
  if event.queryStringParameters.go then return abuse(event) end
  return "fine"
end`;
    each[name] = `cpu = ${CPU_MS / 1000}, memory = "${memory}", timeout = ${timeout}`;
    files[`scripts/abuse/${name}.lua`] = text;
  }
  return deployment(scripts, { fields: each, files, more: config });
}

// True when this answer is what the abuse may get. Where memory is slow the processor's limit may
// come before another.
export function isRight(abuse, res) {
  const type = res.status === 500 && res.text.startsWith('{') ? res.json().errorType : undefined;
  const limit = type === 'CpuLimitExceeded' || type === 'MemoryLimitExceeded';
  switch (abuse.outcome) {
    case 'cpu': return type === 'CpuLimitExceeded';
    case 'memory': case 'limit': return limit;
    case 'error': return res.status === 502 || limit;
    case 'result': return (res.status === 200 && res.text === 'ok') || res.status === 500;
    default: return (res.status === 200 && res.text === 'ok') || limit;
  }
}
