// Signing in by hand: authorization code with PKCE (RFC 7636), tokens kept for this tab only.
import { ask } from './ask.js';
import { parse } from './jwt.js';

const CLIENT_ID = 'luafn-demo';
const SCOPE = 'openid profile email offline_access read:shows create:shows';
const TOKENS = 'luafn.tokens';
const PENDING = 'luafn.pending';

let endpoints;

// The issuer's own description, from the origin of this page.
async function discover() {
  if (!endpoints) {
    const res = await ask('/.well-known/openid-configuration');
    if (!res.ok) throw new Error(`There is no issuer on this origin (${res.status}).`);
    endpoints = await res.json();
  }
  return endpoints;
}

const redirectUri = () => location.origin + location.pathname;

// The issuer names one origin: under another name of this machine its answers would not come back here.
export async function isElsewhere() {
  const own = new URL((await discover()).issuer);
  const isLocal = ['localhost', '127.0.0.1', '[::1]'].includes(own.hostname);
  if (own.origin === location.origin || !isLocal || own.port !== location.port) return false;
  location.replace(own.origin + location.pathname + location.search);
  return true;
}

function base64url(bytes) {
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

const sha256 = (text) => crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));

let keys;

// The public keys of the issuer, as JWKs.
export async function issuerKeys() {
  keys ??= (await (await ask((await discover()).jwks_uri)).json()).keys;
  return keys;
}

export function tokens() {
  return JSON.parse(sessionStorage.getItem(TOKENS) ?? 'null');
}

export async function signIn(audience) {
  const { authorization_endpoint: authorize } = await discover();
  const pending = { state: random(), nonce: random(), verifier: random() };
  sessionStorage.setItem(PENDING, JSON.stringify(pending));
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: CLIENT_ID,
    redirect_uri: redirectUri(),
    scope: SCOPE,
    state: pending.state,
    nonce: pending.nonce,
    code_challenge: base64url(await sha256(pending.verifier)),
    code_challenge_method: 'S256',
  });
  if (audience) query.set('audience', audience);
  location.assign(`${authorize}?${query}`);
}

async function exchange(fields) {
  const { token_endpoint: endpoint } = await discover();
  const body = new URLSearchParams({ client_id: CLIENT_ID, ...fields });
  const res = await ask(endpoint, { method: 'POST', body });
  const answer = await res.json();
  if (!res.ok) throw new Error(answer.error_description ?? answer.error);
  return answer;
}

function checkIdToken(idToken, nonce) {
  const { claims } = parse(idToken);
  if (claims.iss !== endpoints.issuer || claims.aud !== CLIENT_ID || claims.nonce !== nonce) {
    throw new Error('The ID token is not the answer to this sign-in.');
  }
}

function keep(answer) {
  const { access_token, id_token, refresh_token } = { ...tokens(), ...answer };
  sessionStorage.setItem(TOKENS, JSON.stringify({ access_token, id_token, refresh_token }));
}

// When the issuer has led back here: turns the code into tokens. Throws what went wrong.
export async function finishSignIn() {
  const query = new URLSearchParams(location.search);
  if (!query.has('state')) return;
  const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? 'null');
  sessionStorage.removeItem(PENDING);
  history.replaceState(null, '', location.pathname);
  if (query.get('state') !== pending?.state) {
    if (tokens()) return; // Back, or a reload, after a sign-in that has been finished
    throw new Error('This sign-in was not begun here.');
  }
  if (query.has('error')) throw new Error(query.get('error_description') ?? query.get('error'));
  const answer = await exchange({
    grant_type: 'authorization_code',
    code: query.get('code'),
    code_verifier: pending.verifier,
    redirect_uri: redirectUri(),
  });
  checkIdToken(answer.id_token, pending.nonce);
  keep(answer);
}

// A new access token, with the scopes that the user's roles permit now.
export async function renew() {
  try {
    keep(await exchange({ grant_type: 'refresh_token', refresh_token: tokens().refresh_token }));
  } catch (error) {
    sessionStorage.removeItem(TOKENS);
    throw new Error(`${error.message} Sign in again.`);
  }
}

export async function signOut() {
  sessionStorage.removeItem(TOKENS);
  const { end_session_endpoint: end } = await discover();
  const query = new URLSearchParams({ client_id: CLIENT_ID, returnTo: redirectUri() });
  location.assign(`${end}?${query}`);
}
