// Calls of kv from outside.
import assert from 'node:assert/strict';

// Calls kv with arguments from the request's body, { call, args, n }; answers with all results.
export const CALL = `
return function(event)
  local input = json.decode(event.body)
  for i = 1, input.n do if input.args[i] == json.null then input.args[i] = nil end end
  local results = table.pack(pcall(kv[input.call], table.unpack(input.args, 1, input.n)))
  local out = json.array()
  for i = 1, results.n do out[i] = results[i] == nil and json.null or results[i] end
  return json.encode(out)
end
`;

// Its results as a list; { raised } when it raised.
export async function call(h, name, ...args) {
  const body = JSON.stringify({ call: name, args, n: args.length });
  const options = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body };
  const res = await h.call('call', options);
  assert.equal(res.status, 200, res.text);
  const [ok, ...results] = res.json();
  return ok ? results : { raised: results[0] };
}
