// alipay.js MODULES [certificates] - a stand-in of Alipay's open platform: gateway.do, by its public reference.
//
// Requests are verified, and what is signed here is verified too, by the official library alipay-sdk, found in MODULES.
// With certificates the merchant's app is in the mode of certificates, whose names the library computes.
//
// control/pay {out_trade_no, amount, page}   a payer pays; returns the notification.  page: the URL that the payer's browser got
// control/notify {...}                       a notification of these parameters, over what the trade says; signed
// control/trades, control/calls, control/agree {agreement_no, status}, control/close {out_trade_no}, control/fault {on, does}
//
// Faults: hang; cut (the connection, after the work), drop (before); 500; unsigned; forged (by another key); other (of another
// trade); less (another amount); unavailable (code 20000); system_error; wait (code 10003); silent_refund (fund_change N); or a sub_code.
'use strict';
const crypto = require('crypto');
const path = require('path');
const { AlipaySdk } = require(path.join(process.argv[2], 'alipay-sdk'));
const certificates = require(path.join(process.argv[2], 'alipay-sdk/dist/commonjs/antcertutil.js'));
const { Faults, bare, makeCertificate, makeKeys, serve } = require('./china.js');

const APP_ID = '2021000000000001';
const SELLER_ID = '2088000000000001';
const CHINA_MS = 8 * 60 * 60 * 1000;

const withCertificates = process.argv[3] === 'certificates';
const merchant = makeKeys();
const alipay = makeKeys();
const forger = makeKeys();
const app = withCertificates ? makeCertificate('/C=CN/O=Ant Financial/OU=认证/CN=Ant App') : undefined;
const root = withCertificates ? makeCertificate('/C=CN/O=Ant Financial/CN=Ant Root R1') : undefined;
// What Alipay sees with the library: our requests are signed with the merchant's key; and what the merchant would see.
const verifier = new AlipaySdk({ appId: APP_ID, privateKey: bare(alipay.privateKey), keyType: 'PKCS8', alipayPublicKey: bare(merchant.publicKey) });
const reader = new AlipaySdk({ appId: APP_ID, privateKey: bare(merchant.privateKey), keyType: 'PKCS8', alipayPublicKey: bare(alipay.publicKey) });
const faults = new Faults();
const trades = new Map();
const refunds = new Map();
const agreements = new Map();
const calls = [];
let numbers = 0;

const number = (prefix) => `${prefix}${String(++numbers).padStart(10, '0')}`;
const china = (ms = Date.now()) => new Date(ms + CHINA_MS).toISOString().slice(0, 19).replace('T', ' ');
const yuan = (text) => {
  if (!/^(0|[1-9]\d*)\.\d\d$/.test(text)) throw new Error(`amount ${text}`);
  return Number(text);
};
const sign = (text, key = alipay.privateKey) => crypto.createSign('RSA-SHA256').update(text).sign(key, 'base64');
const fail = (sub_code, code = '40004') => ({ code, msg: 'Business Failed', sub_code, sub_msg: `refused: ${sub_code}` });
const done = (said) => ({ code: '10000', msg: 'Success', ...said });

// What may be asked about.
const find = ({ out_trade_no, trade_no }) => trades.get(out_trade_no) ?? [...trades.values()].find((trade) => trade_no && trade.trade_no === trade_no);
const said = (trade) => ({ trade_no: trade.trade_no, out_trade_no: trade.out_trade_no, buyer_user_id: trade.buyer, total_amount: trade.total_amount });

function order(content, parameters) {
  const old = trades.get(content.out_trade_no);
  if (old && old.total_amount !== content.total_amount) return null;
  yuan(content.total_amount);
  if (!content.subject || /[/=&]/.test(content.subject)) throw new Error(`subject ${content.subject}`);
  if (!/^\w{1,64}$/.test(content.out_trade_no)) throw new Error(`out_trade_no ${content.out_trade_no}`);
  const trade = old ?? { ...content, trade_no: number('2026'), state: 'NONE', buyer: '2088100000000009', notify_url: parameters.notify_url };
  trades.set(content.out_trade_no, trade);
  return trade;
}

