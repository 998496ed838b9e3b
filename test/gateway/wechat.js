// wechat.js MODULES [public_key] - a stand-in of WeChat Pay's API v3, by its public reference.
//
// Requests are verified, and answers and notifications are signed and sealed, by the library wechatpay-axios-plugin, found in
// MODULES.  With public_key WeChat Pay signs with a key whose id the merchant's requests must name; else with a
// certificate, which is published at /v3/certificates.
//
// control/pay {out_trade_no}      a payer pays; returns the notification.  client: what the payer's WeChat was given, verified
// control/notify {event_type, resource, ...}   any notification; age, serial, signature, api_key and body may be told
// control/refund {out_refund_no, status}, control/rotate, control/orders, control/calls, control/fault {on, does}
//
// Faults: hang; cut (the connection, after the work), drop (before); 500; unsigned; forged (by another key); other (of another
// order); less (another amount); or STATUS CODE of an error, as "403 NOT_ENOUGH".
'use strict';
const path = require('path');
const { Rsa, Formatter, Aes } = require(path.join(process.argv[2], 'wechatpay-axios-plugin'));
const { Faults, makeCertificate, makeKeys, serve } = require('./china.js');

const MCHID = '1900000001';
const APPID = 'wx0000000000000001';
const SERIAL = '1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C';
const API_KEY = 'an API key of thirty-two letters';
const KEY_ID = 'PUB_KEY_ID_0119000000012026010100000000000001';
const OPENID = 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o';

const withKey = process.argv[3] === 'public_key';
const merchant = makeKeys();
const forger = makeKeys();
let platform = withKey ? { ...makeKeys(), serial: KEY_ID } : makeCertificate('/CN=Tenpay.com');
const published = withKey ? [] : [platform];
const faults = new Faults();
const orders = new Map();
const refunds = new Map();
const calls = [];
let numbers = 0;

const number = (prefix) => `${prefix}${String(++numbers).padStart(10, '0')}`;
const seconds = () => Math.floor(Date.now() / 1000);
const china = (ms = Date.now()) => `${new Date(ms + 8 * 3600000).toISOString().slice(0, 19)}+08:00`;
const fail = (status, code) => ({ status, said: { code, message: `refused: ${code}` } });
const done = (said) => ({ status: 200, said });

function seal(plaintext, associated_data, key = API_KEY) {
  const nonce = Formatter.nonce(12);
  return { algorithm: 'AEAD_AES_256_GCM', associated_data, nonce, ciphertext: Aes.AesGcm.encrypt(plaintext, key, nonce, associated_data) };
}

function transaction(order) {
  return {
    appid: APPID, mchid: MCHID, out_trade_no: order.out_trade_no, trade_state: order.state, trade_state_desc: order.state,
    amount: { total: order.amount.total, currency: 'CNY', ...(order.paid_at && { payer_total: order.amount.total, payer_currency: 'CNY' }) },
    ...(order.paid_at && { transaction_id: order.transaction_id, trade_type: order.trade_type, bank_type: 'OTHERS', success_time: china(order.paid_at), payer: { openid: OPENID } }),
  };
}

function refunded(refund) {
  return {
    refund_id: refund.refund_id, out_refund_no: refund.out_refund_no, transaction_id: refund.order.transaction_id, out_trade_no: refund.order.out_trade_no,
    channel: 'ORIGINAL', user_received_account: 'a card', create_time: china(refund.at), status: refund.status,
    ...(refund.status === 'SUCCESS' && { success_time: china(refund.at) }),
    amount: { total: refund.order.amount.total, refund: refund.amount.refund, payer_total: refund.order.amount.total, payer_refund: refund.amount.refund, currency: 'CNY' },
  };
}

function place(content, trade_type) {
  const { out_trade_no, amount } = content;
  if (content.appid !== APPID || content.mchid !== MCHID) return fail(400, 'APPID_MCHID_NOT_MATCH');
  if (!/^[\w|*-]{6,32}$/.test(out_trade_no) || !Number.isInteger(amount.total) || amount.total < 1 || amount.currency !== 'CNY' || !content.description ||
    Buffer.byteLength(content.description) > 127 || !content.notify_url || (content.time_expire && Number.isNaN(Date.parse(content.time_expire))) ||
    (trade_type === 'JSAPI' && !content.payer?.openid)) return fail(400, 'PARAM_ERROR');
  const old = orders.get(out_trade_no);
  if (old && (old.amount.total !== amount.total || old.description !== content.description)) return fail(400, 'INVALID_REQUEST');
  if (old?.paid_at) return fail(400, 'ORDERPAID');
  if (old?.state === 'CLOSED') return fail(400, 'ORDER_CLOSED');
  const order = old ?? { ...content, trade_type, state: 'NOTPAY', transaction_id: number('42000') };
  orders.set(out_trade_no, order);
  return done(trade_type === 'JSAPI' ? { prepay_id: (order.prepay_id ??= number('wx')) } : { code_url: `weixin://wxpay/bizpayurl?pr=${order.transaction_id}` });
}

