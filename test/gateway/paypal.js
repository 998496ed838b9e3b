// paypal.js - a stand-in of PayPal: Orders v2, Payments v2, Vault v3, OAuth 2 and signed callbacks, by its public reference.
//
// It keeps orders, captures, refunds and tokens in memory, and refuses what PayPal would refuse; what it has to complain of is
// among control/complaints.  PayPal has no library that signs or verifies callbacks offline, so the rule is computed here with node's
// own crypto and zlib.  Certificates are those of an authority of its own, made with openssl: the setting roots.
//
// control/approve {id, decline}      the payer approves an order; decline: what captures it will be told
// control/settle {id, status}        a capture that was pending becomes COMPLETED or DECLINED
// control/event {type, resource, id} a callback about that; about what it does itself it makes callbacks on its own
// control/callbacks {certificate, age, tamper, keep}   all callbacks that wait, signed: [{headers, body}].  certificate: good, other_host, expired,
//                                    self_signed, stranger (of another authority); age in seconds; tamper: changed behind the signature
// control/revoke, forget             tokens end; request ids are not known any more
// control/counts, complaints, state
//
// Faults, of requests whose path contains what it is told on: hang; cut (the connection, after the work), drop (before); garbage;
// lie_amount, lie_number; a status, with an error of PayPal's or (bare_403) without; or an issue.
'use strict';
const { execFileSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');
const zlib = require('zlib');
const { serve } = require('./china.js');

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'paypal-'));
let base;
const CLIENT = 'test_client:test_secret';
const WEBHOOK_ID = '1JE4291016473214C';
const WHOLE = ['HUF', 'JPY', 'TWD'];
const HOST = 'messageverificationcerts.paypal.com';

const orders = new Map(), captures = new Map(), refunds = new Map(), methods = new Map(), answered = new Map(), tokens = new Set();
let faults = [], callbacks = [], complaints = [], counts = {}, serial = 0;

const id = (prefix) => (prefix + String(++serial).padStart(17 - prefix.length, '0')).toUpperCase();
const instant = () => new Date().toISOString().replace(/\.\d+Z$/, 'Z');

class Refusal extends Error {
	constructor(status, name, issue, description) { super(issue); Object.assign(this, { status, body: { name, message: description || name, debug_id: 'd1', details: issue ? [{ issue, description: description || issue }] : [] } }); }
}
const unprocessable = (issue, description) => new Refusal(422, 'UNPROCESSABLE_ENTITY', issue, description);
const notFound = () => new Refusal(404, 'RESOURCE_NOT_FOUND', 'INVALID_RESOURCE_ID', 'The specified resource does not exist.');
const complain = (what) => { complaints.push(what); return new Refusal(400, 'INVALID_REQUEST', 'INVALID_PARAMETER_VALUE', what); };

// An amount as PayPal takes it: decimals exactly as the currency has them there.
function checkAmount(amount) {
	if (!amount || !/^[A-Z]{3}$/.test(amount.currency_code)) throw complain('amount without currency_code');
	const decimals = WHOLE.includes(amount.currency_code) ? /^\d+$/ : /^\d+\.\d{2}$/;
	if (!decimals.test(amount.value) || Number(amount.value) <= 0) throw complain(`amount ${amount.value} ${amount.currency_code}`);
}
const cents = (amount) => BigInt(amount.value.replace('.', ''));
const money = (cents, currency_code) => ({ currency_code, value: WHOLE.includes(currency_code) ? String(cents) : `${cents / 100n}.${String(cents % 100n).padStart(2, '0')}` });

function createOrder(body) {
	const unit = body.purchase_units?.[0];
	if (body.intent !== 'CAPTURE') throw complain(`intent ${body.intent}`);
	if (!unit || body.purchase_units.length !== 1) throw complain('purchase_units');
	if (!unit.invoice_id || unit.invoice_id !== unit.custom_id) throw complain('invoice_id and custom_id');
	if (unit.description && Buffer.byteLength(unit.description) > 127) throw complain('description too long');
	checkAmount(unit.amount);
	const [kind, source] = Object.entries(body.payment_source || {})[0] || [];
	if (!['paypal', 'card'].includes(kind)) throw complain('payment_source');
	const order = { id: id('5O'), intent: 'CAPTURE', status: 'PAYER_ACTION_REQUIRED', purchase_units: [{ reference_id: 'default', ...unit }], create_time: instant(),
		payer: { email_address: 'buyer@example.com' }, payment_source: { [kind]: { email_address: 'buyer@example.com' } } };
	if (source.vault_id) return chargeVaulted(order, source);
	const context = source.experience_context;
	for (const url of ['return_url', 'cancel_url']) if (!/^https?:/.test(context?.[url])) throw complain(url);
	orders.set(order.id, order);
	return [201, withLinks(order)];
}