function settle(trade) {
  trade.state = 'TRADE_SUCCESS';
  trade.paid_at = Date.now();
}

const methods = {
  'alipay.trade.precreate': (content, parameters) => {
    const trade = order(content, parameters);
    if (!trade) return fail('ACQ.CONTEXT_INCONSISTENT');
    return done({ out_trade_no: trade.out_trade_no, qr_code: `https://qr.alipay.com/${trade.trade_no}` });
  },
  'alipay.trade.pay': (content, parameters) => {
    const agreement = agreements.get(content.agreement_params?.agreement_no);
    if (!agreement) return fail('ACQ.AGREEMENT_NOT_EXIST');
    if (agreement.status !== 'NORMAL') return fail('ACQ.AGREEMENT_INVALID');
    const trade = order(content, parameters);
    if (!trade) return fail('ACQ.CONTEXT_INCONSISTENT');
    if (trade.state === 'TRADE_SUCCESS') return fail('ACQ.TRADE_HAS_SUCCESS');
    if (agreement.refuses) return fail(agreement.refuses);
    settle(trade);
    return done({ ...said(trade), gmt_payment: china(trade.paid_at), receipt_amount: trade.total_amount, fund_bill_list: [{ amount: trade.total_amount, fund_channel: 'ALIPAYACCOUNT' }] });
  },
  'alipay.trade.query': (content) => {
    const trade = find(content);
    if (!trade || trade.state === 'NONE') return fail('ACQ.TRADE_NOT_EXIST');
    return done({ ...said(trade), trade_status: trade.state, ...(trade.paid_at && { send_pay_date: china(trade.paid_at) }) });
  },
  'alipay.trade.close': (content) => {
    const trade = find(content);
    if (!trade || trade.state === 'NONE') return fail('ACQ.TRADE_NOT_EXIST');
    if (trade.state !== 'WAIT_BUYER_PAY') return fail('ACQ.TRADE_STATUS_ERROR');
    trade.state = 'TRADE_CLOSED';
    return done({ trade_no: trade.trade_no, out_trade_no: trade.out_trade_no });
  },
  'alipay.trade.refund': (content) => {
    const trade = find(content);
    if (!trade || !trade.paid_at) return fail('ACQ.TRADE_NOT_EXIST');
    const given = [...refunds.values()].filter((refund) => refund.trade === trade);
    const old = refunds.get(content.out_request_no);
    if (old && old.refund_amount !== content.refund_amount) return fail('ACQ.DISCORDANT_REPEAT_REQUEST');
    const total = given.reduce((sum, refund) => sum + yuan(refund.refund_amount), old ? 0 : yuan(content.refund_amount));
    if (total > yuan(trade.total_amount) + 0.001) return fail('ACQ.REFUND_AMT_NOT_EQUAL_TOTAL');
    if (!old) refunds.set(content.out_request_no, { ...content, trade, at: Date.now() });
    trade.refund_fee = total.toFixed(2);
    if (trade.refund_fee === trade.total_amount) trade.state = 'TRADE_CLOSED';
    return done({ ...said(trade), buyer_logon_id: '159****5620', fund_change: old ? 'N' : 'Y', refund_fee: trade.refund_fee, gmt_refund_pay: china() });
  },
  'alipay.trade.fastpay.refund.query': (content) => {
    const refund = refunds.get(content.out_request_no);
    if (!refund) return find(content) ? done({}) : fail('ACQ.TRADE_NOT_EXIST');
    return done({
      ...said(refund.trade), out_request_no: content.out_request_no, refund_amount: refund.refund_amount, refund_status: 'REFUND_SUCCESS',
      ...(content.query_options?.includes('gmt_refund_pay') && { gmt_refund_pay: china(refund.at) }),
    });
  },
  'alipay.user.agreement.query': ({ agreement_no }) => {
    const agreement = agreements.get(agreement_no);
    if (!agreement) return fail('USER_AGREEMENT_NOT_EXIST');
    return done({ agreement_no, external_agreement_no: `ours${agreement_no}`, status: agreement.status, principal_id: '2088100000000009', principal_type: 'CARD', alipay_logon_id: 'abc***@example.com', sign_time: china(), valid_time: china(), invalid_time: '2115-02-01 00:00:00' });
  },
  'alipay.user.agreement.unsign': ({ agreement_no }) => (agreements.delete(agreement_no) ? done({}) : fail('USER_AGREEMENT_NOT_EXIST')),
};

