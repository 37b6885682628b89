// Reads Prometheus' text format as strictly as its documentation has it: { series, families, faults }.
const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const SAMPLE = new RegExp(`^(${NAME})(?:\\{((?:[a-zA-Z_]\\w*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*",?)*)\\})? (-?(?:\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?)|NaN|[+-]Inf)$`);
const PARTS = { histogram: ['_bucket', '_sum', '_count'], summary: ['_sum', '_count', ''] };

function familyOf(name, families) {
  for (const [family, { type }] of families) {
    if ((PARTS[type] ?? ['']).some((part) => name === family + part)) return family;
  }
  return undefined;
}

function checkHistogram(family, series, faults) {
  const rows = new Map();
  for (const [key, value] of series) {
    const m = new RegExp(`^${family}_bucket\\{(.*?),?le="([^"]+)"\\}$`).exec(key);
    if (m) (rows.get(m[1]) ?? rows.set(m[1], []).get(m[1])).push([m[2] === '+Inf' ? Infinity : Number(m[2]), value]);
  }
  for (const [labels, buckets] of rows) {
    const suffix = labels ? `{${labels}}` : '';
    for (let i = 1; i < buckets.length; i++) {
      if (buckets[i][0] <= buckets[i - 1][0] || buckets[i][1] < buckets[i - 1][1]) faults.push(`${family}${suffix}: buckets do not ascend`);
    }
    if (buckets.at(-1)[0] !== Infinity || buckets.at(-1)[1] !== series.get(`${family}_count${suffix}`)) faults.push(`${family}${suffix}: +Inf is not the count`);
    if (!series.has(`${family}_sum${suffix}`)) faults.push(`${family}${suffix}: no sum`);
  }
}

export function parseMetrics(text) {
  const series = new Map();
  const families = new Map();
  const faults = [];
  let current;
  if (!text.endsWith('\n')) faults.push('no newline at the end');
  for (const line of text.split('\n').slice(0, -1)) {
    const help = new RegExp(`^# HELP (${NAME}) (.+)$`).exec(line);
    const type = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary|untyped)$`).exec(line);
    if (help) {
      if (families.has(help[1])) faults.push(`${help[1]}: twice`);
      families.set(current = help[1], { help: help[2] });
    } else if (type) {
      if (type[1] !== current || families.get(current).type) faults.push(`TYPE of ${type[1]} does not follow its HELP`);
      else families.get(current).type = type[2];
      if (type[2] === 'counter' && !type[1].endsWith('_total')) faults.push(`${type[1]}: a counter ends in _total`);
    } else {
      const sample = SAMPLE.exec(line);
      if (!sample) { faults.push(`not a sample: ${line}`); continue; }
      const key = sample[1] + (sample[2] ? `{${sample[2]}}` : '');
      if (series.has(key)) faults.push(`${key}: twice`);
      if (familyOf(sample[1], families) !== current) faults.push(`${key} stands under ${current}`);
      series.set(key, Number(sample[3].replace('Inf', 'Infinity')));
    }
  }
  for (const [family, { type }] of families) if (type === 'histogram') checkHistogram(family, series, faults);
  return { series, families, faults };
}
