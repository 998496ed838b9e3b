// webhook_receiver.js RECORD [CERTIFICATES] - receives webhooks for the tests, and records what it was sent.
//
// Listens on free ports of 127.0.0.1 and prints them as one line of JSON: http, and, with a folder of certificates, https
// (good), wrong_host and expired, which speak HTTP/2 as well.  The path says how it answers:
//   /ok /204 /301 /400 /410 /429 /500 and so on   that status (/429?after=N with Retry-After)
//   /fail?n=N   500 to the first N attempts of each webhook, then 200
//   /slow?ms=N   200 after so many milliseconds (/slow?ms=N&n=N: 500 to the first N attempts)
//   /overtaken   the first attempt gets 500 when the second has come, which gets 200 a second later
//   /hang /reset /garbage /big /utf8   no answer, a broken connection, no HTTP, a megabyte, UTF-8 with bytes that are none
// RECORD gets a line of JSON for each request, before it is answered.
'use strict';
const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const path = require('path');

const [record, certificates] = process.argv.slice(2);
const out = fs.openSync(record, 'a');
const attempts = new Map();
const sockets = new Map();

function receive(request, response) {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('error', () => {});
  request.on('end', () => {
    const url = new URL(request.url, 'http://localhost');
    const id = request.headers['webhook-id'];
    const attempt = (attempts.get(url.pathname + id) || 0) + 1;
    const socket = request.httpVersion === '2.0' ? request.stream.session.socket : request.socket;
    if (!sockets.has(socket.remotePort)) sockets.set(socket.remotePort, sockets.size);
    attempts.set(url.pathname + id, attempt);
    fs.writeSync(out, JSON.stringify({ path: url.pathname, method: request.method, id, attempt, headers: request.headers,
      body: Buffer.concat(chunks).toString(), at: Date.now(), version: request.httpVersion, connection: socket.remotePort }) + '\n');
    answer(url, attempt, request, response);
  });
}

function answer(url, attempt, request, response) {
  const name = url.pathname.slice(1);
  switch (name) {
    case 'hang': return;
    case 'slow': return void setTimeout(() => send(response, fails(url, attempt), {}, 'slow'), Number(url.searchParams.get('ms')));
    case 'overtaken': return overtake(attempt, response);
    case 'reset': return void request.socket.destroy();
    case 'garbage': return void request.socket.end('this is no HTTP\r\n\r\n');
    case 'big': return send(response, 200, {}, 'x'.repeat(1024 * 1024));
    case 'utf8': return send(response, 200, {}, Buffer.from([0x61, 0xff, 0x00, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0x62]));
    case 'fail': return send(response, fails(url, attempt), {}, `attempt ${attempt}`);
    case '301': return send(response, 301, { location: '/ok' }, '');
    case '429': return send(response, 429, { 'retry-after': url.searchParams.get('after') }, 'slow down');
    default: return send(response, /^\d+$/.test(name) ? Number(name) : 200, {}, name === '204' ? '' : `answer ${name}`);
  }
}

function fails(url, attempt) {
  return attempt <= Number(url.searchParams.get('n')) ? 500 : 200;
}

let overtaken;

function overtake(attempt, response) {
  if (attempt === 1) {
    overtaken = response;
    return;
  }
  if (attempt === 2) send(overtaken, 500, {}, 'first');
  setTimeout(() => send(response, 200, {}, `attempt ${attempt}`), 1000);
}

function send(response, status, headers, body) {
  response.writeHead(status, headers);
  response.end(body);
}

function certificate(name) {
  return { key: fs.readFileSync(path.join(certificates, `${name}.key`)), cert: fs.readFileSync(path.join(certificates, `${name}.pem`)), allowHTTP1: true };
}

const servers = { http: http.createServer(receive) };
if (certificates) {
  for (const name of ['https', 'wrong_host', 'expired']) servers[name] = http2.createSecureServer(certificate(name), receive);
}
Promise.all(Object.entries(servers).map(([name, server]) => new Promise((resolve) => {
  server.on('clientError', (error, socket) => socket.destroy());
  server.listen(Number(process.env[`PORT_${name}`] || 0), '127.0.0.1', () => resolve([name, server.address().port]));
}))).then((ports) => console.log(JSON.stringify(Object.fromEntries(ports))));
