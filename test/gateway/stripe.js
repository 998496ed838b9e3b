// stripe.js MODULES - a stand-in of Stripe: PaymentIntents, Checkout Sessions, refunds, customers, methods, SetupIntents, subscriptions and
// signed callbacks, by its public reference.
//
// It keeps objects in memory, and refuses what Stripe would refuse: a wrong key, an unknown parameter, an Idempotency-Key that came with another
// content. Callbacks are signed and verified by the official package stripe, found in MODULES.
//
// control/method {id, type, customer, declines, kind, exp_year}   a method. declines: with this decline code; kind 3ds (the bank wants to see
//                                    its holder), ach (takes days)
// control/methods {methods}         many of them
// control/setup {id, status, method, customer}                    a SetupIntent
// control/customer {id, metadata}, control/subscription {id, ...}, control/invoice {id, ...} such an object; one that there is, is another then
// control/pay {id, declines, ach}    a person pays a session or confirms a PaymentIntent; declines: the card is refused
// control/settle {id, fails}         what took days has come, or not; of a payment that has come, the bank takes it back
// control/refund {id, status}        a refund has this status
// control/dispute {id, status, of}   a dispute of a payment
// control/event {type, object, id}   a callback about that; about what it does itself it makes callbacks on its own
// control/callbacks {secret, age, tamper, scheme, both, keep}     all callbacks that wait, signed: [{headers, body}]
// control/unindexed {on}             the search does not know what was made
// control/reuse {on}                connections are kept open, which they are not else
// control/complaints, counts, state {id}
//
// Faults, of requests "METHOD path" that contain what it is told on: hang; cut (the connection, after the work), drop (before); garbage;
// lie_amount, lie_number; or a status.
'use strict';
const crypto = require('crypto');
const path = require('path');
const Stripe = require(path.join(process.argv[2], 'stripe'));
const { serve } = require('./china.js');

const KEY = 'sk_test_standin', VERSION = '2025-03-31.basil', SECRET = 'whsec_' + crypto.randomBytes(24).toString('base64');
const objects = new Map(), answered = new Map();
let faults = [], callbacks = [], complaints = [], counts = {}, serial = 0, isUnindexed = false, isReused = false;

const id = (prefix) => `${prefix}_${String(++serial).padStart(16, '0')}`;
const now = () => Math.floor(Date.now() / 1000);
const keep = (object) => { objects.set(object.id, object); return object; };
const all = (kind) => [...objects.values()].filter(({ object }) => object === kind).reverse();

class Refusal extends Error {
	constructor(status, code, message, more) { super(code); Object.assign(this, { status, body: { error: { type: 'invalid_request_error', code, message: message ?? code, ...more } } }); }
}
const complain = (what) => { complaints.push(what); return new Refusal(400, 'parameter_invalid', what); };
const find = (kind, key) => {
	const object = objects.get(key);
	if (object?.object !== kind) throw new Refusal(404, 'resource_missing', `No such ${kind}: '${key}'`);
	return object;
};

// Forms with names such as a[b][0]: only those of allowed, whose brackets are written out but for [*] and [].
function checkNames(form, allowed) {
	for (const name of form.keys())
		if (!allowed.includes(name) && !allowed.includes(name.replace(/\[\w+\]$/, '[*]'))) throw new Refusal(400, 'parameter_unknown', complaints[complaints.push(`unknown parameter ${name}`) - 1]);
}
const metadata = (form, prefix) => Object.fromEntries([...form].filter(([name]) => name.startsWith(`${prefix}[`)).map(([name, value]) => [name.slice(prefix.length + 1, -1), value]));

function amountOf(form, name, currencyName) {
	const currency = form.get(currencyName) ?? '', amount = Number(form.get(name));
	if (!/^[a-z]{3}$/.test(currency)) throw complain(`${currencyName}=${currency}`);
	if (!/^[1-9]\d*$/.test(form.get(name) ?? '')) throw complain(`${name}=${form.get(name)}`);
	if (['isk', 'ugx'].includes(currency) && amount % 100) throw new Refusal(400, 'invalid_charge_amount_no_decimal_compatible');
	if (['bhd', 'jod', 'kwd', 'omr', 'tnd'].includes(currency) && amount % 10) throw new Refusal(400, 'amount_invalid');
	return { amount, currency };
}

