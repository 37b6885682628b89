// The page of a fault, or of an address that leads nowhere: what the host said, and what the journal has of it.
import { again } from './again.js';
import { ask } from './ask.js';
import { showRecord } from './record.js';
import { byId, el, facts } from './view.js';

const id = document.querySelector('meta[name="luafn-request"]').content;
const TRIES = 50; // the record is written a moment after the answer

async function record() {
  for (let i = 0; i < TRIES; i += 1) {
    const res = await ask(`/_luafn/journal/${encodeURIComponent(id)}`);
    if (res.ok) return res.json();
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  throw new Error('The journal has no record of it.');
}

const routes = await (await ask('/_luafn/routes')).json();
if (document.body.dataset.status === '404') {
  const rows = routes.filter((route) => route.function).map((route) => [`${route.method} ${route.path}`, route.function, route.auth]);
  byId('routes').replaceChildren(el('h2', { textContent: 'What there is' }), el('dl', { className: 'facts' }, ...facts(rows)));
}
try {
  const found = await record();
  showRecord(byId('one'), found, routes.find((route) => route.function === found.function), { more: [again] });
} catch ({ message }) {
  byId('one').replaceChildren(el('p', { className: 'soft', textContent: message }));
}
