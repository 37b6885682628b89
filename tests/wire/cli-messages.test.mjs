// What the command line says about bad usage and about what it cannot do, message by message; and
// that help and the man page know every command.
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { BIN, deployment, folder, freePort, launch, ROOT, run, SLOW, start } from '../lib/host.mjs';

const files = {
  ...deployment({ me: 'return function() return "me" end', item: 'return function() return "item" end', all: 'return function() return "all" end' }, {
    fields: { me: 'auth = "public"', item: 'auth = "public", path = "/items/:id/:part"', all: 'auth = "public", path = "/all/*"' },
  }),
  'key.pem': '',
};
const many = (option, value, times) => Array.from({ length: times }, () => [option, value]).flat();

// [arguments, exit status, what stderr says]
const messages = [
  [[], 2, /^luafn: a command is missing; type `luafn help`, or `luafn new hello` to begin\n$/],
  [['help', 'serv'], 2, /there is no command 'serv'; `luafn help` lists them/],
  [['serv'], 2, /there is no command 'serv'; did you mean `serve`\? Else type `luafn help`/],
  [['check', 'extra'], 2, /'extra' is one word too many/],
  [['check', '--confg', 'x'], 2, /unknown option '--confg'/],
  [['check', '--config'], 2, /--config needs a value/],
  [['routes', '--json=yes'], 2, /--json takes no value/],
  [['serve', ...many('--listen', '127.0.0.1:0', 100)], 2, /--listen can be given \d+ times at most/],
  [['serve', '--workers', 'many'], 2, /--workers is a number from 1 to 256, not 'many'/],
  [['serve', '--drain', 'soon'], 2, /--drain is a time such as 30s, not 'soon'/],
  [['serve', '--log', 'xml'], 2, /--log is json, text or none, not 'xml'/],
  [['serve', '--tls-cert', 'x'], 2, /--tls-cert and --tls-key belong together/],
  [['serve', '--tls-cert', 'key.pem', '--tls-key', 'key.pem', '--listen', '127.0.0.1:0'], 1, /key\.pem/],
  [['serve', '--listen', 'nowhere'], 2, /--listen 'nowhere' is not an address; write HOST:PORT, such as 127\.0\.0\.1:8888/],
  [['serve', '--listen', '127.0.0.1:99999'], 2, /'127\.0\.0\.1:99999' is not an address/],
  [['serve', '--listen', '192.0.2.1:80'], 1, /cannot listen on 192\.0\.2\.1:80: /],
  [['serve', '--listen', '127.0.0.1:0', '--admin', 'nowhere'], 2, /--admin 'nowhere' is not an address; write HOST:PORT/],
  [['serve', '--listen', '127.0.0.1:0', '--admin', '192.0.2.1:80'], 1, /cannot listen on 192\.0\.2\.1:80: /],
  [['serve', '--user', 'root', '--listen', '127.0.0.1:0'], 1, /^--user root would drop nothing: name another user$/m],
  [['serve', '--user', 'nobody-here', '--listen', '127.0.0.1:0'], 1, /there is no user 'nobody-here'/],
  [['dev', '--admin', '127.0.0.1:0'], 2, /unknown option '--admin'/],
  [['dev', '--listen', '0.0.0.0:0'], 2, /'0\.0\.0\.0:0' is not a loopback address, and the dev issuer is for this machine only/],
  [['invoke'], 2, /a function's name is missing; `luafn routes` lists them/],
  [['invoke', 'mee'], 2, /there is no function 'mee'; did you mean me\?/],
  [['invoke', 'shows'], 2, /there is no function 'shows'; `luafn routes` lists them/],
  [['invoke', 'me', '--header', 'nothing'], 2, /--header is 'NAME: VALUE', not 'nothing'/],
  [['invoke', 'me', '--payload', '@none'], 1, /--payload: none cannot be read: No such file/],
  [['invoke', 'me', '--payload', '@.'], 1, /--payload: \. cannot be (opened|read)/],
  [['invoke', 'me', '--method', 'get'], 2, /'get' is not one of GET HEAD POST PUT PATCH DELETE OPTIONS/],
  [['invoke', 'me', '--header', 'a b: c'], 2, /'a b' is no header's name/],
  [['invoke', 'me', '--header', 'a: b\r\nc: d'], 2, /the value of the header 'a' cannot be sent/],
  [['invoke', 'me', '--path', 'me'], 2, /the path 'me' does not begin with '\/'/],
  [['invoke', 'me', '--path', '/a/../..'], 2, /the path '\/a\/\.\.\/\.\.' cannot be resolved/],
  [['invoke', 'me', '--path', '/elsewhere'], 2, /the path '\/elsewhere' does not lead to me, which is at \/\.netlify\/functions\/me/],
  [['invoke', 'all', '--path', '/elsewhere'], 2, /the path '\/elsewhere' does not lead to all, which is at \/all\/\*/],
  [['invoke', 'item'], 2, /item is at \/items\/:id\/:part: say which path is meant/],
  [['invoke', 'me', '--path', '/a b'], 2, /the path '\/a b' has a character that must be written %20/],
  [['explain', 'x.y.z', '--route', 'nobody'], 2, /there is no function 'nobody'; `luafn routes` lists them/],
  [['audit', 'nowhere'], 2, /'nowhere': /],
  [['audit', 'http://127.0.0.1:1/x', '--token', 'x', '--jwks', 'http://127.0.0.1:1/'], 1, /^http:\/\/127\.0\.0\.1:1\/: no key set: connection refused/],
  [['audit', 'http://127.0.0.1:1/x', '--token', 'a.b.c'], 2, /--token is no signed token, three parts with dots between, such as `luafn token` prints/],
  [['audit', 'http://127.0.0.1:1/x', '--token', ''], 2, /--token is no signed token/],
  [['audit', 'http://127.0.0.1:1/x', '--jwks', 'nowhere'], 2, /--jwks 'nowhere': URL is not valid/],
  [['new', 'x', '--config', `${'n'.repeat(5000)}/functions.lua`], 2, /the name of --config is too long/],
  [['explain'], 2, /a token is missing; '-' reads it from stdin/],
  [['explain', 'x.y.z'], 1, /names no issuer: nobody's tokens are accepted/],
  [['audit'], 2, /a URL is missing, as http:\/\/127\.0\.0\.1:8888/],
  [['new'], 2, /a name is missing/],
  [['new', 'a/b'], 2, /'a\/b' is no name: use letters, digits, '-' and '_', and no _test at the end/],
  [['new', 'x', '--template', 'helo'], 2, /'helo' is not one of hello, protected/],
  [['new', 'me'], 1, /functions\.lua has a function me already/],
  [['test'], 1, /there is no \*_test\.lua below .*; `luafn new NAME` writes a first one/],
  [['test', '--timeout', 'long'], 2, /--timeout is a time from 0\.01 to 900 seconds, not 'long'/],
  [['token', '--alg', 'none'], 2, /--alg is one of RS, PS, ES or HS with 256, 384 or 512, or EdDSA, not 'none'/],
  [['token', '--alg', 'HS256'], 2, /--alg HS256 needs --secret TEXT/],
  [['token', '--alg', 'HS256', '--secret', 'x'], 2, /the secret has 1 bytes; HS256 needs at least 32/],
  [['token', '--secret', 'x'.repeat(64)], 2, /--secret goes with --alg HS256, HS384 or HS512/],
  [['token', '--claim', 'x'], 2, /--claim is NAME=JSON, not 'x'/],
  [['token', '--claim', 'x=y'], 2, /the value of --claim x is not JSON/],
  [['token', '--claim', `${'n'.repeat(300)}=1`], 2, /the name of a --claim is longer than 255 bytes/],
  [['token', '--expires', 'never'], 2, /--expires is a time such as 1h or -10m, not 'never'/],
  [['completion'], 2, /the shell is missing/],
  [['completion', 'tcsh'], 2, /'tcsh' is not bash, zsh or fish/],
  [['check', '--config', 'none.lua'], 1, /none\.lua: No such file or directory; `luafn new hello` writes a first one/],
];

test('each message, with its exit status, and on stderr alone', async (t) => {
  for (const [args, status, said] of messages) {
    await t.test(args.slice(0, 4).join(' ').slice(0, 60), async () => {
      const { code, stdout, stderr } = await run(t, args, { files });
      assert.match(stderr, said);
      assert.equal(code, status, stderr);
      assert.equal(stdout, '');
    });
  }
});

test('files of `test` that cannot be written', async (t) => {
  const all = { ...files, 'me_test.lua': 'test("me", function(t) t.equal(t.invoke("me").body, "me") end)\n' };
  for (const args of [['--junit', 'none/x'], ['--coverage', '--lcov', 'none/x']]) {
    const { code, stderr } = await run(t, ['test', ...args], { files: all });
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`^${args.at(-2)}: none/x cannot be written: No such file or directory$`, 'm'));
  }
});

test('audit: a key set that cannot be had', async (t) => {
  const host = await start(t, { files });
  const said = async (name) => {
    const { code, stderr } = await run(t, ['audit', host.url('/x'), '--jwks', host.url(name)], { files });
    assert.equal(code, 1);
    return stderr.trimEnd();
  };
  assert.equal(await said('/none'), `${host.url('/none')}: no key set: status 404`);
  assert.match(await said('/.netlify/functions/me'), /functions\/me: .*(JSON|key set)/);
});

test('a port of --admin in use, with what to do', async (t) => {
  const host = await start(t, { files });
  const { code, stderr } = await run(t, ['serve', '--listen', '127.0.0.1:0', '--admin', `127.0.0.1:${host.port}`], { files });
  assert.equal(code, 1);
  assert.equal(stderr, `127.0.0.1:${host.port} is in use already; stop the other program, or take another port with --admin 127.0.0.1:0\n`);
});

test('output that cannot be written: said, exit 1; a pipe closed early is nobody\'s fault', async (t) => {
  const dir = folder(t, files);
  const sh = (line) => spawnSync('bash', ['-c', line], { cwd: dir, encoding: 'utf8' });
  for (const line of ['help', '--version', 'routes', 'routes --openapi', 'token', 'completion bash', 'check', 'invoke me']) {
    const { status, stderr } = sh(`'${BIN}' ${line} >/dev/full`);
    assert.equal(status, 1, line);
    assert.match(stderr, new RegExp(`^luafn ${line.split(' ')[0]}: the output cannot be written: No space left on device$`, 'm'));
  }
  const { status, stderr } = sh(`exec 3> >(exit 0); wait $!; '${BIN}' help >&3`);
  assert.deepEqual([status, stderr], [1, '']);
});

test('where nothing can be kept: dev, token and serve say so and go on', async (t) => {
  const all = { ...files, '.luafn': 'a file, not a folder' };
  const { code, stdout, stderr } = await run(t, ['token'], { files: all });
  assert.equal(code, 0);
  assert.match(stdout, /^ey/);
  assert.match(stderr, /the dev issuer's key cannot be kept in (?:\S*\/)?\.luafn\/dev-key\.pem: Not a directory; the next start makes another/);
  const host = await start(t, { files: all });
  await host.says(/the folder \.luafn beside functions\.lua cannot be written: Not a directory; keys will not outlive a restart, and there is no kv/);
  assert.equal((await host.call('me')).text, 'me');
});

test('--user by one who may not', { skip: process.getuid() !== 0 && 'nobody else may become another' }, async (t) => {
  const dir = folder(t, files);
  fs.chmodSync(dir, 0o755);
  const { status, stderr } = spawnSync('setpriv', ['--reuid', 'nobody', '--clear-groups', BIN, 'serve', '--listen', '127.0.0.1:0', '--user', 'daemon'], { cwd: dir, encoding: 'utf8' });
  assert.equal(status, 1);
  assert.equal(stderr, 'cannot become user daemon: Operation not permitted; --user is for who starts as root\n');
});

test('a user who may have no timers: each command says so, none crashes', async (t) => {
  const dir = folder(t, { ...files, 'a_test.lua': 'test("x", function() end)' });
  for (const command of ['check', 'routes', 'serve --listen 127.0.0.1:0', 'dev --listen 127.0.0.1:0', 'invoke me', 'explain a.b.c', 'test']) {
    const { status, signal, stdout, stderr } = spawnSync('bash', ['-c', `ulimit -i 0; exec '${BIN}' ${command}`], { cwd: dir, encoding: 'utf8' });
    assert.deepEqual([status, signal], [1, null], `${command}: ${stderr}`);
    assert.match(stdout + stderr, /no timers are left: raise `ulimit -i`/, command);
  }
});

test('more test files than anybody has', async (t) => {
  const dir = folder(t, files);
  for (let i = 0; i <= 4096; i++) fs.writeFileSync(path.join(dir, `n${i}_test.lua`), '');
  const { code, stderr } = await run(t, ['test'], { dir });
  assert.equal(code, 1);
  assert.equal(stderr, 'more than 4096 test files; name those that are meant: luafn test FILE...\n');
});

test('what a test file can do wrong', async (t) => {
  const wrong = [
    ['test("x", function() test("y", function() end) end)', /test\(\.\.\.\) can only be called while the file is loaded/],
    ['test("x", function(t) t.invoke("nobody") end)', /t\.invoke: there is no function 'nobody'; `luafn routes` lists them/],
    ['test("x", function(t) t.invoke("me", { method = "get" }) end)', /t\.invoke: 'get' is not one of GET HEAD/],
    ['test("x", function(t) t.invoke("me", { headers = { ["a b"] = "c" } }) end)', /t\.invoke: 'a b' is no header's name/],
    ['test("x", function(t) t.clock(-1) end)', /not a time between the years 1970 and 9999/],
    ['test("x", function(t) t.clock("now") end)', /t\.clock wants seconds since 1970/],
    ['test("x", function(t) t.token({ iss = "\\xff" }) end)', /UTF-8/],
  ];
  for (const [text, said] of wrong) {
    await t.test(text, async () => {
      const { code, stdout, stderr } = await run(t, ['test'], { files: { ...files, 'a_test.lua': text } });
      assert.equal(code, 1);
      assert.match(stdout + stderr, said);
    });
  }
  const { code, stdout, stderr } = await run(t, ['test'], { files: { 'functions.lua': 'return 5', 'a_test.lua': 'test("x", function() end)' } });
  assert.equal(code, 1);
  assert.match(stdout + stderr, /functions\.lua does not load|functions\.lua:1: must return a table/);
});

test('an issuer whose tokens nobody here can sign', async (t) => {
  const key = `[[${generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' })}]]`;
  const all = deployment({ me: 'return function() return "me" end' }, {
    fields: { me: 'auth = true' }, more: `  auth = { issuer = "https://i.example/", audience = "a", algorithms = { "EdDSA" }, public_key = ${key} }`,
  });
  const { code, stderr } = await run(t, ['invoke', 'me', '--as', 'x'], { files: all });
  assert.equal(code, 1);
  assert.equal(stderr, 'no token can be made: the issuer https://i.example/ has a `public_key` of its own, for which nobody here can sign\n');
});

test('texts that are not UTF-8', async (t) => {
  const dir = folder(t, files);
  const said = (command) => {
    const { status, stderr } = spawnSync('bash', ['-c', `exec '${BIN}' ${command}`], { cwd: dir, encoding: 'utf8' });
    assert.notEqual(status, 0);
    return stderr;
  };
  assert.match(said("invoke me --as $'a\\xff'"), /--as is not UTF-8/);
  assert.match(said("invoke me --as a --scope $'a\\xff'"), /--scope is not UTF-8/);
  assert.match(said("token --sub $'a\\xff'"), /a name, an audience or a scope is not UTF-8/);
  assert.match(said("token --claim $'\\xff=1'"), /cannot be a claim: it is not UTF-8/);
});

test('a bad configuration is the only thing that dev and serve say', async (t) => {
  for (const args of [['dev'], ['dev', '--listen', '127.0.0.1:0'], ['serve', '--listen', '127.0.0.1:0']]) {
    const { code, stdout, stderr, dir } = await run(t, args, { files: { 'functions.lua': 'return 5' } });
    assert.equal(code, 1);
    // The usual port may be taken.
    if (args.length > 1) assert.equal(stderr, 'functions.lua:1: must return a table: return { functions = "scripts" }\n');
    else assert.doesNotMatch(stderr, /open http/);
    assert.equal(stdout, '');
    assert.ok(!fs.existsSync(path.join(dir, 'dev')), 'nothing was written');
  }
});

test('a port in use, with what to do', async (t) => {
  const host = await start(t, { files });
  const { code, stderr } = await run(t, ['serve', '--listen', `127.0.0.1:${host.port}`], { files });
  assert.equal(code, 1);
  assert.equal(stderr, `127.0.0.1:${host.port} is in use already; stop the other program, or take another port with --listen 127.0.0.1:0\n`);
});

test('check reads dev/auth.lua too', async (t) => {
  const auth = fs.readFileSync(path.join(ROOT, 'scripts/dev/auth.lua'), 'utf8');
  const check = (text) => run(t, ['check'], { files: { ...files, 'dev/auth.lua': text } });
  const fine = await check(auth);
  assert.equal(fine.code, 0, fine.stderr);
  const bad = [
    [auth.replace('token_lifetime', 'token_lifetme'), /^dev\/auth\.lua:\d+: apis\.\S+: unknown key \(did you mean 'token_lifetime'\?\)$/m],
    ['return {', /^dev\/auth\.lua:1: /m],
    ['return 5', /^dev\/auth\.lua/m],
  ];
  for (const [text, said] of bad) {
    const { code, stdout, stderr } = await check(text);
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, said);
  }
});

test('audit says when there is nothing to attack', async (t) => {
  const { code, stderr } = await run(t, ['audit', 'http://127.0.0.1:1'], { files });
  assert.equal(code, 1);
  assert.match(stderr, /no protected route was found/);
});

test('every command: help with an example, and a place in the man page', async (t) => {
  const { stdout } = await run(t, ['help']);
  const commands = [...stdout.matchAll(/^ {2}([a-z]+) /gm)].map((m) => m[1]);
  assert.ok(commands.length >= 12, commands.join(' '));
  const page = fs.readFileSync(path.join(ROOT, 'docs/luafn.1'), 'utf8');
  for (const name of commands) {
    assert.match(page, new RegExp(`^\\.It Cm ${name}\\b`, 'm'), `docs/luafn.1: ${name}`);
    if (name === 'help') continue;
    const help = await run(t, ['help', name]);
    for (const asked of [[name, '--help'], [name, '-h'], [name, 'some', '--help']]) assert.equal((await run(t, asked)).stdout, help.stdout, asked.join(' '));
    assert.match(help.stdout, new RegExp(`^Examples?:\\n(.*\\n)*.*luafn ${name}`, 'm'), name);
  }
});

// ---- what help, the man page, the completions and the program itself say ----

const optionsIn = (text) => [...new Set(text.match(/--[a-z]+(-[a-z]+)*/g) ?? [])].sort();

// The options that each command takes, from its source: { serve: ['--admin', ...] }.
function optionsTaken() {
  const cli = path.join(ROOT, 'host/cli');
  const shared = /RUN_HOST_OPTIONS\(r\)\s*\\\n((?:.*\\\n)*.*)/.exec(fs.readFileSync(path.join(cli, 'run_host.h'), 'utf8'))[1];
  const names = (text) => [...text.matchAll(/"(--[a-z-]+)", OPTION_/g)].map((m) => m[1]);
  const taken = {};
  for (const file of fs.readdirSync(cli).filter((name) => name.endsWith('.c'))) {
    const text = fs.readFileSync(path.join(cli, file), 'utf8');
    const command = /^const struct command command_([a-z]+) = \{/m.exec(text)?.[1];
    if (command) taken[command] = [...names(text), ...(text.includes('RUN_HOST_OPTIONS(r)') ? names(shared) : [])].sort();
  }
  return taken;
}

// The man page's paragraph of a command, its options as they are typed.
function manOf(name) {
  const page = fs.readFileSync(path.join(ROOT, 'docs/luafn.1'), 'utf8').replace(/Fl -([a-z-]+)/g, '--$1');
  const list = page.slice(page.indexOf('.Bl -tag'), page.indexOf('.Sh SIGNALS'));
  return list.split(/^(?=\.It Cm )/m).filter((part) => new RegExp(`^\\.It Cm ${name}\\b`).test(part)).join('');
}

test('every option: in the usage line, explained in help, in the man page and the completions', async (t) => {
  const taken = optionsTaken();
  const zsh = (await run(t, ['completion', 'zsh'])).stdout;
  const fish = (await run(t, ['completion', 'fish'])).stdout;
  const bash = (await run(t, ['completion', 'bash'])).stdout;
  assert.deepEqual(Object.keys(taken).sort(), [...(await run(t, ['help'])).stdout.matchAll(/^ {2}([a-z]+) /gm)].map((m) => m[1]).sort());
  for (const [name, options] of Object.entries(taken)) {
    const help = (await run(t, ['help', name])).stdout;
    const [usage, ...rest] = help.split('\n\n'); // the usage may take several lines
    assert.ok(help.split('\n').every((line) => line.length <= 80), `luafn help ${name}: fits 80 columns`);
    assert.deepEqual(optionsIn(usage), options, `usage of ${name}`);
    const explained = rest.join('\n\n').replace(/^Examples?:\n[\s\S]*/m, '');
    for (const option of options) assert.match(explained, new RegExp(`^  (.*, )?(--tls-cert FILE )?${option}\\b`, 'm'), `luafn help ${name}: ${option}`);
    // What all commands have is said once, above the list.
    assert.deepEqual(optionsIn(manOf(name)), options.filter((o) => o !== '--config'), `docs/luafn.1: ${name}`);
    assert.deepEqual(optionsIn(new RegExp(`^ +${name}\\) words='(.*--help)'`, 'm').exec(bash)[1]), [...options, '--help'].sort(), `bash: ${name}`);
    assert.deepEqual(optionsIn(new RegExp(`^ +${name}\\) compadd -- ?(.*--help)`, 'm').exec(zsh)[1]), [...options, '--help'].sort(), `zsh: ${name}`);
    for (const option of options) assert.match(fish, new RegExp(`seen_subcommand_from ${name}' -l ${option.slice(2)}\\b`), `fish: ${name} ${option}`);
  }
});

// The examples of `luafn help`, typed in their order into one folder that is empty at first. Those that
// serve are ended when they do; 8888 and the other ports are free ones here.
test('every example of help works as it stands', async (t) => {
  const dir = folder(t);
  const port = await freePort();
  const env = { ...process.env, PATH: `${path.join(dir, 'bin')}:${process.env.PATH}`, JWT_ISSUER: '', JWT_AUDIENCE: '' };
  delete env.JWT_ISSUER;
  delete env.JWT_AUDIENCE;
  fs.mkdirSync(path.join(dir, 'bin'));
  fs.symlinkSync(BIN, path.join(dir, 'bin/luafn'));
  const example = async (name) => /^Example:\n {2}((?:.*\n)+)$/m.exec((await run(t, ['help', name])).stdout)[1].trim()
    .replace(/(localhost|127\.0\.0\.1|0\.0\.0\.0):(8888|3000|8080)/, `127.0.0.1:${port}`);
  const type = (line) => new Promise((resolve) => {
    execFile('bash', ['-c', `set -o pipefail; ${line}`], { cwd: dir, env, timeout: 200000 * SLOW }, (err, stdout, stderr) => resolve({ status: err ? err.code : 0, stdout, stderr }));
  });
  const works = async (name, said) => {
    const line = await example(name);
    const { status, stdout, stderr } = await type(line);
    assert.equal(status, 0, `${line}: ${stdout}${stderr}`);
    assert.match(stdout, said, `${line}: ${stdout}`);
  };
  await works('new', /^1\.\.3\n# 3 passed, 0 failed$/m);
  await works('test', /^# scripts\/shows\.lua .*100\.0 %$/m);
  await works('invoke', /^\["one","two"\]$/);
  await works('routes', /"path":"\/\.netlify\/functions\/shows"/);
  await works('explain', /^PASS /m);
  await works('help', /^usage: luafn serve /);
  await works('completion', /^$/);
  const dev = launch(dir, { command: 'dev', listen: `127.0.0.1:${port}`, bin: BIN });
  await dev.listening;
  try {
    assert.equal(await example('dev'), `luafn dev --listen 127.0.0.1:${port}`);
    await works('token', /^\["one","two"\]$/);
    await works('audit', /: 182 as expected, 0 let through, 0 faults$/m);
  } finally {
    await dev.stop();
  }
  // A deployment names an issuer of its own.
  fs.writeFileSync(path.join(dir, '.env'), 'JWT_ISSUER=https://issuer.example/\nJWT_AUDIENCE=https://api\n');
  assert.equal(await example('check'), 'luafn check && luafn serve');
  assert.equal((await type('luafn check')).stdout, 'functions.lua: 1 function, no faults\n');
  assert.equal(await example('serve'), `luafn serve --listen 127.0.0.1:${port} --workers 4`);
  const serve = launch(dir, { listen: `127.0.0.1:${port}`, workers: 4, bin: BIN });
  await serve.listening;
  await serve.stop();
});