// Alipay's rule for requests: what is not empty, by name, sign_type included.
function check(parameters) {
  const { sign: signature, ...signed } = parameters;
  const text = Object.keys(signed).sort().filter((name) => signed[name] !== '').map((name) => `${name}=${signed[name]}`).join('&');
  const problem =
    parameters.app_id !== APP_ID ? 'isv.invalid-app-id'
      : parameters.sign_type !== 'RSA2' || !signature || !verifier.rsaCheck(text, signature) || !verifier.checkNotifySignV2(parameters) ? 'isv.invalid-signature'
        : parameters.format !== 'JSON' || parameters.charset !== 'utf-8' || parameters.version !== '1.0' ? 'isv.invalid-parameter'
          : Math.abs(Date.parse(`${parameters.timestamp.replace(' ', 'T')}+08:00`) - Date.now()) > 600000 ? 'isv.invalid-timestamp' : undefined;
  if (problem || !withCertificates) return problem;
  return parameters.app_cert_sn === certificates.getSN(app.certificate) && parameters.alipay_root_cert_sn === certificates.getSN(root.certificate, true)
    ? undefined : 'isv.invalid-cert-sn';
}

const parse = (url, body) => Object.fromEntries([...new URL(url, 'http://localhost').searchParams, ...new URLSearchParams(body)]);

function lie(fault, content) {
  switch (fault) {
    case 'unavailable': return { code: '20000', msg: 'Service Currently Unavailable', sub_code: 'isp.unknow-error', sub_msg: 'unknown' };
    case 'system_error': return fail('ACQ.SYSTEM_ERROR');
    case 'wait': return { code: '10003', msg: 'order success pay inprocess', ...content && said(find(content) ?? order(content, {})) };
    case 'limited': return { code: '40005', msg: 'Call Limited', sub_code: 'isv.app-call-limited' };
    default: return /^[A-Za-z]+\.[A-Z_]+$/.test(fault ?? '') ? fail(fault) : undefined;
  }
}

