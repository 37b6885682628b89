// The scripts of the repository, me and shows, before a provider of the test's choice.
import fs from 'node:fs';
import path from 'node:path';
import { lua, ROOT, start } from './host.mjs';
import { upstream } from './upstream.mjs';

// The files of the repository's own deployment: functions.lua and scripts/, without those of `dev`.
export function ownFiles() {
  const files = { 'functions.lua': fs.readFileSync(path.join(ROOT, 'functions.lua'), 'utf8') };
  for (const name of ['me.lua', 'shows.lua', 'lib/auth.lua']) {
    files[`scripts/${name}`] = fs.readFileSync(path.join(ROOT, 'scripts', name), 'utf8');
  }
  return files;
}

const SHOWS = [
  { id: 1, url: 'https://www.tvmaze.com/shows/1/under-the-dome', name: 'Under the Dome', rating: 6.5 },
  { id: 2, url: 'https://www.tvmaze.com/shows/2/person-of-interest', name: 'Person of Interest', rating: 8.8 },
];
export const WANTED = SHOWS.map(({ id, url, name }) => ({ id, url, name }));

const tvApi = async (t) => `${await upstream(t, (req, res) => res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(SHOWS)))}/shows`;

// me is guarded by lib/auth.lua alone, as in the article; so is shows, which wants read:shows. The issuer's keys are
// there, or not yet if it is to be `cold`.
export async function demo(t, { issuer, audience, backend = 'openssl', cold = false }) {
  const files = {
    'functions.lua': `return {
  functions = {
    me = { script = "scripts/me.lua", env = { "JWT_*" } },
    shows = { script = "scripts/shows.lua", env = { "JWT_*", "TV_API_URL" }, fetch = { "127.0.0.1" } },
    data = { script = "scripts/data.lua", auth = { scope = "read:shows" } },
  },
  auth = { issuer = ${lua(issuer)}, audience = ${lua(audience)}, backend = ${lua(backend)} },
}
`,
    'scripts/data.lua': 'return function() return "data" end',
    '.env': `JWT_ISSUER=${issuer}\nJWT_AUDIENCE=${audience}\nTV_API_URL=${await tvApi(t)}\n`,
  };
  const h = await start(t, { files: { ...ownFiles(), ...files } });
  if (!cold) await h.keys();
  return h;
}

export function tampered(token) {
  const [head, payload, signature] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url'));
  claims.sub = 'somebody-else';
  return [head, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
}