// A PaymentIntent, confirmed at once if it says so.
function createIntent(form) {
	checkNames(form, ['amount', 'currency', 'customer', 'automatic_payment_methods[enabled]', 'automatic_payment_methods[allow_redirects]', 'payment_method', 'confirm', 'off_session',
		'return_url', 'description', 'metadata[*]', 'expand[]']);
	const made = makeIntent({ ...amountOf(form, 'amount', 'currency'), customer: form.get('customer'), description: form.get('description'), metadata: metadata(form, 'metadata') });
	if (form.get('off_session') === 'true' && form.get('confirm') !== 'true') throw complain('off_session without confirm');
	if (form.get('confirm') !== 'true') return keep(made);
	if (form.get('off_session') !== 'true' && !form.has('return_url')) throw complain('confirm without return_url');
	const method = find('payment_method', form.get('payment_method'));
	if (method.customer && method.customer !== made.customer) throw new Refusal(400, undefined, 'The provided PaymentMethod cannot be attached: it belongs to another customer.');
	if (!method.customer && form.get('off_session') === 'true') throw complain('off_session with a method of nobody');
	keep(made);
	confirm(made, method, { offSession: form.get('off_session') === 'true' });
	return made;
}

function makeIntent(stated) {
	const made = { id: id('pi'), object: 'payment_intent', amount_received: 0, cancellation_reason: null, client_secret: null, created: now(), last_payment_error: null, latest_charge: null,
		next_action: null, payment_method: null, status: 'requires_payment_method', ...stated };
	made.client_secret = `${made.id}_secret_${crypto.randomBytes(12).toString('hex')}`;
	return made;
}

function confirm(intent, method, { offSession = false } = {}) {
	intent.payment_method = method.id;
	if (method.kind === '3ds' && offSession) throw decline(intent, method, 'authentication_required', 'authentication_required');
	if (method.kind === '3ds' && !method.seen) {
		intent.status = 'requires_action';
		intent.next_action = { type: 'redirect_to_url', redirect_to_url: { url: `https://hooks.stripe.com/3d_secure/${intent.id}`, return_url: 'https://app.example.com/back' } };
		tell('payment_intent.requires_action', intent);
	} else if (method.declines)
		throw decline(intent, method, 'card_declined', method.declines);
	else if (method.kind === 'ach') {
		intent.status = 'processing';
		charge(intent, 'pending');
		tell('payment_intent.processing', intent);
	} else
		succeed(intent);
}

function decline(intent, method, code, decline_code) {
	const failed = keep({ id: id('ch'), object: 'charge', amount: intent.amount, currency: intent.currency, status: 'failed', failure_code: code, failure_message: 'Your card was declined.',
		balance_transaction: null, failure_balance_transaction: null, payment_intent: intent.id, metadata: intent.metadata, created: now() });
	Object.assign(intent, { status: 'requires_payment_method', next_action: null, payment_method: null, latest_charge: failed.id,
		last_payment_error: { type: 'card_error', code, decline_code, message: 'Your card was declined.', charge: failed.id } });
	tell('charge.failed', failed);
	tell('payment_intent.payment_failed', intent);
	return new Refusal(402, code, 'Your card was declined.', { type: 'card_error', decline_code, charge: failed.id, payment_intent: intent });
}

// Stripe keeps 2.9 % and 0.30, in the currency of the account, US dollars.
function charge(intent, status) {
	const made = keep({ id: id('ch'), object: 'charge', amount: intent.amount, currency: intent.currency, status, balance_transaction: null, failure_balance_transaction: null, failure_code: null,
		payment_intent: intent.id, metadata: intent.metadata, created: now(), billing_details: { name: 'A Person' }, receipt_url: 'https://pay.stripe.com/receipts/x' });
	intent.latest_charge = made.id;
	return made;
}

function succeed(intent) {
	const of = objects.get(intent.latest_charge)?.status === 'pending' ? objects.get(intent.latest_charge) : charge(intent, 'succeeded');
	of.status = 'succeeded';
	of.balance_transaction = keep({ id: id('txn'), object: 'balance_transaction', amount: intent.amount, currency: 'usd', fee: Math.round(intent.amount * 0.029) + 30 }).id;
	Object.assign(intent, { status: 'succeeded', amount_received: intent.amount, next_action: null, last_payment_error: null });
	tell('payment_intent.succeeded', intent);
}

