// Who is measured: { name, version(), cases, prepare(ctx), command(port, ctx) -> [program, ...args] }.
// A peer whose prepare() throws is left out, with the reason in the output. All of them: one worker,
// keep-alive without a limit, no access log.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { ROOT } from '../../tests/lib/host.mjs';
import { tlsArgs } from '../../tests/lib/cert.mjs';
import { AUDIENCE } from '../../tests/lib/issuer.mjs';
import * as luafn from './luafn.mjs';

const HERE = path.join(ROOT, 'bench');
export const OUT = path.join(ROOT, 'build', 'bench');
const peer = (name) => path.join(HERE, 'peers', name);
const first = (program, ...args) => execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim().split('\n')[0];

const TOKENS = ['hello', 'me', 'many', 'new'];
const FETCH = [...TOKENS, 'shows', 'echo1', 'echo100', 'read3', 'pick250'];
const SERVED = ['small', 'large', 'tls', 'tlsnew', 'tlsagain', 'http2']; // files, and over TLS

export function compile(name, ...libraries) {
  fs.mkdirSync(OUT, { recursive: true });
  const to = path.join(OUT, name);
  execFileSync('cc', ['-std=c11', '-D_GNU_SOURCE', '-O2', '-Wall', '-o', to, path.join(HERE, `${name}.c`), ...libraries], { stdio: 'inherit' });
  return to;
}

// The packages of the lock file; scripts of packages never run, so programs are taken from the
// platform's own package.
function packages(name) {
  if (!fs.existsSync(path.join(peer(name), 'node_modules/.package-lock.json'))) {
    execFileSync('npm', ['ci', '--ignore-scripts', '--silent'], { cwd: peer(name), stdio: 'inherit' });
  }
  return path.join(peer(name), 'node_modules');
}

function program(name, ...patterns) {
  const modules = packages(name);
  const found = fs.globSync ? patterns.flatMap((p) => fs.globSync(p, { cwd: modules })) : [];
  if (found.length === 0) throw new Error('npm has no program for this platform');
  return path.join(modules, found[0]);
}

const version = (name, module) => JSON.parse(fs.readFileSync(path.join(peer(name), 'node_modules', module, 'package.json'))).version;
const settings = (ctx) => [ctx.issuer.issuer, AUDIENCE, ctx.tvApi];
const dir = (name) => {
  const d = path.join(OUT, name);
  fs.rmSync(d, { recursive: true, force: true });
  fs.mkdirSync(d, { recursive: true });
  return d;
};

const nginx = {
  name: 'nginx', cases: [...TOKENS, ...SERVED],
  label: () => `${first('sh', '-c', 'nginx -v 2>&1').replace(/^.*nginx\//, 'nginx ')}, LuaJIT, luaossl`,
  prepare(ctx) {
    this.dir = dir('nginx');
    const modules = fs.globSync('/usr/lib/nginx/modules/{ndk_http,ngx_http_lua}_module.so');
    if (modules.length < 2) throw new Error('libnginx-mod-http-lua is not installed');
    this.site = luafn.files(path.join(this.dir, 'site'));
    fs.writeFileSync(path.join(this.dir, 'settings.lua'), `return { issuer = "${ctx.issuer.issuer}", audience = "${AUDIENCE}", pem = [[\n${ctx.pem}]] }\n`);
    this.modules = modules.sort().map((m) => `load_module ${m};`).join('\n');
  },
  command(port, ctx) {
    const tls = ctx.tls ? ' ssl http2' : '';
    const file = path.join(this.dir, 'nginx.conf');
    fs.writeFileSync(file, `${this.modules}
daemon off;
worker_processes 1;
pid ${this.dir}/pid;
error_log stderr error;
${process.getuid() === 0 ? 'user root;' : ''}
events { worker_connections 2000; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_body_temp_path ${this.dir}/body;
  proxy_temp_path ${this.dir}/proxy; fastcgi_temp_path ${this.dir}/fastcgi; uwsgi_temp_path ${this.dir}/uwsgi; scgi_temp_path ${this.dir}/scgi;
  lua_package_path "${this.dir}/?.lua;${peer('nginx')}/?.lua;;";
  init_by_lua_block { require "me" }
  server {
    listen 127.0.0.1:${port}${tls};
    ${ctx.tls ? `ssl_certificate ${ctx.tls.cert}; ssl_certificate_key ${ctx.tls.key}; ssl_protocols TLSv1.2 TLSv1.3;` : ''}
    root ${this.site};
    sendfile on; tcp_nopush on;
    location = /.netlify/functions/hello { ${ctx.tls ? 'return 200 "hello";' : 'content_by_lua_block { ngx.print("hello") }'} }
    location = /.netlify/functions/me { content_by_lua_block { require("me")() } }
  }
}
`);
    return ['nginx', '-p', this.dir, '-e', 'stderr', '-c', file];
  },
};