// By a stored method the order is captured as it is created.
function chargeVaulted(order, source) {
	if (source.stored_credential?.payment_initiator !== 'MERCHANT') throw complain('stored_credential');
	if (!methods.has(source.vault_id)) throw notFound();
	const kind = methods.get(source.vault_id).kind;
	if (kind === 'declined') throw unprocessable('INSTRUMENT_DECLINED', 'The instrument presented was either declined by the processor or bank.');
	orders.set(order.id, order);
	if (kind !== 'action') capture(order, kind === 'pending' ? 'PENDING' : 'COMPLETED');
	return [201, withLinks(order)];
}

function withLinks(order) {
	const links = [{ href: `${base}/v2/checkout/orders/${order.id}`, rel: 'self', method: 'GET' }];
	if (order.status === 'PAYER_ACTION_REQUIRED') links.push({ href: `${base}/checkoutnow?token=${order.id}`, rel: 'payer-action', method: 'GET' });
	return { ...order, links };
}

// PayPal keeps 3.49 % and 0.49, which is what the breakdown says.
function capture(order, status) {
	const unit = order.purchase_units[0], total = cents(unit.amount), currency = unit.amount.currency_code;
	if ([...captures.values()].some((c) => c.invoice_id === unit.invoice_id)) throw unprocessable('DUPLICATE_INVOICE_ID');
	const fee = WHOLE.includes(currency) ? total * 349n / 10000n + 49n : (total * 349n + 5000n) / 10000n + 49n;
	const made = { id: id('3C'), status, amount: unit.amount, final_capture: true, custom_id: unit.custom_id, invoice_id: unit.invoice_id, create_time: instant(), update_time: instant(),
		links: [{ href: `${base}/v2/checkout/orders/${order.id}`, rel: 'up', method: 'GET' }] };
	if (status === 'COMPLETED')
		made.seller_receivable_breakdown = { gross_amount: unit.amount, paypal_fee: money(fee, currency), net_amount: money(total - fee, currency) };
	else
		made.status_details = { reason: 'ECHECK' };
	captures.set(made.id, made);
	order.status = 'COMPLETED';
	unit.payments = { captures: [made] };
	tell(`PAYMENT.CAPTURE.${status}`, 'capture', made);
	return made;
}

function captureOrder(orderId) {
	const order = orders.get(orderId);
	if (!order) throw notFound();
	if (order.status === 'COMPLETED') throw unprocessable('ORDER_ALREADY_CAPTURED');
	if (order.status !== 'APPROVED') throw unprocessable('ORDER_NOT_APPROVED');
	if (order.decline) throw unprocessable('INSTRUMENT_DECLINED');
	capture(order, 'COMPLETED');
	return [201, withLinks(order)];
}

function refund(captureId, body) {
	const of = captures.get(captureId);
	if (!of) throw notFound();
	checkAmount(body.amount);
	if (!body.invoice_id) throw complain('refund without invoice_id');
	if (body.amount.currency_code !== of.amount.currency_code) throw unprocessable('REFUND_CAPTURE_CURRENCY_MISMATCH');
	const before = [...refunds.values()].filter((r) => r.of === captureId).reduce((sum, r) => sum + cents(r.amount), 0n);
	if (before + cents(body.amount) > cents(of.amount)) throw unprocessable(before === cents(of.amount) ? 'CAPTURE_FULLY_REFUNDED' : 'REFUND_AMOUNT_EXCEEDED');
	const made = { id: id('1J'), status: 'COMPLETED', amount: body.amount, invoice_id: body.invoice_id, custom_id: body.custom_id, note_to_payer: body.note_to_payer, create_time: instant(),
		links: [{ href: `${base}/v2/payments/captures/${captureId}`, rel: 'up', method: 'GET' }] };
	refunds.set(made.id, { ...made, of: captureId });
	of.status = before + cents(body.amount) === cents(of.amount) ? 'REFUNDED' : 'PARTIALLY_REFUNDED';
	tell('PAYMENT.CAPTURE.REFUNDED', 'refund', made);
	return [201, made];
}

// A setup token says by its name what becomes of its method: setup_good, setup_card, setup_declined, setup_pending, setup_action.
function addMethod(body) {
	const token = body.payment_source?.token;
	if (token?.type !== 'SETUP_TOKEN' || !/^setup_/.test(token.id)) throw unprocessable('INVALID_SETUP_TOKEN_ID');
	const kind = token.id.slice(6), made = { id: id('8K').toLowerCase(), customer: { id: body.customer?.id || 'customer_1' },
		payment_source: kind === 'card' ? { card: { brand: 'VISA', last_digits: '1111', expiry: '2031-02' } } : { paypal: { email_address: 'buyer@example.com' } } };
	methods.set(made.id, { ...made, kind });
	tell('VAULT.PAYMENT-TOKEN.CREATED', 'payment_token', made);
	return [201, made];
}

