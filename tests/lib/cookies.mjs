// A browser's cookie jar, as far as one origin needs it, and a person who fills in forms.
import assert from 'node:assert/strict';
import http from 'node:http';

export class Browser {
  cookies = new Map();

  async go(url, options = {}) {
    const cookie = [...this.cookies].map(([k, v]) => `${k}=${v}`).join('; ');
    const res = await fetch(url, { redirect: 'manual', ...options, headers: { ...options.headers, cookie } });
    for (const line of res.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value === '') this.cookies.delete(name); else this.cookies.set(name, value);
    }
    return res;
  }

  // Follows redirects until a page or the client's callback.
  async follow(url, callback, options) {
    for (let i = 0; i < 10; i++) {
      const res = await this.go(url, options);
      const location = res.headers.get('location');
      if (!location) return { url, html: await res.text() };
      url = new URL(location, url).href;
      options = {};
      if (url.startsWith(callback)) return { url };
    }
    throw new Error('redirected without end');
  }

  // As `login`, through the forms that oidc-provider has for development, to the callback and what it is told.
  async signIn(url, callback, login) {
    let at = await this.follow(url, callback);
    while (at.html) {
      const action = /<form[^>]*action="([^"]+)"/.exec(at.html)?.[1];
      assert.ok(action, `a page without a form:\n${at.html}`);
      const prompt = /name="prompt" value="(\w+)"/.exec(at.html)[1];
      at = await this.follow(new URL(action, at.url).href, callback, {
        method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ prompt, login, password: 'any' }).toString(),
      });
    }
    return new URL(at.url).searchParams;
  }
}

// The same, as a browser goes to pages: fetch says of itself that it is no navigation.
export class Visitor extends Browser {
  go(url, { method = 'GET', headers = {}, body } = {}) {
    const cookie = [...this.cookies].map(([k, v]) => `${k}=${v}`).join('; ');
    return new Promise((resolve, reject) => {
      const req = http.request(url, { method, agent: false, headers: { ...headers, cookie } }, (res) => {
        let text = '';
        for (const line of res.headers['set-cookie'] ?? []) {
          const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
          if (value === '') this.cookies.delete(name); else this.cookies.set(name, value);
        }
        res.on('data', (piece) => { text += piece; });
        res.on('end', () => resolve({ status: res.statusCode, headers: { get: (name) => res.headers[name] ?? null }, text: () => text, json: () => JSON.parse(text) }));
      });
      req.on('error', reject);
      req.end(body);
    });
  }
}
