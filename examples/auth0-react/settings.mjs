// The settings of a .env file: NAME=value, 'value' or "value", with `export` and comments or without. Node
// reads such files itself from 20.12 on, Debian's is 18.
export function settings(text) {
  const line = /^\s*(?:export\s+)?(\w+)[ \t]*=[ \t]*(?:'([^']*)'|"([^"]*)"|([^#\n]*))/gm;
  return Object.fromEntries([...text.replaceAll('\r\n', '\n').matchAll(line)].map(([, name, single, double, plain]) => [name, single ?? double ?? plain.trim()]));
}