function removeMethod(token) {
	const made = methods.get(token);
	if (!made) throw notFound();
	methods.delete(token);
	tell('VAULT.PAYMENT-TOKEN.DELETED', 'payment_token', { id: token });
	return [204, undefined];
}

const find = (map) => (key) => { if (!map.has(key)) throw notFound(); return [200, map.get(key)]; };
const routes = [
	['POST', /^\/v2\/checkout\/orders$/, (_, body) => createOrder(body)],
	['GET', /^\/v2\/checkout\/orders\/(\w+)$/, (key) => [200, withLinks(find(orders)(key)[1])]],
	['POST', /^\/v2\/checkout\/orders\/(\w+)\/capture$/, captureOrder],
	['GET', /^\/v2\/payments\/captures\/(\w+)$/, find(captures)],
	['POST', /^\/v2\/payments\/captures\/(\w+)\/refund$/, refund],
	['GET', /^\/v2\/payments\/refunds\/(\w+)$/, find(refunds)],
	['POST', /^\/v3\/vault\/payment-tokens$/, (_, body) => addMethod(body)],
	['DELETE', /^\/v3\/vault\/payment-tokens\/(\w+)$/, removeMethod],
];

// The same PayPal-Request-Id gets what it got, as it has become since.
function answer(request, url, text) {
	if (url === '/v1/oauth2/token') return giveToken(request, text);
	const bearer = /^Bearer (.+)$/.exec(request.headers.authorization || '')?.[1];
	if (!tokens.has(bearer)) throw new Refusal(401, 'AUTHENTICATION_FAILURE', '', 'Authentication failed');
	const requestId = request.headers['paypal-request-id'];
	if (request.method === 'POST' && !/^[\w-]{1,108}$/.test(requestId || '')) throw complain(`PayPal-Request-Id ${requestId}`);
	if (request.method === 'POST' && request.headers['content-type'] !== 'application/json') throw complain('Content-Type');
	for (const [method, pattern, act] of routes) {
		const found = request.method === method && pattern.exec(url);
		if (!found) continue;
		const key = `${url} ${requestId}`;
		if (method === 'POST' && answered.has(key)) return [200, current(answered.get(key)[1])];
		const result = act(found[1], method === 'POST' ? JSON.parse(text) : undefined);
		if (method === 'POST') answered.set(key, result);
		return result;
	}
	complaints.push(`${request.method} ${url}`);
	throw notFound();
}
const current = (object) => orders.has(object.id) ? withLinks(orders.get(object.id)) : captures.get(object.id) || refunds.get(object.id) || object;

function giveToken(request, text) {
	if (request.headers.authorization !== 'Basic ' + Buffer.from(CLIENT).toString('base64')) throw new Refusal(401, 'invalid_client', '', 'Client Authentication failed');
	if (text !== 'grant_type=client_credentials') throw complain('grant_type');
	const token = 'A21AA' + crypto.randomBytes(20).toString('hex');
	tokens.add(token);
	return [200, { scope: 'https://uri.paypal.com/services/payments', access_token: token, token_type: 'Bearer', expires_in: 32400 }];
}

// Callbacks.
function tell(event_type, resource_type, resource) {
	callbacks.push({ id: 'WH-' + id('7Y') + '-1', event_version: '1.0', create_time: instant(), resource_type, event_type, summary: event_type, resource });
}

