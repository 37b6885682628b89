// The suite of the Model Context Protocol for servers, against a host of ours: the scenarios about what there is here
// (tools, over all eras of the protocol) must pass, but for what is named. Prints a row a scenario.
//
//   node run.mjs PROGRAM SUITE     SUITE: the folder that the suite was installed in
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const [program, suite] = process.argv.slice(2).map((name) => path.resolve(name));
const here = import.meta.dirname;

const CALLS = ['tools-list', 'tools-call-simple-text', 'tools-call-image', 'tools-call-audio', 'tools-call-embedded-resource', 'tools-call-mixed-content', 'tools-call-error', 'tools-call-with-progress'];
const LATER = ['json-schema-2020-12', 'dns-rebinding-protection', 'server-sse-multiple-streams'];
const SCENARIOS = {
  '2025-06-18': ['server-initialize', 'server-session-lifecycle', 'ping', ...CALLS],
  '2025-11-25': ['server-initialize', 'server-session-lifecycle', 'ping', ...CALLS, ...LATER],
  '2026-07-28': ['server-stateless', ...CALLS, ...LATER, 'caching', 'http-header-validation', 'http-custom-header-server-validation'],
};

// What may fail, and why.
const EXCEPTIONS = {
  'sep-2575-server-rejects-undeclared-capability': 'asks for a tool that asks its client for something: ours cannot',
  'sep-2575-missing-capability-http-400': 'the same',
  'sep-2549-prompts-list-caching-hints': 'no prompts',
  'sep-2549-resources-list-caching-hints': 'no resources',
  'sep-2549-resources-templates-list-caching-hints': 'no resources',
};

const work = fs.mkdtempSync(path.join(os.tmpdir(), 'luafn-conformance-'));
fs.cpSync(path.join(here, 'deployment'), path.join(work, 'app'), { recursive: true });
const host = spawn(program, ['serve', '--listen', '127.0.0.1:0', '--workers', '1', '--log', 'none'], { cwd: path.join(work, 'app'), stdio: ['ignore', 'ignore', 'pipe'] });
const url = await new Promise((resolve, reject) => {
  let said = '';
  host.on('exit', () => reject(new Error(`ended before it listened: ${said}`)));
  host.stderr.on('data', (piece) => {
    said += piece;
    const found = /listening on (http:\S+)/.exec(said);
    if (found) resolve(`${found[1]}/mcp`);
  });
});

let passed = 0, named = 0, failed = 0;
function judge(version, scenario) {
  const out = path.join(work, `${version}-${scenario}`);
  const tool = path.join(suite, 'node_modules/@modelcontextprotocol/conformance/dist/index.js');
  spawnSync(process.execPath, [tool, 'server', '--url', url, '--scenario', scenario, '--spec-version', version, '-o', out], { stdio: 'ignore' });
  const file = fs.existsSync(out) && fs.readdirSync(out, { recursive: true }).find((name) => name.endsWith('checks.json'));
  if (!file) {
    failed += 1;
    console.log(`${version}  ${scenario}: the suite did not run`);
    return;
  }
  const checks = JSON.parse(fs.readFileSync(path.join(out, file), 'utf8'));
  const bad = checks.filter((check) => check.status === 'FAILURE');
  const good = checks.filter((check) => check.status === 'SUCCESS').length;
  const told = bad.map((check) => `    ${check.id}: ${EXCEPTIONS[check.id] ?? check.errorMessage}`);
  const unknown = bad.filter((check) => !EXCEPTIONS[check.id]).length;
  passed += good;
  named += bad.length - unknown;
  failed += unknown;
  console.log([`${version}  ${scenario}: ${good} passed, ${bad.length - unknown} excepted, ${unknown} failed`, ...told].join('\n'));
}

try {
  for (const [version, scenarios] of Object.entries(SCENARIOS)) for (const scenario of scenarios) judge(version, scenario);
} finally {
  host.removeAllListeners('exit');
  host.kill('SIGTERM');
  fs.rmSync(work, { recursive: true });
}
console.log(`${passed} passed, ${named} excepted, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
