// What a test has opened is closed after it, last first: the host before the folder it runs in.
const stacks = new WeakMap();

export function later(t, fn) {
  if (!stacks.has(t)) {
    const stack = [];
    stacks.set(t, stack);
    t.after(async () => {
      const faults = [];
      for (const close of stack.reverse()) await Promise.resolve().then(close).catch((e) => faults.push(e));
      if (faults.length > 0) throw faults[0];
    });
  }
  stacks.get(t).push(fn);
}
