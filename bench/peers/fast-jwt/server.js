// The same functions with fast-jwt and its cache of verified tokens (the size is its default, 1000).
// usage: node server.js PORT ISSUER AUDIENCE TV_API_URL KEY.PEM
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const { createVerifier } = require('fast-jwt');

const [, , port, issuer, audience, tvApi, pem] = process.argv;
const verify = createVerifier({
  key: fs.readFileSync(pem), algorithms: ['RS256'], allowedIss: issuer, allowedAud: audience, requiredClaims: ['exp'], cache: true,
});

const pick = (shows) => shows.map(({ id, url, name }) => ({ id, url, name }));
const list = (value) => (typeof value === 'string' ? value.split(' ') : value ?? []);

function answer(req, res, body) {
  const json = (status, value) => res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
  const claimsOf = () => {
    const all = verify((req.headers.authorization ?? '').replace(/^Bearer /i, ''));
    return { ...all, scope: list(all.scope), roles: list(all.roles) };
  };
  switch (req.url) {
    case '/.netlify/functions/hello': return res.end('hello');
    case '/.netlify/functions/echo': return json(200, JSON.parse(body));
    case '/.netlify/functions/pick': return json(200, pick(JSON.parse(body)));
    case '/.netlify/functions/read3': {
      const { total, page, next } = JSON.parse(body);
      return json(200, { total, page, next });
    }
    case '/.netlify/functions/me':
    case '/.netlify/functions/shows': break;
    default: return res.writeHead(404).end();
  }
  let claims;
  try {
    claims = claimsOf();
  } catch {
    return json(401, { error: 'invalid_token' });
  }
  if (req.url.endsWith('me')) return json(200, { claims });
  if (!claims.scope.includes('read:shows')) return json(403, { error: 'access_denied' });
  return fetch(tvApi).then((got) => got.json()).then((shows) => json(200, pick(shows)));
}

http.createServer((req, res) => {
  if (req.method === 'GET') return answer(req, res);
  const parts = [];
  req.on('data', (part) => parts.push(part));
  return req.on('end', () => answer(req, res, Buffer.concat(parts).toString()));
}).listen(Number(port), '127.0.0.1');
