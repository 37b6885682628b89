// The article's functions on Node's own HTTP server: what luafn replaces, without a framework.
// usage: node server.js PORT ISSUER AUDIENCE TV_API_URL
'use strict';

const http = require('node:http');
const { NetlifyJwtVerifier, claimToArray, removeNamespaces } = require('@serverless-jwt/netlify');

const [, , port, issuer, audience, tvApi] = process.argv;

const verified = NetlifyJwtVerifier({
  issuer,
  audience,
  mapClaims: (claims) => {
    const all = removeNamespaces('http://schemas.sandrino.dev/', claims);
    all.scope = claimToArray(all.scope);
    all.roles = claimToArray(all.roles);
    return all;
  },
});

const json = (statusCode, value) => ({ statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) });

const pick = (shows) => shows.map(({ id, url, name }) => ({ id, url, name }));

const functions = {
  hello: async () => ({ statusCode: 200, body: 'hello' }),
  me: verified(async (event, context) => json(200, { claims: context.identityContext.claims })),
  shows: verified(async (event, context) => {
    if (!context.identityContext.claims.scope.includes('read:shows')) return json(403, { error: 'access_denied' });
    const list = await (await fetch(tvApi)).json();
    return json(200, pick(list));
  }),
  echo: async (event) => json(200, JSON.parse(event.body)),
  read3: async (event) => {
    const { total, page, next } = JSON.parse(event.body);
    return json(200, { total, page, next });
  },
  pick: async (event) => json(200, pick(JSON.parse(event.body))),
};

async function answer(req, res, body) {
  const [path, rawQuery = ''] = req.url.split('?');
  const handler = functions[path.slice('/.netlify/functions/'.length)];
  if (!handler) return res.writeHead(404).end();
  const event = {
    httpMethod: req.method, path, rawQuery, headers: req.headers,
    queryStringParameters: Object.fromEntries(new URLSearchParams(rawQuery)), body, isBase64Encoded: body === undefined,
  };
  const result = await handler(event, { clientContext: {} });
  res.writeHead(result.statusCode, result.headers);
  return res.end(result.body);
}

http.createServer((req, res) => {
  if (req.method === 'GET') return answer(req, res);
  const parts = [];
  req.on('data', (part) => parts.push(part));
  return req.on('end', () => answer(req, res, Buffer.concat(parts).toString()));
}).listen(Number(port), '127.0.0.1');