function refund(content) {
  const order = orders.get(content.out_trade_no);
  if (!order?.paid_at) return fail(404, 'RESOURCE_NOT_EXISTS');
  if (content.amount.total !== order.amount.total || content.amount.currency !== 'CNY' || !(content.amount.refund > 0)) return fail(400, 'PARAM_ERROR');
  const old = refunds.get(content.out_refund_no);
  if (old && old.amount.refund !== content.amount.refund) return fail(400, 'INVALID_REQUEST');
  const given = [...refunds.values()].filter((one) => one.order === order && one !== old).reduce((sum, one) => sum + one.amount.refund, content.amount.refund);
  if (given > order.amount.total) return fail(400, 'INVALID_REQUEST');
  const one = old ?? { ...content, order, refund_id: number('50000'), status: 'PROCESSING', at: Date.now() };
  refunds.set(content.out_refund_no, one);
  order.state = 'REFUND';
  return done(refunded(one));
}

function certificates() {
  return done({
    data: published.map(({ serial, certificate }) => ({
      serial_no: serial, effective_time: china(), expire_time: china(Date.now() + 86400000 * 30), encrypt_certificate: seal(certificate, 'certificate'),
    })),
  });
}

const routes = [
  ['POST', /^\/v3\/pay\/transactions\/native$/, (_, content) => place(content, 'NATIVE')],
  ['POST', /^\/v3\/pay\/transactions\/jsapi$/, (_, content) => place(content, 'JSAPI')],
  ['GET', /^\/v3\/pay\/transactions\/out-trade-no\/(\w+)\?mchid=(\d+)$/, ([, no, mchid]) =>
    (mchid !== MCHID ? fail(400, 'MCH_NOT_EXISTS') : orders.has(no) ? done(transaction(orders.get(no))) : fail(404, 'ORDER_NOT_EXIST'))],
  ['POST', /^\/v3\/pay\/transactions\/out-trade-no\/(\w+)\/close$/, ([, no], content) => {
    const order = orders.get(no);
    if (content.mchid !== MCHID) return fail(400, 'MCH_NOT_EXISTS');
    if (!order) return fail(404, 'ORDER_NOT_EXIST');
    if (order.paid_at) return fail(400, 'ORDERPAID');
    order.state = 'CLOSED';
    return { status: 204 };
  }],
  ['POST', /^\/v3\/refund\/domestic\/refunds$/, (_, content) => refund(content)],
  ['GET', /^\/v3\/refund\/domestic\/refunds\/(\w+)$/, ([, no]) => (refunds.has(no) ? done(refunded(refunds.get(no))) : fail(404, 'RESOURCE_NOT_EXISTS'))],
  ['GET', /^\/v3\/certificates$/, certificates],
];

