// The article's me handler on Node's own HTTP server: what luafn replaces, without a framework.
// usage: node server.js PORT ISSUER AUDIENCE
'use strict';

const http = require('node:http');
const { NetlifyJwtVerifier, claimToArray, removeNamespaces } = require('@serverless-jwt/netlify');

const [, , port, issuer, audience] = process.argv;

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

const functions = {
  hello: async () => ({ statusCode: 200, body: 'hello' }),
  me: verified(async (event, context) => ({
    statusCode: 200, body: JSON.stringify({ claims: context.identityContext.claims }),
  })),
};

http.createServer(async (req, res) => {
  const [path, rawQuery = ''] = req.url.split('?');
  const handler = functions[path.slice('/.netlify/functions/'.length)];
  if (!handler) return res.writeHead(404).end();
  const event = {
    httpMethod: req.method, path, rawQuery, headers: req.headers,
    queryStringParameters: Object.fromEntries(new URLSearchParams(rawQuery)), body: undefined, isBase64Encoded: true,
  };
  const result = await handler(event, { clientContext: {} });
  res.writeHead(result.statusCode, result.headers);
  return res.end(result.body);
}).listen(Number(port), '127.0.0.1');