function cancelIntent(key) {
	const intent = find('payment_intent', key);
	if (!intent.status.startsWith('requires_'))
		throw new Refusal(400, 'payment_intent_unexpected_state', `You cannot cancel this PaymentIntent because it has a status of ${intent.status}.`, { payment_intent: intent });
	Object.assign(intent, { status: 'canceled', cancellation_reason: null });
	tell('payment_intent.canceled', intent);
	return intent;
}

// A page of Stripe's; its PaymentIntent comes about when somebody pays.
function createSession(form) {
	const item = (name) => `line_items[0]${name}`;
	checkNames(form, ['mode', 'client_reference_id', 'success_url', 'cancel_url', 'customer', 'customer_email', 'payment_method_types[*]', 'locale', 'adaptive_pricing[enabled]', 'expires_at',
		item('[quantity]'), item('[price_data][currency]'), item('[price_data][unit_amount]'), item('[price_data][product_data][name]'), 'metadata[*]', 'payment_intent_data[metadata][*]',
		'payment_intent_data[description]']);
	if (form.get('mode') !== 'payment' || form.get(item('[quantity]')) !== '1') throw complain('mode and quantity');
	if (!/^https?:/.test(form.get('success_url') ?? '')) throw complain('success_url');
	if (form.has('customer') && form.has('customer_email')) throw complain('customer and customer_email');
	if (!form.get(item('[price_data][product_data][name]'))) throw complain('name');
	const opened = Number(form.get('expires_at') ?? now() + 86400) - now();
	if (opened < 1800 || opened > 86400) throw new Refusal(400, 'parameter_invalid_integer', complaints[complaints.push(`expires_at in ${opened} s`) - 1]);
	const { amount, currency } = amountOf(form, item('[price_data][unit_amount]'), item('[price_data][currency]'));
	const made = { id: id('cs_test'), object: 'checkout.session', mode: 'payment', status: 'open', payment_status: 'unpaid', amount_total: amount, currency, created: now(), expires_at: now() + opened,
		client_reference_id: form.get('client_reference_id'), customer: form.get('customer'), customer_email: form.get('customer_email'), payment_intent: null,
		metadata: metadata(form, 'metadata'), intent_metadata: metadata(form, 'payment_intent_data[metadata]'), types: form.getAll('payment_method_types[0]') };
	made.url = `https://checkout.stripe.com/c/pay/${made.id}`;
	return keep(made);
}

function expireSession(key) {
	const session = find('checkout.session', key);
	if (session.status !== 'open') throw new Refusal(400, undefined, `Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of ${session.status}.`);
	Object.assign(session, { status: 'expired', url: null });
	tell('checkout.session.expired', session);
	return session;
}

function paySession(session, method) {
	const intent = keep(makeIntent({ amount: session.amount_total, currency: session.currency, customer: session.customer, metadata: session.intent_metadata }));
	session.payment_intent = intent.id;
	try { confirm(intent, method); } catch (refusal) { if (refusal instanceof Refusal) return; throw refusal; }
	Object.assign(session, { status: 'complete', payment_status: intent.status === 'succeeded' ? 'paid' : 'unpaid', url: null });
	tell('checkout.session.completed', session);
}

function createRefund(form) {
	checkNames(form, ['payment_intent', 'charge', 'amount', 'reason', 'metadata[*]']);
	const intent = find('payment_intent', form.get('payment_intent')), amount = Number(form.get('amount'));
	if (form.has('reason') && !['duplicate', 'fraudulent', 'requested_by_customer'].includes(form.get('reason'))) throw complain(`reason=${form.get('reason')}`);
	const before = all('refund').filter((refund) => refund.payment_intent === intent.id && refund.status !== 'failed').reduce((sum, refund) => sum + refund.amount, 0);
	if (before === intent.amount_received) throw new Refusal(400, 'charge_already_refunded', 'Charge has already been refunded.');
	if (!(amount > 0) || before + amount > intent.amount_received) throw new Refusal(400, undefined, `Refund amount (${amount}) is greater than unrefunded amount on charge (${intent.amount_received - before})`);
	const made = keep({ id: id('re'), object: 'refund', amount, charge: intent.latest_charge, created: now(), currency: intent.currency, metadata: metadata(form, 'metadata'),
		payment_intent: intent.id, reason: form.get('reason'), status: amount % 100 === 99 ? 'pending' : 'succeeded' });
	tell('refund.created', made);
	return made;
}