const haproxy = {
  name: 'HAProxy', cases: TOKENS,
  label: () => `${first('haproxy', '-v').replace(/^HAProxy version (\S+?)-.*/, 'HAProxy $1')}, Lua 5.3, jwt_verify`,
  prepare(ctx) {
    this.dir = dir('haproxy');
    first('haproxy', '-v');
    fs.writeFileSync(path.join(this.dir, 'key.pem'), ctx.pem);
    this.env = { BENCH_ISSUER: ctx.issuer.issuer, BENCH_AUDIENCE: AUDIENCE };
  },
  command(port) {
    const file = path.join(this.dir, 'haproxy.cfg');
    fs.writeFileSync(file, `global
  nbthread 1
  maxconn 2000
  lua-load ${peer('haproxy')}/me.lua
defaults
  mode http
  timeout client 60s
  timeout connect 5s
  timeout server 60s
  timeout http-keep-alive 600s
frontend in
  bind 127.0.0.1:${port}
  http-request use-service lua.hello if { path /.netlify/functions/hello }
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request return status 401 content-type application/json string '{"error":"invalid_token"}' unless { var(txn.alg) -m str RS256 } { var(txn.bearer),jwt_verify(txn.alg,"${this.dir}/key.pem") 1 }
  http-request set-var(txn.payload) var(txn.bearer),field(2,.),ub64dec
  http-request use-service lua.me if { path /.netlify/functions/me }
`);
    return ['haproxy', '-db', '-f', file];
  },
};

// The nearest peer in C: it checks the token, and answers with a file.
const apache = {
  name: 'Apache', cases: ['me', 'many', 'new'], checked: 'status', ready: '/small.txt',
  label: () => `${first('/usr/sbin/apache2', '-v').replace(/^.*Apache\/(\S+).*/, 'Apache $1')}, mod_oauth2 ${first('dpkg-query', '-W', '-f', '${Version}', 'libapache2-mod-oauth2').replace(/-.*/, '')}`,
  prepare() {
    this.dir = dir('apache');
    this.modules = '/usr/lib/apache2/modules';
    if (!fs.existsSync(path.join(this.modules, 'mod_oauth2.so'))) throw new Error('libapache2-mod-oauth2 is not installed');
    fs.mkdirSync(path.join(this.dir, 'site/.netlify/functions'), { recursive: true });
    fs.writeFileSync(path.join(this.dir, 'site/small.txt'), 'small');
    fs.writeFileSync(path.join(this.dir, 'site/.netlify/functions/me'), JSON.stringify({ claims: { sub: 'x'.repeat(300) } }));
  },
  command(port, ctx) {
    const file = path.join(this.dir, 'httpd.conf');
    const load = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'oauth2'].map((m) => `LoadModule ${m}_module ${this.modules}/mod_${m}.so`).join('\n');
    fs.writeFileSync(file, `ServerRoot ${this.dir}
ServerName localhost
PidFile ${this.dir}/pid
DefaultRuntimeDir ${this.dir}
Listen 127.0.0.1:${port}
ErrorLog /dev/null
${load}
StartServers 1
ServerLimit 1
ThreadsPerChild 128
MaxRequestWorkers 128
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
DocumentRoot ${this.dir}/site
<Directory ${this.dir}/site>
  Require all granted
</Directory>
<Location /.netlify/functions>
  AuthType oauth2
  OAuth2TokenVerify jwks_uri ${ctx.issuer.issuer}.well-known/jwks.json verify.exp=required
  Require oauth2_claim iss:${ctx.issuer.issuer}
</Location>
`);
    return ['/usr/sbin/apache2', '-D', 'FOREGROUND', '-f', file];
  },
};

