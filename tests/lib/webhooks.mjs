// What senders of webhooks put on their requests, made with Node's crypto: each function gives headers for a body.
import { createHash, createHmac } from 'node:crypto';
import { request } from './wire.mjs';

const mac = (alg, key, text, encoding) => createHmac(alg, key).update(text).digest(encoding);
const joined = (...parts) => Buffer.concat(parts.map((p) => Buffer.from(p)));
export const now = () => Math.floor(Date.now() / 1000);

export const SECRETS = {
  standard: 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
  github: "It's a Secret", stripe: 'whsec_luafn_test_secret', slack: '8f742231b10e8888abcd99yyyzzz85a5', shopify: 'hush', twilio: '12345', custom: 'of our own',
};
export const CUSTOM = '{ header = "X-Sig", alg = "sha512", encoding = "base64", prefix = "sig=", signed = "{timestamp}.{id}.{body}", timestamp = "X-Time", id = "X-Id" }';
// `webhook` and `secret` of functions.lua.
export const auth = (scheme, more = '') => `auth = { webhook = ${scheme === 'custom' ? CUSTOM : `"${scheme}"`}, secret = ${JSON.stringify(SECRETS[scheme])}${more} }`;

export const SIGN = {
  standard: (body, { id = 'msg_1', time = now(), secret = SECRETS.standard } = {}) => ({
    'webhook-id': id, 'webhook-timestamp': String(time),
    'webhook-signature': `v1,${mac('sha256', Buffer.from(secret.slice(6), 'base64'), joined(`${id}.${time}.`, body), 'base64')}`,
  }),
  github: (body, { id = 'guid-1', secret = SECRETS.github } = {}) => ({
    'X-GitHub-Event': 'push', 'X-GitHub-Delivery': id, 'X-Hub-Signature-256': `sha256=${mac('sha256', secret, body, 'hex')}`,
  }),
  stripe: (body, { time = now(), secret = SECRETS.stripe } = {}) => ({ 'Stripe-Signature': `t=${time},v1=${mac('sha256', secret, joined(`${time}.`, body), 'hex')}` }),
  slack: (body, { time = now(), secret = SECRETS.slack } = {}) => ({
    'X-Slack-Request-Timestamp': String(time), 'X-Slack-Signature': `v0=${mac('sha256', secret, joined(`v0:${time}:`, body), 'hex')}`,
  }),
  shopify: (body, { id = 'b54557e4', secret = SECRETS.shopify } = {}) => ({ 'X-Shopify-Webhook-Id': id, 'X-Shopify-Hmac-Sha256': mac('sha256', secret, body, 'base64') }),
  // Of a form; `url` as Twilio was told it.
  twilio: (body, { url, secret = SECRETS.twilio } = {}) => {
    const pairs = [...new URLSearchParams(String(body))].sort(([a, x], [b, y]) => (a < b || (a === b && x < y) ? -1 : 1));
    return { 'Content-Type': 'application/x-www-form-urlencoded', 'X-Twilio-Signature': mac('sha1', secret, url + pairs.flat().join(''), 'base64') };
  },
  custom: (body, { id = 'a.b', time = now(), secret = SECRETS.custom } = {}) => ({
    'X-Id': id, 'X-Time': String(time), 'X-Sig': `sig=${mac('sha512', secret, joined(`${time}.${id}.`, body), 'base64')}`,
  }),
};
export const TIMED = ['standard', 'stripe', 'slack', 'custom'];
export const bodyHash = (body) => createHash('sha256').update(body).digest('hex');

// Posts to the function of that name.
export const post = (h, name, body, headers, more = {}) => request(h, {
  method: 'POST', path: `/.netlify/functions/${name}`, body, headers: Object.entries({ 'Content-Type': 'application/json; charset=utf-8', ...headers }), ...more,
});
