// What README and docs/ show is what happens: each block of code is run, or says why not.
import assert from 'node:assert/strict';
import test from 'node:test';
import { ownFiles } from '../lib/demo.mjs';
import { BIN, folder } from '../lib/host.mjs';
import { settings } from '../../examples/auth0-react/settings.mjs';
import { blocks, faults, pages, play } from '../lib/pages.mjs';

const block = (fence, text) => `# A page\n\n\`\`\`${fence}\n${text}\n\`\`\`\n`;

test('what is wrong with a page is named, with file and line', async (t) => {
  const marks = [
    ['', 'a.md:3: ``` is neither run nor marked "not run: why"'],
    ['js', 'a.md:3: ```js is neither run nor marked "not run: why"'],
    ['toml other.toml', 'a.md:3: ```toml other.toml is neither run nor marked "not run: why"'],
    ['console', 'a.md:3: a console that does not begin with "$ "'], ['lua config', 'a.md:3: does not begin with "name = "'],
    ['sh not run:', 'a.md:3: "not run:" without a reason'],
    ['sh not run: `make` does', 'a.md:3: a ` behind the three of a fence, where Markdown takes none'],
    ['sh not run: root', undefined], ['toml netlify.toml', undefined], ['lua', undefined],
  ];
  for (const [fence, fault] of marks) assert.deepEqual(faults('a.md', block(fence, 'x')), fault ? [fault] : []);
  assert.deepEqual(faults('a.md', '| a | b |\n|---|---|\n| `x\\|y` | |\n'), []);
  assert.deepEqual(faults('a.md', '| a | |\n|---|---|\n| 1 | 2 |\n'), ['a.md:1: a column without a heading']);
  assert.deepEqual(faults('a.md', '| a | b |\n|---|---|\n| 1 |\n\n| 1 | 2 |\n| 3 | 4 |\n'), ['a.md:3: 1 cells under 2 headings', 'a.md:5: a row that belongs to no table']);
  assert.deepEqual(faults('a.md', '[a](README.md#x) [b](none.png) `[c](x)`'), ['a.md: a link to none.png, which is not there', 'a.md: a link to x, which is not there']);
  const played = [
    ['console', '$ echo one\none\n$ echo two\nthree'], ['sh', 'echo x\nfalse'], ['lua', 'local x ='], ['lua', 'error("no")'],
    ['lua not run: it waits', 'local x ='], ['lua functions', 'me = { script = "scripts/me.lua", pth = "/" },'],
    ['lua config', 'auth = env.JWT_ISSUER'], ['lua options', 'auth = "public"\nauth = "open"'], ['toml netlify.toml', '[build'],
    ['dotenv .env', 'A="'], ['text _redirects', '/a'], ['lua test', 'test("no", function(t) t.ok(false) end)'],
  ];
  for (const [fence, text] of played) await assert.rejects(play('a.md', folder(t), ownFiles(), BIN, block(fence, text)), /a[._]md[:_]3/, fence);
});

test('every block of every page is run or says why not, every column has a heading', () => {
  const found = pages().flatMap((page) => faults(page));
  assert.deepEqual(found, [], found.join('\n'));
});

for (const page of pages().filter((name) => blocks(name).some(({ skip }) => skip === undefined))) {
  test(`${page}: what it shows is what happens`, (t) => play(page, folder(t), ownFiles(), BIN));
}

test('the example for React reads the .env file that its page shows, and what dotenv reads', () => {
  const [shown] = blocks('examples/auth0-react/README.md').filter(({ kind }) => kind === 'dotenv');
  assert.equal(settings(shown.text).AUTH0_DOMAIN, 'YOUR-TENANT.auth0.com');
  assert.deepEqual(settings('# A=0\r\nexport B = "x # y"\r\nC=\'z\' # so\nD=a b # c\nE=\nF=1'), { B: 'x # y', C: 'z', D: 'a b', E: '', F: '1' });
});