// Signed over transmission id | time | webhook id | CRC-32 of the body, by SHA256withRSA.
function sign(event, { certificate = 'good', age = 0, tamper = false }) {
	const body = JSON.stringify(event), transmission = crypto.randomUUID();
	const time = new Date(Date.now() - age * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
	const signature = crypto.sign('sha256', `${transmission}|${time}|${WEBHOOK_ID}|${crc32(Buffer.from(body))}`, fs.readFileSync(path.join(directory, `${certificate}.key`)));
	return { headers: { 'Paypal-Transmission-Id': transmission, 'Paypal-Transmission-Time': time, 'Paypal-Transmission-Sig': signature.toString('base64'),
		'Paypal-Cert-Url': `${base}/v1/notifications/certs/CERT-${certificate}`, 'Paypal-Auth-Algo': 'SHA256withRSA', 'Content-Type': 'application/json' },
		body: tamper ? body.replace(/"value":"\d/, '"value":"9') : body };
}

// zlib's, which older versions of node do not hand out: it stands in little endian before the length at the end of what gzip makes.
const crc32 = (data) => zlib.gzipSync(data).readUInt32LE(zlib.gzipSync(data).length - 8);

function makeCertificates() {
	const file = (name) => path.join(directory, name);
	const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'ignore'] });
	const authority = (name) => openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', `/CN=${name}`, '-addext', 'basicConstraints=critical,CA:TRUE',
		'-addext', 'keyUsage=critical,keyCertSign', '-keyout', file(`${name}.key`), '-out', file(`${name}.pem`));
	const leaf = (name, by, host, dates) => {
		openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${HOST}`, '-keyout', file(`${name}.key`), '-out', file(`${name}.csr`));
		fs.writeFileSync(file(`${name}.ext`), `subjectAltName=DNS:${host}\nbasicConstraints=CA:FALSE\n`);
		const signer = by ? ['-CA', file(`${by}.pem`), '-CAkey', file(`${by}.key`), '-CAcreateserial'] : ['-signkey', file(`${name}.key`)];
		openssl('x509', '-req', '-in', file(`${name}.csr`), ...signer, '-days', dates, '-extfile', file(`${name}.ext`), '-out', file(`${name}.pem`));
		if (by) fs.appendFileSync(file(`${name}.pem`), fs.readFileSync(file(`${by}.pem`)));
	};
	authority('ca');
	authority('other_ca');
	leaf('good', 'ca', HOST, '20');
	leaf('other_host', 'ca', 'paypal.com.example.net', '20');
	leaf('expired', 'ca', HOST, '-1');
	leaf('self_signed', null, HOST, '20');
	leaf('stranger', 'other_ca', HOST, '20');
}

// What a test says.
const control = {
	fault: ({ on, does }) => { faults.push(...[].concat(does).map((one) => ({ on, does: one }))); },
	approve: ({ id: key, decline }) => { const order = orders.get(key); Object.assign(order, { status: 'APPROVED', decline }); tell('CHECKOUT.ORDER.APPROVED', 'checkout-order', order); },
	settle: ({ id: key, status }) => { const of = captures.get(key); of.status = status; tell(`PAYMENT.CAPTURE.${status}`, 'capture', of); },
	revoke: () => tokens.clear(),
	forget: () => answered.clear(),
	event: ({ type, resource, id: event }) => { tell(type, 'other', resource); if (event) callbacks[callbacks.length - 1].id = event; },
	callbacks: (how) => { const waiting = callbacks.map((event) => sign(event, how)); if (!how.keep) callbacks = []; return waiting; },
	complaints: () => complaints,
	counts: () => counts,
	state: () => ({ orders: [...orders.values()], captures: [...captures.values()], refunds: [...refunds.values()], methods: [...methods.values()] }),
};

function respond(request, text) {
	base = `http://${request.headers.host}`;
	const url = request.url, called = `${request.method} ${url.replace(/\/[0-9A-Za-z]{17}(?=\/|$)/, '/*')}`;
	counts[called] = (counts[called] || 0) + 1;

	const place = faults.findIndex(({ on }) => url.includes(on));
	const fault = place < 0 ? undefined : faults.splice(place, 1)[0].does;
	if (fault === 'hang') return 'hang';
	if (fault === 'drop') return 'cut';
	if (fault === 'garbage') return { status: 200, body: '<html>' };
	if (/^\d+$/.test(fault || '')) return json(Number(fault), { name: 'FAULT', message: 'as told' });
	if (/^bare_/.test(fault || '')) return { status: Number(fault.slice(5)), body: '<html>' };
	if (/^[A-Z_]+$/.test(fault || '')) return json(422, { name: 'UNPROCESSABLE_ENTITY', message: 'as told', details: [{ issue: fault }] });
	const certificate = /^\/v1\/notifications\/certs\/CERT-(\w+)$/.exec(url)?.[1];
	if (certificate) {
		const file = path.join(directory, `${certificate}.pem`);
		return fs.existsSync(file) ? { status: 200, body: fs.readFileSync(file) } : json(404, {});
	}

	let status, body;
	try { [status, body] = answer(request, url, text); }
	catch (refusal) {
		if (!(refusal instanceof Refusal)) throw refusal;
		[status, body] = [refusal.status, refusal.body];
	}
	return fault === 'cut' ? 'cut' : json(status, lie(body, fault));
}

const lie = (body, fault) => fault === 'lie_amount' ? JSON.parse(JSON.stringify(body).replace(/"value":"\d/g, '"value":"9'))
	: fault === 'lie_number' ? JSON.parse(JSON.stringify(body).replace(/"(custom|invoice)_id":"[^"]*"/g, '"$1_id":"999_other"')) : body;
const json = (status, body) => ({ status, headers: { 'Content-Type': 'application/json' }, body: body === undefined ? undefined : JSON.stringify(body) });

makeCertificates();
process.on('exit', () => fs.rmSync(directory, { recursive: true }));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit());
serve(control, respond, {
	settings: { webhook_id: WEBHOOK_ID, roots: fs.readFileSync(path.join(directory, 'ca.pem'), 'utf8'), return_url: 'https://app.example.com/back' },
	credentials: { client_id: CLIENT.split(':')[0], client_secret: CLIENT.split(':')[1] },
});
