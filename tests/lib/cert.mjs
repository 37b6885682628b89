// Self-signed certificates for tests, made with the openssl program.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

// Writes DIR/NAME.pem and DIR/NAME.key.pem; returns { cert, key, ca } (files and the PEM text). `days` below 0: it has expired.
export function certificate(dir, name = 'tls', { days = 2, ec = true, subject = '/CN=localhost', names = 'DNS:localhost,IP:127.0.0.1' } = {}) {
  const cert = path.join(dir, `${name}.pem`);
  const key = path.join(dir, `${name}.key.pem`);
  const kind = ec ? ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'] : ['rsa:2048'];
  execFileSync('openssl', ['req', '-x509', '-newkey', ...kind, '-nodes', '-keyout', key, '-out', cert, '-days', String(Math.max(days, 1)),
    '-subj', subject, '-addext', `subjectAltName=${names}`], { stdio: 'ignore' });
  if (days < 0) {
    const again = ['x509', '-in', cert, '-signkey', key, '-days', String(days), '-copy_extensions', 'copyall', '-out', cert];
    execFileSync('openssl', again, { stdio: 'ignore' });
  }
  return { cert, key, ca: fs.readFileSync(cert, 'utf8') };
}

// The options of `serve` and `dev` for them.
export const tlsArgs = (...pairs) => pairs.flatMap(({ cert, key }) => ['--tls-cert', cert, '--tls-key', key]);
