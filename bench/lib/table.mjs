// Medians with their spread, as text.
export const sorted = (list) => [...list].sort((a, b) => a - b);
export const median = (list) => { const s = sorted(list); return (s[(s.length - 1) >> 1] + s[s.length >> 1]) / 2; };
export const show = (v) => (v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2));

// "median (least-most)"
export function cell(list) {
  const s = sorted(list);
  return s.length > 1 ? `${show(median(s))} (${show(s[0])}-${show(s.at(-1))})` : show(s[0]);
}

// rows: { label, list of objects with the same keys }
export function table(rows) {
  const columns = Object.keys(rows.find((r) => r.list.length > 0)?.list[0] ?? {});
  const lines = rows.filter((r) => r.list.length > 0).map((r) => `| ${r.label} | ${columns.map((c) => cell(r.list.map((x) => x[c]))).join(' | ')} |`);
  return `| host | ${columns.join(' | ')} |\n|---|${columns.map(() => '---:|').join('')}\n${lines.join('\n')}`;
}