function createCustomer(form) {
	checkNames(form, ['name', 'email', 'metadata[*]']);
	return keep({ id: id('cus'), object: 'customer', name: form.get('name'), email: form.get('email'), metadata: metadata(form, 'metadata') });
}

function attach(key, form) {
	checkNames(form, ['customer']);
	const method = find('payment_method', key);
	if (method.customer && method.customer !== form.get('customer')) throw new Refusal(400, undefined, 'The payment method you provided has already been attached to a customer.');
	if (method.declines === 'attach') throw new Refusal(402, 'card_declined', 'Your card was declined.', { type: 'card_error', decline_code: 'do_not_honor' });
	method.customer = find('customer', form.get('customer')).id;
	return method;
}

function detach(key) {
	const method = find('payment_method', key);
	if (!method.customer) throw new Refusal(400, undefined, 'The payment method you provided is not attached to a customer so detachment is impossible.');
	method.customer = null;
	tell('payment_method.detached', method);
	return method;
}

function list(kind, query, names) {
	checkNames(query, [...names, 'limit', 'expand[]']);
	const found = all(kind).filter((object) => names.every((name) => !query.has(name) || object[name] === query.get(name)));
	const limit = Number(query.get('limit') ?? 10);
	return { object: 'list', has_more: found.length > limit, data: found.slice(0, limit) };
}

function search(query) {
	const [, name, value] = /^metadata\['(\w+)'\]:'([^']*)'$/.exec(query.get('query')) ?? [];
	checkNames(query, ['query', 'limit', 'expand[]']);
	if (!name) throw complain(`query=${query.get('query')}`);
	return { object: 'search_result', has_more: false, data: isUnindexed ? [] : all('payment_intent').filter((intent) => intent.metadata[name] === value) };
}

const read = (kind, names = []) => (key, query) => { checkNames(query, [...names, 'expand[]']); return find(kind, key); };
const routes = [
	['POST', /^\/v1\/payment_intents$/, (_, form) => createIntent(form)],
	['GET', /^\/v1\/payment_intents$/, (_, query) => list('payment_intent', query, ['customer'])],
	['GET', /^\/v1\/payment_intents\/search$/, (_, query) => search(query)],
	['GET', /^\/v1\/payment_intents\/(\w+)$/, read('payment_intent')],
	['POST', /^\/v1\/payment_intents\/(\w+)\/cancel$/, cancelIntent],
	['POST', /^\/v1\/checkout\/sessions$/, (_, form) => createSession(form)],
	['GET', /^\/v1\/checkout\/sessions$/, (_, query) => list('checkout.session', query, ['customer'])],
	['GET', /^\/v1\/checkout\/sessions\/(\w+)$/, read('checkout.session')],
	['POST', /^\/v1\/checkout\/sessions\/(\w+)\/expire$/, expireSession],
	['POST', /^\/v1\/refunds$/, (_, form) => createRefund(form)],
	['GET', /^\/v1\/refunds$/, (_, query) => list('refund', query, ['payment_intent', 'charge'])],
	['GET', /^\/v1\/refunds\/(\w+)$/, read('refund')],
	['POST', /^\/v1\/customers$/, (_, form) => createCustomer(form)],
	['GET', /^\/v1\/customers\/(\w+)$/, read('customer')],
	['GET', /^\/v1\/payment_methods\/(\w+)$/, read('payment_method')],
	['POST', /^\/v1\/payment_methods\/(\w+)\/attach$/, attach],
	['POST', /^\/v1\/payment_methods\/(\w+)\/detach$/, detach],
	['GET', /^\/v1\/setup_intents\/(\w+)$/, read('setup_intent')],
	['GET', /^\/v1\/subscriptions\/(\w+)$/, read('subscription')],
];

// An object as it is shown: what stands behind an id only if it was asked for.
function show(object, expand) {
	const shown = JSON.parse(JSON.stringify(object, (name, value) => ['intent_metadata', 'types', 'declines', 'kind', 'seen'].includes(name) ? undefined : value));
	for (const where of expand) reveal(shown, where.split('.'));
	return shown;
}
function reveal(object, [name, ...rest]) {
	if (name === 'data') return object.data.forEach((one) => reveal(one, rest));
	if (!(name in object)) throw complain(`nothing to expand at ${name}`);
	if (typeof object[name] === 'string') object[name] = show(objects.get(object[name]), []);
	if (rest.length > 0 && object[name]) reveal(object[name], rest);
}

