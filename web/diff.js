// What differs between two texts, line by line.

const MOST = 1500; // lines of a side: beyond that all of it counts as another text

// The length of the longest common part from each pair of lines on.
function lengths(a, b) {
  const rows = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let k = b.length - 1; k >= 0; k -= 1) {
      rows[i][k] = a[i] === b[k] ? rows[i + 1][k + 1] + 1 : Math.max(rows[i + 1][k], rows[i][k + 1]);
    }
  }
  return rows;
}

const all = (kind, lines) => lines.map((text) => ({ kind, text }));

// [{ kind: 'same' | 'was' | 'is', text }]
export function diff(was, is) {
  const [a, b] = [was.split('\n'), is.split('\n')];
  if (was === is) return all('same', a);
  if (a.length > MOST || b.length > MOST) return [...all('was', a), ...all('is', b)];
  const rows = lengths(a, b);
  const out = [];
  let [i, k] = [0, 0];
  while (i < a.length || k < b.length) {
    if (i < a.length && k < b.length && a[i] === b[k]) {
      out.push({ kind: 'same', text: a[i] });
      i += 1;
      k += 1;
    } else if (k === b.length || (i < a.length && rows[i + 1][k] >= rows[i][k + 1])) {
      out.push({ kind: 'was', text: a[i] });
      i += 1;
    } else {
      out.push({ kind: 'is', text: b[k] });
      k += 1;
    }
  }
  return out;
}
