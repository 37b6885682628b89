// Tokens taken apart, for show and for tampering. Nothing here decides anything: the host does.

const encode = (text) => {
  const binary = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
};

export function bytesOf(part) {
  const text = atob(part.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

const json = (part) => JSON.parse(new TextDecoder().decode(bytesOf(part)));

export function parse(token) {
  const [header, claims] = token.split('.');
  return { header: json(header), claims: json(claims) };
}

// Another subject under the old signature.
export function altered(token) {
  const [header, , signature] = token.split('.');
  const claims = { ...parse(token).claims, sub: 'auth0|mallory' };
  return `${header}.${encode(JSON.stringify(claims))}.${signature}`;
}

// The same claims, "signed" with the algorithm none.
export function unsigned(token) {
  return `${encode(JSON.stringify({ alg: 'none', typ: 'JWT' }))}.${token.split('.')[1]}.`;
}