// The same Idempotency-Key gets what it got; with another content it is refused, and while the first is under way too.
function answer(request, url, text) {
	if (request.headers.authorization !== `Bearer ${KEY}`) throw new Refusal(401, undefined, 'Invalid API Key provided: sk_test_****************');
	if (request.headers['stripe-version'] !== VERSION) throw complain(`Stripe-Version ${request.headers['stripe-version']}`);
	const key = request.headers['idempotency-key'], isPost = request.method === 'POST';
	const parameters = new URLSearchParams(isPost ? text : url.search);
	if (isPost && request.headers['content-type'] !== 'application/x-www-form-urlencoded') throw complain('Content-Type');
	if (isPost && !/^[\w-]{1,255}$/.test(key ?? '')) throw complain(`Idempotency-Key ${key}`);
	const content = `${url.pathname} ${text}`, before = isPost && answered.get(key);
	if (before && before.content !== content) throw new Refusal(400, undefined, 'Keys for idempotent requests can only be used with the same parameters they were first used with.', { type: 'idempotency_error' });
	if (before && !before.result) throw new Refusal(409, 'idempotency_key_in_use', 'There is currently another in-progress request using this Idempotent Key.', { type: 'idempotency_error' });
	if (before) return before.result;

	const [, , act, found] = routes.map(([method, pattern, does]) => [method, pattern, does, request.method === method && pattern.exec(url.pathname)]).find((route) => route[3]) ?? [];
	if (!act) throw complain(`${request.method} ${url.pathname}`);
	let result;
	try { result = [200, show(act(found[1], parameters), parameters.getAll('expand[]'))]; }
	catch (refusal) {
		if (!(refusal instanceof Refusal)) throw refusal;
		result = [refusal.status, JSON.parse(JSON.stringify(refusal.body))];
	}
	if (isPost) answered.set(key, { content, result });
	return result;
}

// Callbacks.
function tell(type, object) {
	callbacks.push({ id: id('evt'), object: 'event', api_version: VERSION, created: now(), livemode: false, type, data: { object: show(object, []) } });
}

// both: as while the secret is rotated, signed with another one, too.
function sign(event, { secret = SECRET, age = 0, tamper = false, scheme = 'v1', both = false }) {
	const payload = JSON.stringify(event), timestamp = now() - age;
	const header = (by) => Stripe.webhooks.generateTestHeaderString({ payload, secret: by, timestamp, scheme });
	const signed = both ? `${header('whsec_other')},${header(secret).split(',')[1]}` : header(secret);
	if (scheme === 'v1' && Math.abs(age) < 300 && Stripe.webhooks.constructEvent(payload, signed, secret).id !== event.id) throw new Error('the package does not accept it');
	return { headers: { 'Stripe-Signature': signed, 'Content-Type': 'application/json; charset=utf-8' }, body: tamper ? payload.replace(/"amount":\d/, '"amount":9') : payload };
}

