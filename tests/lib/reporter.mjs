// A short report for node:test: a line for each test file's tests, details only of what failed.
// The counts go to the file $COUNTS, as "PASSED FAILED SKIPPED".
import fs from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';

// What the runner says at its end; the counts are our own.
const TOTALS = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) \d/;

function fault(error) {
  const cause = error?.cause ?? error;
  const text = cause instanceof Error ? (cause.stack ?? cause.message) : inspect(cause);
  return text.split('\n').filter((l) => !l.includes('node:internal/')).map((l) => `      ${l}\n`).join('');
}

export default async function* report(source) {
  const total = { pass: 0, fail: 0, skip: 0 };
  const begun = new Set();
  let file;
  const path_ = []; // names of the tests that the current one is inside of
  for await (const { type, data } of source) {
    if (type === 'test:start') path_[data.nesting] = data.name;
    if (type === 'test:pass' || type === 'test:fail') {
      if (data.details?.type === 'suite') continue;
      const bad = type === 'test:fail' && data.todo === undefined;
      const kind = data.skip !== undefined ? 'skip' : bad ? 'fail' : 'pass';
      total[kind] += 1;
      if (data.file && data.file !== file && (data.nesting === 0 || bad)) {
        file = data.file;
        begun.add(file);
        yield `# ${process.env.FILES ? `${begun.size} of ${process.env.FILES}: ` : ''}${path.relative(process.cwd(), file)}\n`;
      }
      const full = path_.slice(0, data.nesting).concat(data.name).join(' > ');
      if (bad) {
        yield `not ok ${full} (${Math.round(data.details.duration_ms)} ms)\n${fault(data.details.error)}`;
      } else if (data.nesting === 0) {
        const why = kind === 'skip' ? ` # skip ${typeof data.skip === 'string' ? data.skip : ''}` : '';
        yield `ok ${full} (${Math.round(data.details.duration_ms)} ms)${why}\n`;
      }
    }
    if (type === 'test:diagnostic' && !TOTALS.test(data.message)) yield `   ${data.message}\n`;
    if (type === 'test:stderr' || type === 'test:stdout') yield `   | ${data.message.trimEnd()}\n`;
  }
  if (process.env.COUNTS) fs.writeFileSync(process.env.COUNTS, `${total.pass} ${total.fail} ${total.skip}\n`);
}
