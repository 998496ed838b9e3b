// webhook_verify.js MODULES - verify webhooks, as their receivers do; reads lines of JSON {secrets, headers, body}, and
// prints one line each: for each secret 1 if the request verifies with it, else 0.
//
// whsec_: by the official library standardwebhooks, found in MODULES.  whpk_: by the rule of Standard Webhooks 1.0 and
// node's own Ed25519, since the library knows no v1a.
'use strict';
const crypto = require('crypto');
const path = require('path');
const readline = require('readline');
const { Webhook } = require(path.join(process.argv[2], 'standardwebhooks'));

function verify(secret, headers, body) {
  if (secret.startsWith('whpk_')) return verifyAsymmetric(secret, headers, body);
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    if (error.name !== 'WebhookVerificationError') throw error;
    return false;
  }
}

function verifyAsymmetric(secret, headers, body) {
  const raw = Buffer.from(secret.slice('whpk_'.length), 'base64');
  const key = crypto.createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') }, format: 'jwk' });
  const content = Buffer.from(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`);
  return headers['webhook-signature'].split(' ').some((signature) =>
    signature.startsWith('v1a,') && crypto.verify(null, content, key, Buffer.from(signature.slice(4), 'base64')));
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { secrets, headers, body } = JSON.parse(line);
  console.log(secrets.map((secret) => Number(verify(secret, headers, body))).join(' '));
});