// What a test says.
const control = {
	fault: ({ on, does }) => { faults.push(...[].concat(does).map((one) => ({ on, does: one }))); },
	method: ({ id: key, type = 'card', customer = null, exp_year = 2035, ...how }) => keep({ id: key ?? id('pm'), object: 'payment_method', type, customer, created: now(), billing_details: { name: 'A Person', email: 'a@example.com' },
		...(type === 'card' ? { card: { brand: 'visa', last4: '4242', exp_month: 8, exp_year, fingerprint: 'f' } } : { [type]: { bank_name: 'STRIPE TEST BANK', last4: '6789' } }), ...how }),
	methods: ({ methods }) => methods.map(control.method).length,
	setup: ({ id: key, status = 'succeeded', method = null, ...more }) => {
		const made = keep({ id: key ?? id('seti'), object: 'setup_intent', status, payment_method: method, customer: null, client_secret: 'seti_secret', last_setup_error: null, next_action: null, ...more });
		if (status === 'requires_action') made.next_action = { type: 'redirect_to_url', redirect_to_url: { url: `https://hooks.stripe.com/setup/${made.id}` } };
		return made;
	},
	customer: (stated) => keep({ id: id('cus'), object: 'customer', metadata: {}, ...stated }),
	subscription: (stated) => keep({ id: id('sub'), object: 'subscription', ...stated }),
	invoice: (stated) => keep({ id: id('in'), object: 'invoice', ...stated }),
	pay: ({ id: key, method }) => {
		const of = objects.get(key), by = objects.get(method) ?? { id: id('pm') };
		if (of.object === 'checkout.session') paySession(of, by);
		else try { confirm(of, { ...by, seen: true }); } catch (refusal) { if (!(refusal instanceof Refusal)) throw refusal; }
		return of;
	},
	settle: ({ id: key, fails }) => {
		const intent = objects.get(key), session = all('checkout.session').find(({ payment_intent }) => payment_intent === key), isBack = intent.status === 'succeeded';
		if (!fails) succeed(intent);
		else if (isBack) {
			const of = objects.get(intent.latest_charge);
			Object.assign(of, { status: 'failed', failure_code: 'insufficient_funds', failure_message: 'The account has not enough money.', failure_balance_transaction: id('txn') });
			tell('charge.failed', of);
		} else {
			Object.assign(intent, { status: 'requires_payment_method', last_payment_error: { type: 'invalid_request_error', code: fails, message: 'The bank refuses.' } });
			tell('payment_intent.payment_failed', intent);
		}
		if (session && !isBack) {
			session.payment_status = fails ? 'unpaid' : 'paid';
			tell(`checkout.session.async_payment_${fails ? 'failed' : 'succeeded'}`, session);
		}
	},
	refund: ({ id: key, ...changes }) => { Object.assign(objects.get(key), changes); tell(changes.status === 'failed' ? 'refund.failed' : 'refund.updated', objects.get(key)); },
	dispute: ({ id: key, of, event = 'updated', ...changes }) => {
		const intent = objects.get(of);
		const dispute = objects.get(key) ?? keep({ id: key, object: 'dispute', amount: intent.amount, currency: intent.currency, charge: intent.latest_charge, payment_intent: of, reason: 'fraudulent', metadata: {} });
		Object.assign(dispute, changes);
		tell(`charge.dispute.${event}`, dispute);
	},
	event: ({ type, object, id: event }) => { tell(type, object); if (event) callbacks[callbacks.length - 1].id = event; },
	callbacks: (how) => { const waiting = callbacks.map((event) => sign(event, how)); if (!how.keep) callbacks = []; return waiting; },
	unindexed: ({ on }) => { isUnindexed = on; },
	reuse: ({ on }) => { isReused = on; },
	complaints: () => complaints,
	counts: () => counts,
	state: ({ id: key }) => objects.get(key) ?? null,
	objects: ({ kind }) => all(kind),
};

function respond(request, text) {
	const url = new URL(request.url, 'http://localhost'), called = `${request.method} ${url.pathname.replace(/\/[a-z]+(_test)?_\d{16}(?=\/|$)/, '/*')}`;
	counts[called] = (counts[called] ?? 0) + 1;

	const place = faults.findIndex(({ on }) => called.includes(on)), fault = place < 0 ? undefined : faults.splice(place, 1)[0].does;
	if (fault === 'drop') return 'cut';
	if (fault === 'hang') {
		answered.set(request.headers['idempotency-key'], { content: `${url.pathname} ${text}` });
		return 'hang';
	}
	if (fault === 'garbage') return { status: 200, body: '<html>' };
	if (/^\d+$/.test(fault ?? '')) return json(Number(fault), { error: { type: 'api_error', message: 'as told' } });
	if (/^bare_/.test(fault ?? '')) return { status: Number(fault.slice(5)), body: '<html>' };

	let status, body;
	try { [status, body] = answer(request, url, text); }
	catch (refusal) {
		if (!(refusal instanceof Refusal)) throw refusal;
		[status, body] = [refusal.status, refusal.body];
	}
	return fault === 'cut' ? 'cut' : json(status, lie(body, fault));
}

const lie = (body, fault) => fault === 'lie_amount' ? JSON.parse(JSON.stringify(body).replace(/"(amount|amount_received|amount_total)":\d/g, '"$1":9'))
	: fault === 'lie_number' ? JSON.parse(JSON.stringify(body).replace(/"(pay_no|refund_no|client_reference_id)":"[^"]*"/g, '"$1":"999_other"')) : body;
const json = (status, body) => ({ status, headers: { 'Content-Type': 'application/json', ...(!isReused && { Connection: 'close' }) }, body: JSON.stringify(body) });

serve(control, respond, { settings: { return_url: 'https://app.example.com/back' }, credentials: { api_key: KEY, webhook_secret: SECRET } });
