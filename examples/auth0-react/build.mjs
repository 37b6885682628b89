// Bundles the page into public/. Settings come from the environment or from .env; without any, the
// page signs in at the issuer of `luafn dev` on its own origin.
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { build } from 'esbuild';
import { settings } from './settings.mjs';

const names = ['AUTH0_DOMAIN', 'AUTH0_CLIENT_ID', 'AUTH0_AUDIENCE'];
const out = process.env.OUT ?? 'public';

const env = { ...existsSync('.env') ? settings(readFileSync('.env', 'utf8')) : {}, ...process.env };

await mkdir(out, { recursive: true });
await cp('src/index.html', `${out}/index.html`);
await cp('src/style.css', `${out}/style.css`);
await build({
  entryPoints: ['src/main.jsx'],
  outfile: `${out}/main.js`,
  bundle: true,
  minify: true,
  format: 'esm',
  jsx: 'automatic',
  define: {
    'process.env.NODE_ENV': '"production"',
    ...Object.fromEntries(names.map((name) => [`process.env.${name}`, JSON.stringify(env[name] ?? '')])),
  },
});
