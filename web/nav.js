// The bar of all pages of dev: one list of what there is.
import { el, withAttributes } from './view.js';

const HOME = '/_luafn/dev/';
const PARTS = [
  ['#/requests', 'Requests'], ['#/functions', 'Functions'], ['#/try', 'Try it'], ['#/tokens', 'Tokens'], ['#/kv', 'KV'],
  ['#/tests', 'Tests'], ['#/audit', 'Audit'], ['issuer.html', 'Issuer'], ['try.html', 'Demo'],
];

// Fills the navigation; `here`: the part or page that is open.
export function showNav(nav, here) {
  nav.replaceChildren(...PARTS.map(([target, name]) => {
    const link = el('a', { href: HOME + target, textContent: name });
    return target === here ? withAttributes(link, { 'aria-current': 'page' }) : link;
  }));
}

// A page that has no parts says itself which it is.
const nav = document.getElementById('nav');
if (nav?.dataset.here !== undefined) showNav(nav, nav.dataset.here);
