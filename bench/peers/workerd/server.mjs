// A worker; its settings are bindings (config.capnp is written by bench/lib/peers.mjs).
import * as jose from './jose/index.js';
import { make } from './web.mjs';

let handle;
export default {
  fetch(request, env) {
    handle ??= make(jose, { issuer: env.ISSUER, audience: env.AUDIENCE, tvApi: env.TV_API_URL });
    return handle(request);
  },
};
