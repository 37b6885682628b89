// What deploy/ has for Kubernetes, Knative and Nomad. The first two are held against the published schemas of their
// objects, as values (formats, what must be there) and as literals of their types, where no field may be that a schema
// does not know. Nomad publishes none: its job is read as HCL, and its parts must name each other. A copy of each with
// a fault must be refused.
//
//   node run.mjs MODULES     MODULES: the folder that package.json was installed in
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const modules = path.resolve(process.argv[2]);
const require = createRequire(path.join(modules, 'package.json'));
const YAML = require('yaml');
const read = (name) => fs.readFileSync(path.resolve(import.meta.dirname, '../../deploy', name), 'utf8');
const typed = path.join(modules, 'typed');
fs.rmSync(typed, { recursive: true, force: true });
fs.mkdirSync(typed);
// From there `import` finds what is installed beside it.
fs.writeFileSync(path.join(typed, 'load.mjs'), 'export const load = (name) => import(name);\n');
const { load } = await import(pathToFileURL(path.join(typed, 'load.mjs')));

const rows = [];
for (const [file, library] of [['kubernetes.yaml', 'kubernetes-models'], ['knative.yaml', '@kubernetes-models/knative']]) {
  for (const document of YAML.parseAllDocuments(read(file))) {
    assert.deepEqual([...document.errors, ...document.warnings], [], file);
    const object = document.toJS();
    const { apiVersion, kind } = object;
    const { [kind]: Model } = await load(`${library}/${apiVersion}`);
    new Model(object).validate();
    assert.throws(() => new Model({ ...object, metadata: { ...object.metadata, labels: 'none' } }).validate(), /labels must be object/, kind);
    const misspelt = object.spec ? { ...object, spec: { ...object.spec, replicsa: 2 } } : { ...object, date: {} };
    for (const [name, value] of [['good', object], ['misspelt', misspelt]]) {
      const text = `import type { I${kind} } from '${library}/${apiVersion}';\nexport const object: I${kind} = ${JSON.stringify(value, null, 1)};\n`;
      fs.writeFileSync(path.join(typed, `${kind}-${rows.length}-${name}.ts`), text);
    }
    rows.push(`${file}: ${apiVersion} ${kind} ${object.metadata.name}`);
  }
}
const files = fs.readdirSync(typed).filter((name) => name.endsWith('.ts'));
const tsc = spawnSync(process.execPath, [require.resolve('typescript/bin/tsc'), '--noEmit', '--strict', '--skipLibCheck',
  '--module', 'nodenext', '--target', 'es2022', ...files], { cwd: typed, encoding: 'utf8' });
const refused = new Set([...tsc.stdout.matchAll(/^([\w-]+\.ts)\(.*/gm)].map((m) => m[1]));
assert.deepEqual([...refused].filter((name) => name.includes('good')), [], tsc.stdout);
assert.equal(refused.size, rows.length, tsc.stdout + tsc.stderr);

const hcl = require('hcl2-parser');
const text = read('luafn.nomad.hcl');
assert.throws(() => { const [, error] = hcl.parseToObject(text.slice(0, -3)); if (error) throw new Error(error); });
const [{ job }, error] = hcl.parseToObject(text);
assert.equal(error, null);
const [{ type, group: { luafn: [group] } }] = job.luafn;
const ports = Object.keys(group.network[0].port);
const [{ port, check: [check] }] = group.service;
const { driver, config: [config], kill_timeout: patience } = group.task.luafn[0];
assert.deepEqual([type, driver, config.ports.toSorted()], ['service', 'docker', ports.toSorted()]);
for (const name of [port, check.port]) assert.ok(ports.includes(name), name);
for (const [name, option] of [['http', '--listen'], ['admin', '--admin']]) {
  const said = config.args.find((word) => word.startsWith(`${option}=`));
  assert.equal(Number(said.split(':')[1]), group.network[0].port[name][0].to, name);
}
const drain = Number(config.args.find((word) => word.startsWith('--drain=')).match(/\d+/)[0]);
assert.ok(parseInt(patience, 10) > drain + 2, 'it is killed after it has drained');
rows.push(`luafn.nomad.hcl: job ${Object.keys(job)}`);
for (const row of rows) console.log(`ok ${row}`);