// WECHATPAY2-SHA256-RSA2048, over what was sent.
function check(request, body) {
  const given = /^WECHATPAY2-SHA256-RSA2048 (.*)$/.exec(request.headers.authorization ?? '');
  const parts = Object.fromEntries([...(given?.[1] ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
  const text = Formatter.request(request.method, request.url, parts.timestamp, parts.nonce_str, body);
  if (parts.mchid !== MCHID || parts.serial_no !== SERIAL || !parts.signature || !Rsa.verify(text, parts.signature, merchant.publicKey)) return 'SIGN_ERROR';
  if (Math.abs(Number(parts.timestamp) - seconds()) > 300) return 'SIGN_ERROR';
  if (request.headers.accept !== 'application/json' || (body && request.headers['content-type'] !== 'application/json')) return 'PARAM_ERROR';
  return withKey && request.headers['wechatpay-serial'] !== KEY_ID ? 'PARAM_ERROR' : undefined;
}

function signed(body, { at = seconds(), key = platform.privateKey, serial = platform.serial, signature } = {}) {
  const nonce = Formatter.nonce(32);
  return {
    'Wechatpay-Timestamp': String(at), 'Wechatpay-Nonce': nonce, 'Wechatpay-Serial': serial, 'Wechatpay-Signature-Type': 'WECHATPAY2-SHA256-RSA2048',
    'Wechatpay-Signature': signature ?? Rsa.sign(Formatter.response(String(at), nonce, body), key),
  };
}

function respond(fault, { status, said }) {
  if (said && fault === 'other') said = { ...said, out_trade_no: 'of_somebody_else', out_refund_no: 'of_somebody_else' };
  if (said?.amount && fault === 'less') said = { ...said, amount: { ...said.amount, total: 1, refund: 1 } };
  const body = said ? JSON.stringify(said) : '';
  const headers = fault === 'unsigned' ? {} : signed(body, fault === 'forged' ? { key: forger.privateKey } : {});
  return { status, headers: { ...headers, ...(said && { 'Content-Type': 'application/json; charset=utf-8' }) }, body };
}

function answer(request, body) {
  const route = routes.find(([verb, pattern]) => request.method === verb && pattern.test(request.url));
  const fault = faults.next(request.url.replace(/\?.*/, '').replace(/\/(\w+_\w+)/, '/NO'));
  const problem = check(request, body);
  calls.push({ verb: request.method, url: request.url, problem, fault, content: body ? JSON.parse(body) : undefined });
  if (fault === 'hang') return 'hang';
  if (fault === 'drop') return 'cut';
  if (fault === '500') return { status: 500, headers: {}, body: 'out of order' };
  if (problem) return respond('unsigned', fail(problem === 'SIGN_ERROR' ? 401 : 400, problem));
  const error = /^(\d{3}) (\w+)$/.exec(fault ?? '');
  const answered = error ? fail(Number(error[1]), error[2]) : route ? route[2](route[1].exec(request.url), body ? JSON.parse(body) : undefined) : fail(404, 'NOT_FOUND');
  return fault === 'cut' ? 'cut' : respond(fault, answered);
}

function notification({ event_type, original_type = 'transaction', resource, id = number('EV-'), age = 0, serial, signature, api_key, forged }) {
  const event = {
    id, create_time: china(), resource_type: 'encrypt-resource', event_type, summary: event_type,
    resource: { original_type, ...seal(JSON.stringify(resource), original_type, api_key) },
  };
  const body = JSON.stringify(event);
  const options = { at: seconds() - age, signature, ...(serial && { serial }), ...(forged && { key: forger.privateKey }) };
  return { headers: { 'Content-Type': 'application/json', ...signed(body, options) }, body };
}

// The parameters that the payer's WeChat was given are signed by the merchant.
function checkClient({ appId, timeStamp, nonceStr, package: of, signType, paySign }) {
  const text = Formatter.joinedByLineFeed(appId, timeStamp, nonceStr, of);
  if (appId !== APPID || signType !== 'RSA' || !Rsa.verify(text, paySign, merchant.publicKey)) throw new Error('paySign');
  return [...orders.values()].find((order) => `prepay_id=${order.prepay_id}` === of);
}

const control = {
  ...faults.control(),
  pay: ({ out_trade_no, client, ...more }) => {
    const order = client ? checkClient(client) : orders.get(out_trade_no);
    order.paid_at ??= Date.now();
    order.state = 'SUCCESS';
    return notification({ event_type: 'TRANSACTION.SUCCESS', resource: transaction(order), ...more });
  },
  notify: ({ out_trade_no, resource, ...more }) =>
    notification({ event_type: 'TRANSACTION.SUCCESS', ...more, resource: { ...(orders.has(out_trade_no) && transaction(orders.get(out_trade_no))), ...resource } }),
  refund: ({ out_refund_no, status = 'SUCCESS', ...more }) => {
    const one = refunds.get(out_refund_no);
    one.status = status;
    const { status: refund_status, channel, ...rest } = refunded(one);
    return notification({ event_type: `REFUND.${status}`, original_type: 'refund', resource: { mchid: MCHID, ...rest, refund_status }, ...more });
  },
  rotate: () => {
    platform = makeCertificate('/CN=Tenpay.com');
    published.unshift(platform);
    return platform.serial;
  },
  orders: () => [...orders.values()],
  calls: () => calls.splice(0),
};

serve(control, answer, {
  settings: { mchid: MCHID, appid: APPID, serial_no: SERIAL, ...(withKey && { public_key: platform.publicKey, public_key_id: KEY_ID }) },
  credentials: { private_key: merchant.privateKey, api_v3_key: API_KEY },
});
