// JSON Schemas: `input` and `query` of a function, judged before it runs, and schema.check in it.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, folder, run, start, write } from '../lib/host.mjs';

const SCRIPTS = {
  add: 'return function(event) log.info("add ran") return respond.json(200, event:json()) end',
  list: `return {
    query = { type = "object", additionalProperties = false, required = { "limit" }, properties = {
      limit = { type = "integer", maximum = 100 }, all = { type = "boolean" }, text = { type = "string" },
      id = { type = "array", items = { type = "integer" } } } },
    handler = function(event) return respond.json(200, { event:query(), event.queryStringParameters }) end,
  }`,
  slow: `return { background = true, input = { type = "array" }, handler = function() log.info("slow ran") end }`,
  check: `
    local schemas = {
      person = { type = "object", required = { "name" }, properties = { name = { type = "string" }, tags = { type = "array", minItems = 1 } } },
      any = true, none = false, empty = {},
      wrong = { type = "persn" }, odd = { type = "object", properties = { a = print } }, circle = { ["$ref"] = "#" },
    }
    local values = { person = { name = "a" }, nobody = {}, tags = { name = "a", tags = {} }, f = { name = print }, nan = { 0/0 },
      mixed = { 1, a = 2 }, bytes = "\\xff", null = json.null, list = json.array {} }
    return function(event)
      local q = event.queryStringParameters
      local value = values[q.value]
      if q.json then value = json.decode(q.json) end
      local got, errors = schema.check(schemas[q.schema], value)
      return json.encode { got = got == value and got ~= nil, errors = errors }
    end`,
  often: `return function()
    for i = 1, 2000 do assert(schema.check({ type = "object", properties = { a = { pattern = "^a*" .. i } } }, {})) end
    return "ok"
  end`,
};
const input = `input = { type = "object", required = { "name" }, additionalProperties = false,
  properties = { name = { type = "string", pattern = "^\\\\p{Lu}" }, age = { ["$ref"] = "#/$defs/age" } },
  ["$defs"] = { age = { type = "integer", minimum = 0 } } }`;
const files = deployment(SCRIPTS, { fields: { add: `${input}, body = "2MB"`, often: 'memory = "4MB", cpu = 20, timeout = 60' } });
const post = (h, name, body, type = 'application/json') => h.call(name, { method: 'POST', headers: type ? { 'Content-Type': type } : {}, body });

test('input: what is not as the schema says is answered 422, and nothing of the function runs', async (t) => {
  const h = await start(t, { files });
  const bad = await post(h, 'add', '{"name":"a","age":-1,"x":null}');
  assert.equal(bad.status, 422);
  assert.match(bad.header('content-type'), /^application\/json/);
  assert.deepEqual(bad.json(), { error: 'invalid_input', errors: [
    { path: '/age', message: 'must be at least 0' },
    { path: '/name', message: 'must match the pattern ^\\p{Lu}' },
    { path: '/x', message: 'is not allowed here' },
  ] });
  assert.deepEqual((await post(h, 'add', '[]')).json().errors, [{ path: '', message: 'must be an object, not an array' }]);
  for (const [body, type, status, code] of [
    ['', 'application/json', 400, 'invalid_json'], ['{', 'application/json', 400, 'invalid_json'], ['{}x', null, 400, 'invalid_json'],
    ['{"name":"A","name":"\\ud800"}', 'application/json', 400, 'invalid_json'], [`${'['.repeat(65)}${']'.repeat(65)}`, 'application/json', 400, 'invalid_json'],
    ['{"name":"A"}', 'text/plain', 415, 'unsupported_media_type'], ['{"name":"A"}', 'application/x-www-form-urlencoded', 415, 'unsupported_media_type'],
    [`{"name":"${'A'.repeat(2 << 20)}"}`, 'application/json', 413, 'payload_too_large'],
  ]) {
    const res = await post(h, 'add', body, type);
    assert.deepEqual([res.status, res.json().error], [status, code], body.slice(0, 40));
  }
  assert.doesNotMatch(h.stderr, /add ran/);
  for (const body of ['{"name":"Ä"}', '{"name":"A","age":3.0}', '{"name":"a","name":"B"}', `{"name":"A${'x'.repeat(1 << 20)}"}`]) {
    const res = await post(h, 'add', body, body.length % 2 ? 'application/problem+json' : null);
    assert.deepEqual([res.status, res.json()], [200, JSON.parse(body)], body.slice(0, 40));
  }
  await h.says(/add ran/);
  assert.equal((await h.call('add')).status, 400, 'a GET has no body to judge, and the handler sees that');
});

test('input: a background function promises nothing that it would not take', async (t) => {
  const h = await start(t, { files });
  assert.equal((await post(h, 'slow', '{}')).status, 422);
  assert.equal((await post(h, 'slow', '[]')).status, 202);
  await h.says(/slow ran/);
  assert.equal(h.stderr.match(/slow ran/g).length, 1);
});

