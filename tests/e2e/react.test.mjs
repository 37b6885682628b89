// examples/auth0-react as it is, bundled once, before two issuers.
import test from 'node:test';
import { cannotRun, story, withDevIssuer, withPeer } from '../lib/front-end.mjs';

const NAME = 'auth0-react';
const skip = cannotRun(NAME);

test('sign in, me, shows, 403 without the role: the dev issuer', { skip }, async (t) => {
  await story(t, await withDevIssuer(t, NAME));
});

test('the same with oidc-provider', { skip }, async (t) => {
  await story(t, await withPeer(t, NAME));
});
