// The host's own answers: JSON, or an error that says why.
import { ask } from './ask.js';

export async function json(path, options) {
  const res = await ask(path, options);
  const text = await res.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(text || `${path}: ${res.status}`);
  }
  if (!res.ok) throw new Error(answer.error_description ?? `${path}: ${res.status}`);
  return answer;
}

export const post = (name, fields) => json(`/_luafn/dev/api/${name}`, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(fields),
});

let known; // a promise: users, and what the host expects of tokens
export function issuer() {
  known ??= json('/_luafn/dev/api/users').catch((error) => {
    known = undefined;
    throw error;
  });
  return known;
}
