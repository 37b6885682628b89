// docs/bench.svg: processor time a request, a panel for each case, a bar for each server.
import { median, show } from './table.mjs';

const PANELS = ['hello', 'me', 'many', 'shows'];
const WIDTH = 880;
const NAMES = 300; // where bars begin
const BARS = WIDTH - NAMES - 90;
const ROW = 22;
const HEAD = 46;

const escape = (text) => text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);

function panel({ title, rows }, top) {
  const bars = rows.map((r) => ({ name: r.name, label: r.label, us: median(r.list.map((x) => x['CPU us/req'])) })).sort((a, b) => a.us - b.us);
  const most = bars.at(-1).us;
  const lines = bars.map(({ name, label, us }, i) => {
    const y = top + HEAD + i * ROW;
    const width = Math.max(2, (us / most) * BARS).toFixed(1);
    const kind = name === 'luafn' ? ' class="own"' : name === 'floor' ? ' class="floor"' : '';
    return `<g${kind}><text x="${NAMES - 10}" y="${y + 13}" text-anchor="end">${escape(label)}</text>`
      + `<rect x="${NAMES}" y="${y + 2}" width="${width}" height="${ROW - 7}" rx="2"/>`
      + `<text x="${(NAMES + Number(width) + 6).toFixed(1)}" y="${y + 13}">${show(us)}</text></g>`;
  });
  return {
    text: `<text class="title" x="16" y="${top + 30}">${escape(title)}</text>\n${lines.join('\n')}`,
    height: HEAD + bars.length * ROW,
  };
}

export function draw(results) {
  let top = 34;
  const parts = [];
  for (const id of PANELS.filter((p) => results.cases[p])) {
    const { text, height } = panel(results.cases[id], top);
    parts.push(text);
    top += height;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top + 16}" font-family="system-ui, sans-serif" font-size="13" role="img">
<title>Processor time a request, luafn and its peers</title>
<style>
  text { fill: #24292f } rect { fill: #9aa5b1 } .title { font-weight: 600; font-size: 15px }
  .own rect { fill: #2563eb } .own text { font-weight: 600 } .floor rect { fill: #d0d7de }
  .paper { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } rect { fill: #6e7781 } .own rect { fill: #58a6ff } .floor rect { fill: #484f58 }
    .paper { fill: #0d1117 }
  }
</style>
<rect class="paper" width="100%" height="100%"/>
<text x="16" y="26">Processor time of one worker a request, microseconds; less is better. Medians.</text>
${parts.join('\n')}
</svg>
`;
}
