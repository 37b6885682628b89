// fetch, with an error that says what to do when nobody answers.
export async function ask(url, options) {
  try {
    return await fetch(url, options);
  } catch {
    throw new Error(`${new URL(url, location.href).origin} does not answer. Is luafn dev still running?`);
  }
}
