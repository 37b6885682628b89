// The journal of a folder, as it lies on disk.
import fs from 'node:fs';
import path from 'node:path';
import { eventually } from './host.mjs';

export const journalFolder = (dir) => path.join(dir, '.luafn/journal');

export function journalFiles(dir) {
  const folder = journalFolder(dir);
  return fs.existsSync(folder) ? fs.readdirSync(folder).filter((name) => name.endsWith('.jsonl')).sort().map((name) => path.join(folder, name)) : [];
}

// Whole lines: one that is being written may be seen in part.
export const journalLines = (dir) => journalFiles(dir).flatMap((file) => fs.readFileSync(file, 'utf8').split('\n').slice(0, -1).filter(Boolean));

// Waits for so many records: one is written when its exchange goes, a moment after the answer.
export async function records(dir, count) {
  const lines = await eventually(() => { const all = journalLines(dir); return all.length >= count && all; }, 10, `${count} records`);
  return lines.map((line) => JSON.parse(line)).sort((a, b) => a.time - b.time);
}

// Calls with their answers: [name, args, answer].
export function callsOf(record) {
  const ends = new Map(record.calls.filter((entry) => !entry.call).map((entry) => [entry.n, entry.answer]));
  return record.calls.filter((entry) => entry.call).map((entry) => [entry.call, entry.args, ends.get(entry.n)]);
}