const workerd = {
  name: 'workerd', cases: FETCH,
  label: () => `workerd ${version('workerd', 'workerd')}, jose ${version('workerd', 'jose')}`,
  prepare(ctx) {
    this.dir = dir('workerd');
    this.bin = program('workerd', '@cloudflare/workerd-*/bin/workerd');
    const jose = path.join(peer('workerd'), 'node_modules/jose/dist/webapi');
    fs.cpSync(jose, path.join(this.dir, 'jose'), { recursive: true });
    fs.copyFileSync(path.join(peer('workerd'), 'server.mjs'), path.join(this.dir, 'server.mjs'));
    fs.copyFileSync(path.join(HERE, 'peers/web.mjs'), path.join(this.dir, 'web.mjs'));
    const modules = ['server.mjs', 'web.mjs', ...fs.globSync('jose/**/*.js', { cwd: this.dir })];
    const bindings = { ISSUER: ctx.issuer.issuer, AUDIENCE, TV_API_URL: ctx.tvApi };
    this.config = (port) => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
const main :Workerd.Worker = (
  modules = [${modules.map((m) => `(name = "${m}", esModule = embed "${m}")`).join(', ')}],
  bindings = [${Object.entries(bindings).map(([k, v]) => `(name = "${k}", text = "${v}")`).join(', ')}],
  compatibilityDate = "2026-01-01",
);
`;
  },
  command(port) {
    const file = path.join(this.dir, 'config.capnp');
    fs.writeFileSync(file, this.config(port));
    return [this.bin, 'serve', file];
  },
};

export const peers = [
  {
    name: 'floor', label: () => 'floor: epoll, fixed answer', cases: TOKENS, checked: false,
    prepare() { this.bin = compile('floor'); },
    command(port) { return [this.bin, String(port), '{"claims":{"sub":"auth0|1"}}']; },
  },
  {
    name: 'luafn', cases: [...FETCH, ...SERVED, 'pick10'],
    label: () => `luafn ${first(luafn.BIN, '--version').split(' ')[1]}`,
    prepare(ctx) { this.cwd = luafn.deployment(path.join(OUT, 'luafn'), ctx); },
    command: (port, ctx) => luafn.command(port, { args: ctx.tls ? tlsArgs(ctx.tls) : [] }),
  },
  nginx,
  haproxy,
  apache,
  {
    name: 'Node', cases: FETCH,
    label: () => `Node ${process.version.slice(1)}, @serverless-jwt/netlify ${version('node', '@serverless-jwt/netlify')}`,
    prepare() { packages('node'); },
    command: (port, ctx) => [process.execPath, path.join(peer('node'), 'server.js'), String(port), ...settings(ctx)],
  },
  {
    name: 'fast-jwt', cases: FETCH,
    label: () => `Node ${process.version.slice(1)}, fast-jwt ${version('fast-jwt', 'fast-jwt')} with its cache`,
    prepare(ctx) {
      packages('fast-jwt');
      this.pem = path.join(dir('fast-jwt'), 'key.pem');
      fs.writeFileSync(this.pem, ctx.pem);
    },
    command(port, ctx) { return [process.execPath, path.join(peer('fast-jwt'), 'server.js'), String(port), ...settings(ctx), this.pem]; },
  },
  {
    name: 'Bun', cases: FETCH,
    label: () => `Bun ${version('bun', 'bun')}, jose ${version('bun', 'jose')}`,
    prepare() { this.bin = program('bun', '@oven/bun-linux-*/bin/bun'); },
    command(port, ctx) { return [this.bin, path.join(peer('bun'), 'server.mjs'), String(port), ...settings(ctx)]; },
  },
  {
    name: 'Deno', cases: FETCH,
    label: () => `Deno ${version('deno', 'deno')}, jose ${version('deno', 'jose')}`,
    prepare() { this.bin = program('deno', '@deno/linux-*/deno'); this.cwd = peer('deno'); },
    command(port, ctx) {
      return [this.bin, 'run', '--quiet', '--allow-net', '--node-modules-dir=manual', path.join(peer('deno'), 'server.mjs'), String(port), ...settings(ctx)];
    },
  },
  workerd,
];
