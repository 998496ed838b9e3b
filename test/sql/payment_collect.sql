-- Promise: what is due is collected without the payer, by the subscription's own method while that is good, else by the default; a method
-- that is gone for good fails and another takes its place; who chooses another default lets what is unpaid be collected with it at once.
SET timezone TO 'UTC';
\pset format unaligned
INSERT INTO billing.gateway (code, driver, settings) VALUES ('collect_gateway', 'manual', '{"is_test": "true"}');
INSERT INTO billing.decline_code (gateway, code, class, next_attempt, ends_method) VALUES ('manual', 'poor', 'soft', '2 days', false), ('manual', 'stolen', 'hard', NULL, true),
	('manual', 'no_yen', 'hard', NULL, false);
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days) VALUES (42300, 'collect_pro', 'Pro', '1 month', 0);
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (42300, 'base', 'Pro', '{"model":"flat","currency":"USD","amount":"10"}');
CREATE TEMP TABLE known (name text PRIMARY KEY, id bigint);
CREATE FUNCTION pg_temp.id(wanted text) RETURNS bigint LANGUAGE sql AS $$ SELECT id FROM known WHERE name = wanted $$;
-- A tenant, its methods by their names and tokens, and a subscription.
CREATE FUNCTION pg_temp.set_up(who bigint, VARIADIC tokens text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE said text; started text;
BEGIN
	PERFORM billing.create_tenant(who, 'Collect');
	FOREACH said IN ARRAY tokens LOOP
		INSERT INTO known SELECT who || ' ' || said, payment_method_id FROM billing.add_payment_method(who, 'collect_gateway', 'card', 'tok_' || said);
	END LOOP;
	INSERT INTO known SELECT who::text, subscription_id FROM billing.subscribe(who, 'collect_pro') RETURNING name INTO started;
	RETURN started;
END $$;
CREATE TEMP VIEW tried AS SELECT a.tenant_id, a.attempt_no AS n, a.retry_no AS r, a.status, k.name AS method, a.gateway, a.code, a.class, a.retry_at, p.status AS payment
FROM billing.collection_attempt a LEFT JOIN known k ON k.id = a.payment_method_id
LEFT JOIN billing.payment p ON p.tenant_id = a.tenant_id AND p.invoice_id = a.invoice_id AND p.attempt_no = a.attempt_no AND p.retry_no = a.retry_no
WHERE a.tenant_id BETWEEN 42301 AND 42399 ORDER BY a.tenant_id, a.invoice_id, a.attempt_no, a.retry_no;
CREATE TEMP VIEW owed AS SELECT v.tenant_id, v.status, v.amount_due, s.status AS subscription FROM billing.invoice v
JOIN billing.subscription s USING (tenant_id, subscription_id) WHERE v.tenant_id BETWEEN 42301 AND 42399 ORDER BY v.tenant_id, v.invoice_id;
CREATE TEMP VIEW method AS SELECT k.name, m.status, m.is_default, m.failure_code FROM billing.payment_method m JOIN known k ON k.id = m.payment_method_id
WHERE m.tenant_id BETWEEN 42301 AND 42399 ORDER BY m.tenant_id, m.payment_method_id;

SET billing.test_clock = '2026-03-01T00:00:00Z';
SELECT pg_temp.set_up(42301, 'ok');
SELECT pg_temp.set_up(42302, 'declined_poor', 'ok_2');
SELECT pg_temp.set_up(42303, 'declined_stolen', 'ok_2');
SELECT pg_temp.set_up(42304, 'declined_stolen');
SELECT pg_temp.set_up(42305, 'processing');
SELECT pg_temp.set_up(42306, 'requires_action');
SELECT pg_temp.set_up(42307, 'declined_no_yen', 'ok_2');
SELECT tenant_id, billing.collection_method(tenant_id, invoice_id) = m.payment_method_id AS is_default FROM billing.invoice v JOIN billing.payment_method m USING (tenant_id)
WHERE v.tenant_id BETWEEN 42301 AND 42399 AND m.is_default ORDER BY 1;
-- One whose only method is a bank transfer is asked for nothing.
SELECT billing.create_tenant(42308, 'Transfer')::text <> '' AS created;
SELECT status, is_default FROM billing.add_payment_method(42308, 'collect_gateway', 'bank_transfer', NULL);
INSERT INTO known SELECT '42308', subscription_id FROM billing.subscribe(42308, 'collect_pro');

-- At the due date, which is at once: within a minute, of who has something to pay by; of the others when dunning comes to them.
SELECT billing.collect_invoices_due_at() <= billing.now() AS is_due, billing.collect_invoices() >= 7 AS looked, billing.collect_invoices();
SELECT * FROM tried;
SELECT billing.dunning() > 0 AS looked, billing.dunning();
SELECT * FROM tried WHERE tenant_id = 42308;
SELECT * FROM owed;
SELECT * FROM method;
SELECT tenant_id, status, count(*), sum(amount) FROM billing.payment WHERE tenant_id BETWEEN 42301 AND 42399 GROUP BY 1, 2 ORDER BY 1, 2;

-- What is asked for again: insufficient funds in two days, by the same; the stolen one never.
SET billing.test_clock = '2026-03-03T00:00:00Z';
SELECT billing.retry_payments() > 0 AS looked;
SELECT * FROM tried WHERE tenant_id IN (42302, 42304);
-- Another default: what is unpaid is collected with it, at once; the subscription keeps its own for what comes.
SELECT is_default FROM billing.set_default_payment_method(42302, pg_temp.id('42302 ok_2'));
SELECT * FROM tried WHERE tenant_id = 42302;
SELECT is_default FROM billing.set_default_payment_method(42307, pg_temp.id('42307 ok_2'));
SELECT * FROM tried WHERE tenant_id = 42307;
SELECT * FROM owed WHERE tenant_id IN (42302, 42307);
SELECT k.name AS own FROM billing.subscription s JOIN known k ON k.id = s.payment_method_id WHERE s.tenant_id = 42302;
-- A method for who had none left.
INSERT INTO known SELECT '42304 ok', payment_method_id FROM billing.add_payment_method(42304, 'collect_gateway', 'card', 'tok_ok');
SELECT * FROM tried WHERE tenant_id = 42304;
SELECT * FROM owed WHERE tenant_id = 42304;

-- What was under way came, when the gateway is asked.
SELECT (billing.resync_payment(42305, pay_no)).status FROM billing.payment WHERE tenant_id = 42305;
SELECT * FROM tried WHERE tenant_id = 42305;

-- The next period: who has an own method that is good pays by that, the one whose own has failed by the default.
SET billing.test_clock = '2026-04-01T00:00:00Z';
CALL billing.bill_due();
SELECT billing.dunning() > 0 AS looked;
SELECT * FROM tried WHERE tenant_id IN (42301, 42302, 42303, 42304, 42307) AND payment IS NOT NULL AND n = 0 AND r = 0;
-- A person says that it is worth it to try again, by what has failed for good for this invoice, if there is nothing else.
SELECT status, class FROM billing.collection_attempt WHERE tenant_id = 42307 ORDER BY invoice_id DESC, attempt_no DESC, retry_no DESC LIMIT 1;
SELECT status FROM billing.retry_payment(42302, (SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = 42302));
SELECT * FROM tried WHERE tenant_id = 42302;
SELECT * FROM owed WHERE status <> 'paid';

-- Another default before the first attempt: what was issued is unpaid, too; what is issued then is paid by the subscription's own.
SELECT pg_temp.set_up(42309, 'ok', 'ok_2');
SET billing.test_clock = '2026-04-01T00:00:30Z';
SELECT is_default FROM billing.set_default_payment_method(42309, pg_temp.id('42309 ok_2'));
SELECT * FROM tried WHERE tenant_id = 42309;
SELECT billing.collect_invoices() > 0 AS looked;
SET billing.test_clock = '2026-05-01T00:00:00Z';
CALL billing.bill_due();
SELECT billing.dunning() > 0 AS looked;
SELECT * FROM tried WHERE tenant_id = 42309;

-- Who chooses a bank transfer is charged by nothing else for that.
SELECT pg_temp.set_up(42310, 'declined_poor');
SELECT billing.collect_invoices() > 0 AS looked;
SET billing.test_clock = '2026-05-01T00:01:00Z';
SELECT status, is_default FROM billing.add_payment_method(42310, 'collect_gateway', 'bank_transfer', NULL, true);
SELECT n, r, status, method, code FROM tried WHERE tenant_id = 42310;
-- Nor later; what is issued then is paid by the subscription's own.
SET billing.test_clock = '2026-05-04T00:00:00Z';
SELECT billing.retry_payments() > 0 AS looked, billing.dunning() > 0 AS tried;
SELECT n, r, status, method, code, payment FROM tried WHERE tenant_id = 42310;
SET billing.test_clock = '2026-06-01T00:00:00Z';
CALL billing.bill_due();
SELECT billing.dunning() > 0 AS looked;
SELECT n, r, status, method, code, payment FROM tried WHERE tenant_id = 42310;

-- What says that a card is gone for good ends it, whoever had it charged: nobody charges it again.
SELECT pg_temp.set_up(42311, 'declined_stolen', 'ok_2');
SELECT status, failure_code FROM billing.create_payment(42311, NULL, '5 USD', purpose => 'top_up', payment_method_id => pg_temp.id('42311 declined_stolen'));
SELECT * FROM method WHERE name LIKE '42311 %';
SELECT billing.collect_invoices() > 0 AS looked;
SELECT n, r, status, method, code FROM tried WHERE tenant_id = 42311;

-- A subscription that is paid by a bank transfer, whatever the default is.
SELECT pg_temp.set_up(42312, 'ok');
SELECT payment_method_id AS transfer FROM billing.add_payment_method(42312, 'collect_gateway', 'bank_transfer', NULL) \gset
SELECT status FROM billing.subscribe(42312, 'collect_pro', payment_method_id => :transfer);
SELECT billing.collect_invoices() > 0 AS looked;
SELECT n, r, status, method, code FROM tried WHERE tenant_id = 42312;

-- By whom a payment was disputed and lost, he is not charged for it again.
SELECT pg_temp.set_up(42313, 'ok');
SELECT billing.collect_invoices() > 0 AS looked;
CREATE FUNCTION pg_temp.lost(who bigint) RETURNS text LANGUAGE sql AS $$
	SELECT r.status FROM (SELECT extract(epoch FROM clock_timestamp())::bigint::text AS at, format('{"id":"lost","type":"dispute.lost","pay_no":"%s","amount":"10.00 USD","reference":"dp"}', p.pay_no) AS body
			FROM billing.payment p WHERE p.tenant_id = who) m,
		billing.receive_callback('collect_gateway', jsonb_build_object('Billing-Timestamp', m.at, 'Billing-Signature',
			encode(sha256(decode(repeat('3d', 64), 'hex') || sha256(decode(repeat('57', 64), 'hex') || convert_to(m.at || '.' || m.body, 'UTF8'))), 'hex')), convert_to(m.body, 'UTF8')) r;
$$;
SELECT (billing.update_gateway('collect_gateway', jsonb_build_object('credentials', jsonb_build_object('callback_secret', repeat('a', 64))))).code;
SELECT pg_temp.lost(42313);
SELECT status, amount_due FROM billing.invoice WHERE tenant_id = 42313;
SET billing.test_clock = '2026-06-05T00:00:00Z';
SELECT billing.collect_invoices() > 0 AS looked, billing.dunning() > 0 AS tried;
SELECT n, r, status, method, code, payment FROM tried WHERE tenant_id = 42313;
INSERT INTO known SELECT '42313 ok_2', payment_method_id FROM billing.add_payment_method(42313, 'collect_gateway', 'card', 'tok_ok_2', true);
SELECT n, r, status, method, code, payment FROM tried WHERE tenant_id = 42313;

-- Nothing twice, nothing lost.
SELECT tenant_id, count(*) FILTER (WHERE p.status = 'succeeded') AS paid, count(DISTINCT p.invoice_id) FILTER (WHERE p.status = 'succeeded') AS invoices
FROM billing.payment p WHERE tenant_id BETWEEN 42301 AND 42399 GROUP BY 1 ORDER BY 1;
SELECT f.* FROM generate_series(42301, 42313) t, billing.audit(t) f;
