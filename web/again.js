// The tab that runs a recorded request again: with the recorded outside, or for real, changed.
import { post } from './api.js';
import { diffView, pretty, soft, textOf } from './record.js';
import { fromRecord, sendForm } from './send.js';
import { el, withAttributes } from './view.js';

const answerText = (status, body) => `${status}\n${pretty(body)}`;

async function runAgain(record) {
  const answer = await post('replay', { id: record.id });
  if (answer.fault) return [el('p', { className: 'message', textContent: answer.fault })];
  const parts = [el('p', {}, el('strong', { textContent: answer.same ? 'The same' : 'Not the same' }), ` after ${answer.calls} calls.`)];
  if (answer.another_way) parts.push(el('p', { className: 'message', textContent: `It goes another way: ${answer.another_way}` }));
  else if (answer.same) parts.push(soft('Both answers are the same.'));
  else parts.push(diffView(answerText(record.status, record.answer?.body ?? ''), answerText(answer.status, answer.body ?? '')));
  for (const { what, was, is } of answer.differences ?? []) if (what !== 'body' && what !== 'status') parts.push(el('h3', { textContent: what }), diffView(was, is));
  return parts;
}

function pane(record, route) {
  const out = withAttributes(el('div', { className: 'pane' }), { 'aria-live': 'polite' });
  const button = el('button', { type: 'button', className: 'primary', textContent: 'Run it again', disabled: record.start_us === undefined });
  button.addEventListener('click', async () => {
    button.disabled = true;
    out.replaceChildren(soft('It runs …'));
    try {
      out.replaceChildren(...await runAgain(record));
    } catch ({ message }) {
      out.replaceChildren(el('p', { className: 'message', textContent: message }));
    }
    button.disabled = false;
  });
  const about = record.start_us === undefined ? 'No handler ran: there is nothing to run again.' : 'On the scripts as they are now, with the recorded answers of the outside: nothing is fetched or stored.';
  const from = fromRecord(record);
  const missing = [from.cut && 'its body was not kept whole', record.request?.headers?.some(([, value]) => textOf(value).includes('[redacted]')) && 'headers with secrets were not kept'].filter(Boolean);
  return [
    soft(about), el('p', {}, button), out,
    el('h3', { textContent: 'Send it again' }),
    soft(`To the host as it is now, and for real: what it fetches and stores, it fetches and stores. Change what you like.${missing.length > 0 ? ` Of the recorded request ${missing.join(', and ')}.` : ''}`),
    ...sendForm(from, () => route, 'Send it'),
  ];
}

export const again = ['again', 'Replay', pane];
