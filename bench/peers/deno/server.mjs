// usage: deno run --allow-net server.mjs PORT ISSUER AUDIENCE TV_API_URL
import * as jose from 'jose';
import { make } from '../web.mjs';

const [port, issuer, audience, tvApi] = Deno.args;
Deno.serve({ port: Number(port), hostname: '127.0.0.1', onListen() {} }, make(jose, { issuer, audience, tvApi }));
