// china.js - what the stand-ins of Alipay and WeChat Pay have in common: a server, what a test tells it, keys.
//
// A stand-in prints one line of JSON when it listens: its url, and settings and credentials of a merchant of it.  A test
// tells it things by POST /control/NAME with JSON, and is answered with JSON.  fault {on, does} lets the next call of a
// method do something else than its work; many may be told at once, in their order.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');
const { spawnSync } = require('child_process');

function makeKeys() {
  return crypto.generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
}

// As consoles show a key: its base64 on one line.
function bare(pem) {
  return pem.replace(/-----[^-]+-----|\s/g, '');
}

function openssl(...args) {
  const done = spawnSync('openssl', args);
  if (done.status !== 0) throw new Error(`openssl ${args.join(' ')}: ${done.stderr}`);
}

// A certificate that signs itself, and its key; name is its subject and issuer.
function makeCertificate(name) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'certificate-'));
  const [key, certificate] = [path.join(dir, 'key'), path.join(dir, 'certificate')];
  openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-utf8', '-subj', name, '-days', '30', '-keyout', key, '-out', certificate);
  const made = { privateKey: fs.readFileSync(key, 'utf8'), certificate: fs.readFileSync(certificate, 'utf8') };
  fs.rmSync(dir, { recursive: true });
  made.serial = new crypto.X509Certificate(made.certificate).serialNumber;
  return made;
}

class Faults {
  constructor() {
    this.planned = [];
  }

  // The next thing that calls of this method are to do, or undefined.
  next(method) {
    const at = this.planned.findIndex(({ on }) => on === method || on === '*');
    return at < 0 ? undefined : this.planned.splice(at, 1)[0].does;
  }

  control() {
    return { fault: ({ on, does }) => this.planned.push(...[].concat(does).map((one) => ({ on, does: one }))) };
  }
}

// answer(request, body) returns {status, headers, body}, 'hang' or 'cut', or a promise of it.
function serve(control, answer, ready) {
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', async () => {
      const body = Buffer.concat(chunks).toString();
      try {
        const name = /^\/control\/(\w+)$/.exec(request.url);
        const answered = name
          ? { status: 200, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify((await control[name[1]](JSON.parse(body || '{}'))) ?? null) }
          : await answer(request, body);
        if (answered === 'cut') request.socket.destroy();
        else if (answered !== 'hang') response.writeHead(answered.status, answered.headers).end(answered.body);
      } catch (error) {
        response.writeHead(500, { 'Content-Type': 'text/plain' }).end(String(error.stack));
      }
    });
  });
  server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}`, ...ready })));
}

module.exports = { Faults, bare, makeCertificate, makeKeys, serve };