function respond(method, fault, answered) {
  const name = `${method.replace(/\./g, '_')}_response`;
  if (fault === 'other') answered = { ...answered, out_trade_no: 'of_somebody_else', agreement_no: 'of_somebody_else' };
  if (fault === 'less') answered = { ...answered, total_amount: '0.01', refund_amount: '0.01' };
  if (fault === 'silent_refund') answered = { ...answered, fund_change: 'N' };
  const text = JSON.stringify(answered).replace(/\//g, '\\/');
  const signature = sign(text, fault === 'forged' ? forger.privateKey : alipay.privateKey);
  const body = fault === 'unsigned' ? `{"${name}":${text}}` : `{"${name}":${text},"sign":"${signature}"}`;
  if (fault !== 'unsigned' && fault !== 'forged') reader.checkResponseSign(body, name, signature, 'self');
  return { status: 200, headers: { 'Content-Type': 'text/html;charset=utf-8' }, body };
}

function answer(request, body) {
  if (!request.url.startsWith('/gateway.do?')) return { status: 404, headers: {}, body: '' };
  const parameters = parse(request.url, body);
  const content = JSON.parse(parameters.biz_content);
  const problem = check(parameters);
  const fault = faults.next(parameters.method);
  calls.push({ method: parameters.method, problem, fault, content, notify_url: parameters.notify_url });
  if (fault === 'hang') return 'hang';
  if (fault === 'drop') return 'cut';
  if (fault === '500') return { status: 500, headers: {}, body: 'out of order' };
  if (problem) return respond(parameters.method, fault, fail(problem, '40002'));
  const answered = lie(fault, content) ?? methods[parameters.method](content, parameters);
  return fault === 'cut' ? 'cut' : respond(parameters.method, fault, answered);
}

// A form, signed as Alipay does: without sign and sign_type, and without what is empty.
function notification(parameters) {
  const all = { charset: 'utf-8', version: '1.0', sign_type: 'RSA2', app_id: APP_ID, notify_id: number('notify'), notify_time: china(), notify_type: 'trade_status_sync', ...parameters };
  for (const name of Object.keys(all)) if (all[name] === null) delete all[name];
  const text = Object.keys(all).filter((name) => name !== 'sign_type' && all[name] !== '').sort().map((name) => `${name}=${all[name]}`).join('&');
  const signed = { ...all, sign: sign(text) };
  const filled = Object.fromEntries(Object.entries(signed).filter(([, value]) => value !== ''));
  if (!reader.checkNotifySignV2(filled)) throw new Error('alipay-sdk does not verify the notification');
  return { headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' }, body: new URLSearchParams(signed).toString() };
}

function notificationOf(trade, more = {}) {
  return notification({
    ...said(trade), buyer_user_id: null, buyer_id: trade.buyer, seller_id: SELLER_ID, subject: trade.subject, trade_status: trade.state, gmt_create: china(),
    ...(trade.paid_at && { gmt_payment: china(trade.paid_at), receipt_amount: trade.total_amount, fund_bill_list: '[{"amount":"1.00","fundChannel":"ALIPAYACCOUNT"}]' }),
    ...more,
  });
}

const control = {
  ...faults.control(),
  pay: ({ out_trade_no, page, scan }) => {
    if (page) {
      const parameters = parse(page, '');
      const problem = check(parameters);
      calls.push({ method: parameters.method, problem, content: JSON.parse(parameters.biz_content), notify_url: parameters.notify_url, return_url: parameters.return_url });
      if (problem) throw new Error(problem);
      order(JSON.parse(parameters.biz_content), parameters);
    }
    const trade = trades.get(out_trade_no);
    if (scan) trade.state = 'WAIT_BUYER_PAY';
    else settle(trade);
    return notificationOf(trade);
  },
  refund: ({ out_request_no, ...more }) => {
    const refund = refunds.get(out_request_no);
    return notificationOf(refund.trade, { refund_fee: refund.trade.refund_fee, gmt_refund: `${china(refund.at)}.320`, out_biz_no: out_request_no, ...more });
  },
  close: ({ out_trade_no }) => {
    const trade = trades.get(out_trade_no);
    trade.state = 'TRADE_CLOSED';
    return notificationOf(trade, { gmt_close: china() });
  },
  notify: ({ out_trade_no, ...more }) => (trades.has(out_trade_no) ? notificationOf(trades.get(out_trade_no), more) : notification({ out_trade_no, ...more })),
  agree: ({ agreement_no, status = 'NORMAL', refuses }) => {
    agreements.set(agreement_no, { status, refuses });
    return notification({ notify_type: status === 'UNSIGN' ? 'dut_user_unsign' : 'dut_user_sign', agreement_no, external_agreement_no: `ours${agreement_no}`, status, alipay_user_id: '2088100000000009', sign_time: china() });
  },
  trades: () => [...trades.values()],
  calls: () => calls.splice(0),
};

serve(control, answer, {
  settings: {
    app_id: APP_ID, seller_id: SELLER_ID, alipay_public_key: bare(alipay.publicKey),
    ...(withCertificates && { app_certificate: app.certificate, alipay_root_certificates: root.certificate }),
  },
  credentials: { private_key: bare(merchant.privateKey) },
});