test('query: texts become what the schema asks for', async (t) => {
  const h = await start(t, { files });
  const get = (query) => h.call(`list?${query}`);
  assert.deepEqual((await get('limit=10&all=true&text=7&id=1')).json(), [
    { limit: 10, all: true, text: '7', id: [1] }, { limit: '10', all: 'true', text: '7', id: '1' }]);
  assert.deepEqual((await get('limit=1e1&id=3&id=4')).json()[0], { limit: 10, id: [3, 4] });
  assert.deepEqual((await get('limit=101&all=yes&id=x&z=1')).json(), { error: 'invalid_input', errors: [
    { path: '/all', message: 'must be true or false, not a string' },
    { path: '/id/0', message: 'must be an integer, not a string' },
    { path: '/limit', message: 'must be at most 100' },
    { path: '/z', message: 'is not allowed here' },
  ] });
  assert.deepEqual((await get('')).json().errors, [{ path: '', message: '`limit` is missing' }]);
  assert.deepEqual((await get('limit=1&limit=2')).json().errors, [{ path: '/limit', message: 'must be an integer, not an array' }]);
  assert.equal((await get('limit=%ff')).status, 400);
  assert.equal((await get(Array.from({ length: 1001 }, (_, i) => `a${i}`).join('&'))).status, 413);
});

test('schema.check: the value, or nil and what is wrong with it', async (t) => {
  const h = await start(t, { files });
  const check = async (query) => {
    const res = await h.call(`check?${query}`);
    return res.status === 200 ? res.json() : res.json().errorMessage;
  };
  const wrong = (path, message) => ({ got: false, errors: [{ path, message }] });
  assert.deepEqual(await check('schema=person&value=person'), { got: true });
  assert.deepEqual(await check('schema=person&value=nobody'), wrong('', '`name` is missing'));
  assert.deepEqual(await check('schema=person&value=tags'), wrong('/tags', 'must have at least 1 element'));
  assert.deepEqual(await check('schema=person&value=list'), wrong('', 'must be an object, not an array'));
  assert.deepEqual(await check('schema=person&value=null'), wrong('', 'must be an object, not null'));
  assert.deepEqual(await check('schema=person&json={"name":1,"more":[{}]}'), wrong('/name', 'must be a string, not a number'));
  assert.deepEqual(await check('schema=person&json={"name":"x","more":[{}]}'), { got: true });
  for (const value of ['any', 'empty']) assert.deepEqual(await check(`schema=${value}&value=null`), { got: true });
  assert.deepEqual(await check('schema=none&value=person'), wrong('', 'is not allowed here'));
  assert.deepEqual(await check('schema=any&value=f'), wrong('/name', 'is a function, which JSON has not'));
  assert.deepEqual(await check('schema=any&value=nan'), wrong('/0', 'is a number that JSON has not'));
  assert.deepEqual(await check('schema=any&value=bytes'), wrong('', 'is a text that is not UTF-8'));
  assert.match(JSON.stringify(await check('schema=any&value=mixed')), /JSON has one or the other/);
  assert.match(await check('schema=wrong&value=person'), /schema.check: the schema's \/type must be one of .*not "persn"/);
  assert.match(await check('schema=odd&value=person'), /the schema's \/properties\/a is a function/);
  assert.match(await check('schema=circle&value=person'), /no check would end/);
  assert.match(await check('schema=missing&value=person'), /a schema is a table, true or false/);
  assert.equal((await h.call('often')).text, 'ok', 'schemas that are needed no more leave the memory');
});

test('a schema that is none is told with its line', async (t) => {
  const dir = folder(t, { 'functions.lua': '', 'scripts/a.lua': 'return function() end', 'scripts/b.lua': 'return {\n  query = {\n    minimum = "1" },\n  handler = function() end }' });
  const check = async (fields, name = 'a') => {
    write(dir, { 'functions.lua': `return { functions = { ${name} = { script = "scripts/${name}.lua", auth = "public",\n${fields} } } }` });
    return (await run(t, ['check'], { dir })).stderr;
  };
  assert.match(await check('input = {\n properties = {\n a = { type = "x" } } }'), /^functions\.lua:4: functions\.a\.input\.properties\.a\.type: must be one of/m);
  assert.match(await check('input = { allOf = { true,\n { pattern = "(" } } }'), /^functions\.lua:3: functions\.a\.input\.allOf\[2\]\.pattern: '\(' is no regular expression/m);
  assert.match(await check('input = 1'), /^functions\.lua:2: functions\.a\.input: must be a schema/m);
  assert.match(await check('query = { a = function() end }'), /functions\.a\.query\.a: is a function, which JSON has not/m);
  assert.match(await check('input = {}, stream_body = true'), /functions\.a\.input: is judged on the whole body/);
  assert.match(await check('input = {}, schedule = "@daily"'), /functions\.a\.input: is not for a scheduled function/);
  assert.match(await check('', 'b'), /scripts\/b\.lua:3: query\.minimum: must be a number/);
  assert.equal(await check('input = { items = { ["$ref"] = "#" } }, query = true'), '');
});

test('the OpenAPI document has both', async (t) => {
  const { stdout } = await run(t, ['routes', '--openapi'], { files });
  const doc = JSON.parse(stdout);
  const prefix = '/.netlify/functions';
  assert.equal(doc.paths[`${prefix}/add`].post.requestBody.content['application/json'].schema.$ref, '#/components/schemas/add_input');
  assert.equal(doc.components.schemas.add_input.properties.age.$ref, '#/components/schemas/add_input/$defs/age');
  assert.equal(doc.components.schemas.add_input.$defs.age.minimum, 0);
  assert.ok(doc.components.responses.invalid);
  const list = doc.paths[`${prefix}/list`].get;
  assert.deepEqual(list.parameters.map((p) => [p.in, p.name, p.required, p.schema.$ref.replace(/.*\//, '')]), [
    ['query', 'all', false, 'all'], ['query', 'id', false, 'id'], ['query', 'limit', true, 'limit'], ['query', 'text', false, 'text']]);
  assert.equal(list.responses[422].$ref, '#/components/responses/invalid');
  assert.equal(doc.paths[`${prefix}/check`].get.responses[422], undefined);
});
