// The functions for the peers that speak fetch (Request in, Response out), with jose's remote key set.
const pick = (shows) => shows.map(({ id, url, name }) => ({ id, url, name }));
const list = (value) => (typeof value === 'string' ? value.split(' ') : value ?? []);

export function make({ createRemoteJWKSet, jwtVerify }, { issuer, audience, tvApi }) {
  const keys = createRemoteJWKSet(new URL('.well-known/jwks.json', issuer));
  const options = { issuer, audience, algorithms: ['RS256'], requiredClaims: ['exp'] };

  async function claimsOf(request) {
    const header = request.headers.get('authorization') ?? '';
    const { payload } = await jwtVerify(header.replace(/^Bearer /i, ''), keys, options);
    return { ...payload, scope: list(payload.scope), roles: list(payload.roles) };
  }

  return async function handle(request) {
    const name = request.url.slice(request.url.lastIndexOf('/') + 1);
    if (name === 'hello') return new Response('hello');
    if (name === 'echo') return Response.json(await request.json());
    if (name === 'read3') {
      const { total, page, next } = await request.json();
      return Response.json({ total, page, next });
    }
    if (name === 'pick') return Response.json(pick(await request.json()));
    if (name !== 'me' && name !== 'shows') return new Response(null, { status: 404 });
    let claims;
    try {
      claims = await claimsOf(request);
    } catch {
      return Response.json({ error: 'invalid_token' }, { status: 401 });
    }
    if (name === 'me') return Response.json({ claims });
    if (!claims.scope.includes('read:shows')) return Response.json({ error: 'access_denied' }, { status: 403 });
    const shows = await (await fetch(tvApi)).json();
    return Response.json(pick(shows));
  };
}
