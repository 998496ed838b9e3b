-- Promise: whatever a gateway tells of payments, twice, late and in any order, among what people say and do, each payment comes at most
-- once, is taken back at most once, and ledger, invoices and wallets are what a second reckoning of the same facts says.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SET LOCAL timezone = 'UTC';
SET LOCAL billing.test_clock = '2026-01-10T00:00:00Z';

SELECT plan(11);
SELECT setseed(0.61);

INSERT INTO billing.gateway (code, driver, settings) VALUES ('pay_prop', 'manual', '{}');
SELECT billing.update_gateway('pay_prop', jsonb_build_object('credentials', jsonb_build_object('callback_secret', repeat('a', 64)))) IS NOT NULL;

-- A callback of the manual gateway, signed with a secret of 64 times a: HMAC-SHA256 by hand.
CREATE FUNCTION pg_temp.tell(id text, type text, pay_no text, amount text, more text DEFAULT '') RETURNS int LANGUAGE sql AS $$
	SELECT r.status FROM (SELECT extract(epoch FROM clock_timestamp())::bigint::text AS at,
			format('{"id":"%s","type":"%s","pay_no":"%s","amount":"%s"%s}', id, type, pay_no, amount, more) AS body) m,
		billing.receive_callback('pay_prop', jsonb_build_object('Billing-Timestamp', m.at, 'Billing-Signature',
			encode(sha256(decode(repeat('3d', 64), 'hex') || sha256(decode(repeat('57', 64), 'hex') || convert_to(m.at || '.' || m.body, 'UTF8'))), 'hex')),
			convert_to(m.body, 'UTF8')) r
$$;

-- 240 tenants, an invoice of 100 each; of every third one the excess goes back.
SELECT count(billing.create_tenant(9971000 + i, 'Property', 'USD', details => CASE WHEN i % 3 = 0 THEN '{"settings": {"overpayment": "refund"}}'::jsonb ELSE '{}' END)) FROM generate_series(1, 240) i;
CREATE TEMPORARY TABLE bill AS
SELECT t AS tenant_id, (SELECT v.invoice_id FROM billing.create_invoice(t, 'prop', '[{"description": "Work", "amount": "100.00 USD"}]') v) AS invoice_id
FROM generate_series(9971001, 9971240) t;

-- Payments: up to three of the invoice, one behind the other, of all that is due or a part, and a top-up.
CREATE TEMPORARY TABLE asked (tenant_id bigint, n int, pay_no text, units int, is_top_up boolean, fate text, has_fee boolean);
INSERT INTO asked
SELECT b.tenant_id, n, b.tenant_id || '_p' || n || '__', CASE WHEN n = 4 OR random() < 0.4 THEN 1 + floor(random() * 99)::int ELSE 100 END, n = 4,
	(ARRAY['none', 'reversed', 'open', 'won', 'lost'])[1 + floor(random() * CASE WHEN (b.tenant_id - 9971000) % 3 <> 0 THEN 5 ELSE 2 END)::int], random() < 0.5
FROM bill b, generate_series(1, 4) n WHERE n IN (1, 4) OR random() < 0.6;

-- What is told and done, of each payment in an order of its own: each of it once or twice, and not all of it always.
CREATE TEMPORARY TABLE step AS
SELECT a.*, k.kind, k.id, row_number() OVER (PARTITION BY a.tenant_id ORDER BY a.n, random()) AS place, random() AS late
FROM asked a
CROSS JOIN LATERAL (
	SELECT kind, id FROM (
		SELECT 'succeeded' AS kind, 's1' AS id UNION ALL SELECT 'succeeded', 's1' UNION ALL SELECT 'succeeded', 's2' UNION ALL SELECT 'failed', 'f1'
		UNION ALL SELECT 'cancel', 'c' UNION ALL SELECT 'confirm', 'c' UNION ALL SELECT 'reversed', 'r1' UNION ALL SELECT 'reversed', 'r2'
		UNION ALL SELECT 'opened', 'o1' UNION ALL SELECT 'opened', 'o2' UNION ALL SELECT 'closed', 'd1' UNION ALL SELECT 'closed', 'd2'
		UNION ALL SELECT 'refund', 'b' UNION ALL SELECT 'record', 'm' UNION ALL SELECT 'give_up', 'g' UNION ALL SELECT 'void', 'v'
	) k
	WHERE CASE WHEN k.kind = 'reversed' THEN a.fate = 'reversed' WHEN k.kind = 'opened' THEN a.fate IN ('open', 'won', 'lost') WHEN k.kind = 'closed' THEN a.fate IN ('won', 'lost')
		WHEN k.kind = 'refund' THEN random() < 0.6 WHEN k.kind IN ('record', 'give_up', 'void') THEN random() < 0.2 AND NOT a.is_top_up ELSE random() < 0.5 END AND random() < 0.8 + a.n * 0
) k;

CREATE FUNCTION pg_temp.run(s step) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	invoice bigint := (SELECT b.invoice_id FROM bill b WHERE b.tenant_id = s.tenant_id);
	amount text := s.units || '.00 USD';
	event text := s.pay_no || s.id;
BEGIN
	CASE s.kind
		WHEN 'succeeded' THEN PERFORM pg_temp.tell(event, 'payment.succeeded', s.pay_no, amount, CASE WHEN s.has_fee AND s.id = 's1' THEN ',"fee":"0.30 USD"' ELSE '' END);
		WHEN 'failed' THEN PERFORM pg_temp.tell(event, 'payment.failed', s.pay_no, amount);
		WHEN 'reversed' THEN PERFORM pg_temp.tell(event, 'payment.reversed', s.pay_no, amount);
		WHEN 'opened' THEN PERFORM pg_temp.tell(event, 'dispute.opened', s.pay_no, amount, format(',"reference":"dp_%s"', s.pay_no));
		WHEN 'closed' THEN PERFORM pg_temp.tell(event, 'dispute.' || s.fate, s.pay_no, amount, format(',"reference":"dp_%s"', s.pay_no));
		WHEN 'confirm' THEN PERFORM billing.confirm_payment(s.tenant_id, s.pay_no);
		WHEN 'cancel' THEN PERFORM billing.cancel_payment(s.tenant_id, s.pay_no);
		-- A part of it: behind that the bank takes it a second time; behind a dispute or a reversal there is nothing left to go back.
		WHEN 'refund' THEN
			PERFORM billing.refund_payment(s.tenant_id, s.pay_no, (1 + s.units / 3 || ' USD')::billing.amount, refund_no => s.pay_no || 'b');
			PERFORM billing.record_refund(s.tenant_id, s.pay_no || 'b');
		WHEN 'record' THEN PERFORM billing.record_payment(s.tenant_id, invoice, (SELECT v.amount_due + CASE WHEN s.late < 0.3 THEN '7 USD' ELSE '0 USD' END::billing.amount FROM billing.invoice v WHERE v.tenant_id = s.tenant_id AND v.invoice_id = invoice), s.pay_no || 'cash');
		WHEN 'give_up' THEN PERFORM billing.mark_uncollectible(s.tenant_id, invoice);
		WHEN 'void' THEN PERFORM billing.void_invoice(s.tenant_id, invoice);
	END CASE;
-- What is refused - the invoice is paid, the payment has come - changes nothing.
EXCEPTION WHEN SQLSTATE 'YB003' OR SQLSTATE 'YB004' OR SQLSTATE '22023' THEN
	NULL;
END $$;

-- All of it: payments in order, their steps mixed with those of later ones.
CREATE TEMPORARY TABLE made (pay_no text PRIMARY KEY);
CREATE TEMPORARY TABLE failure (pay_no text, kind text, state text, message text);
DO $$
DECLARE
	a asked;
	s step;
BEGIN
	FOR a IN SELECT * FROM asked ORDER BY tenant_id, n LOOP
		BEGIN
			PERFORM billing.create_payment(a.tenant_id, CASE WHEN NOT a.is_top_up THEN (SELECT b.invoice_id FROM bill b WHERE b.tenant_id = a.tenant_id) END,
				(a.units || ' USD')::billing.amount, a.pay_no, 'pay_prop', 'bank_transfer', purpose => CASE WHEN a.is_top_up THEN 'top_up' ELSE 'invoice' END);
			INSERT INTO made VALUES (a.pay_no);
		EXCEPTION WHEN SQLSTATE 'YB004' OR SQLSTATE '22023' THEN
			NULL;
		END;
		FOR s IN SELECT * FROM step t WHERE t.tenant_id = a.tenant_id AND t.n = a.n AND t.late < 0.6 AND EXISTS (SELECT FROM made m WHERE m.pay_no = t.pay_no) ORDER BY t.place LOOP
			BEGIN
				PERFORM pg_temp.run(s);
			EXCEPTION WHEN OTHERS THEN
				INSERT INTO failure VALUES (s.pay_no, s.kind, SQLSTATE, SQLERRM);
			END;
		END LOOP;
	END LOOP;
	FOR s IN SELECT t.* FROM step t JOIN made m USING (pay_no) WHERE t.late >= 0.6 ORDER BY t.late LOOP
		BEGIN
			PERFORM pg_temp.run(s);
		EXCEPTION WHEN OTHERS THEN
			INSERT INTO failure VALUES (s.pay_no, s.kind, SQLSTATE, SQLERRM);
		END;
	END LOOP;
END $$;
SELECT is_empty('SELECT * FROM failure', 'nothing fails but what is refused');
SELECT is_empty('SELECT * FROM billing.audit()', 'no invariant is broken');
SELECT is_empty('SELECT * FROM billing.verify_all()', 'every invoice is what it was calculated to be');

-- The second reckoning: what was told of a payment at any time, in whatever order.
CREATE TEMPORARY TABLE fact AS
SELECT a.tenant_id, a.pay_no, a.units * 100 AS units, a.fate, a.is_top_up,
	coalesce(bool_or(s.kind IN ('succeeded', 'confirm', 'reversed', 'opened', 'closed')), false) AS has_come,
	coalesce(bool_or(s.kind = 'reversed' OR s.kind = 'closed' AND a.fate = 'lost'), false) AS is_gone,
	coalesce(bool_or(s.kind = 'opened'), false) AND NOT coalesce(bool_or(s.kind = 'closed'), false) AS is_disputed,
	coalesce(bool_or(s.kind = 'succeeded' AND s.id = 's1' AND a.has_fee), false) AS has_fee
FROM asked a JOIN made m USING (pay_no) LEFT JOIN step s USING (pay_no)
GROUP BY a.tenant_id, a.pay_no, a.units, a.fate, a.is_top_up;
SELECT set_eq('SELECT pay_no FROM billing.payment WHERE gateway = ''pay_prop'' AND received_at IS NOT NULL', 'SELECT pay_no FROM fact WHERE has_come', 'what came has come, in whatever order it was told');
SELECT set_eq('SELECT pay_no FROM billing.payment WHERE gateway = ''pay_prop'' AND status = ''reversed''', 'SELECT pay_no FROM fact WHERE is_gone', 'and what was taken back is');
SELECT set_eq('SELECT p.pay_no FROM billing.dispute d JOIN billing.payment p USING (tenant_id, payment_id) WHERE d.status = ''open''', 'SELECT pay_no FROM fact WHERE is_disputed', 'what is disputed is open until somebody has won');
SELECT set_eq($$SELECT pay_no FROM billing.payment WHERE gateway = 'pay_prop' AND fee IS NOT NULL$$, 'SELECT pay_no FROM fact WHERE has_fee', 'a fee is known once it was told');

CREATE TEMPORARY TABLE book AS
SELECT e.tenant_id, sum(billing.minor_units(e.amount)) FILTER (WHERE e.account = 'cash') AS cash,
	coalesce(sum(billing.minor_units(e.amount)) FILTER (WHERE e.account = 'fees'), 0) AS fees,
	coalesce(sum(billing.minor_units(e.amount)) FILTER (WHERE e.account = 'disputed'), 0) AS disputed
FROM billing.ledger_entry e WHERE e.tenant_id BETWEEN 9971001 AND 9971240 GROUP BY e.tenant_id;
CREATE TEMPORARY TABLE reckoned AS
SELECT f.tenant_id, sum(f.units) FILTER (WHERE f.has_come AND NOT f.is_gone) AS here, coalesce(sum(30) FILTER (WHERE f.has_fee), 0) AS fees,
	coalesce(sum(f.units) FILTER (WHERE f.is_disputed), 0) AS disputed
FROM fact f GROUP BY f.tenant_id;
SELECT is_empty($$SELECT r.tenant_id, r.here, r.fees, r.disputed, b.* FROM reckoned r LEFT JOIN book b USING (tenant_id)
	LEFT JOIN (SELECT p.tenant_id, sum(billing.minor_units(p.amount)) AS units FROM billing.payment p WHERE p.gateway IS NULL GROUP BY p.tenant_id) c USING (tenant_id)
	LEFT JOIN (SELECT f.tenant_id, sum(billing.minor_units(f.amount)) AS units FROM billing.refund f WHERE f.status = 'succeeded' GROUP BY f.tenant_id) w USING (tenant_id)
	WHERE coalesce(b.cash, 0) <> coalesce(r.here, 0) + coalesce(c.units, 0) - coalesce(w.units, 0) - r.fees - r.disputed OR coalesce(b.fees, 0) <> r.fees OR coalesce(b.disputed, 0) <> r.disputed$$,
	'cash is what came, less what went, went back, is disputed and what the gateway kept');
SELECT is_empty($$SELECT * FROM billing.trial_balance b JOIN reckoned USING (tenant_id) WHERE b.account = 'receivable' AND billing.minor_units(b.balance) < 0$$, 'nobody owes less than nothing');
SELECT is_empty($$SELECT v.* FROM billing.invoice v JOIN bill b USING (tenant_id, invoice_id) WHERE billing.minor_units(v.paid) > billing.minor_units(v.total)$$, 'no invoice is paid twice');
-- What there was of it all: the promises above are of something.
SELECT is_empty($$SELECT * FROM (SELECT 'taken back' AS what, count(*) AS n FROM fact WHERE is_gone
	UNION ALL SELECT 'disputed', count(*) FROM fact WHERE is_disputed
	UNION ALL SELECT 'never came', count(*) FROM fact WHERE NOT has_come
	UNION ALL SELECT 'excess', count(*) FROM billing.payment WHERE tenant_id BETWEEN 9971001 AND 9971240 AND billing.minor_units(excess) > 0
	UNION ALL SELECT 'lost though it had gone', count(*) FROM billing.dispute d WHERE d.status = 'lost' AND d.refunded IS NOT NULL
	UNION ALL SELECT 'held though it had gone', count(*) FROM billing.dispute d WHERE d.status = 'open' AND d.refunded IS NOT NULL
	UNION ALL SELECT 'taken though it had gone', count(*) FROM billing.payment p WHERE p.lost IS NOT NULL
	UNION ALL SELECT 'recorded beyond what was due', count(*) FROM billing.payment WHERE tenant_id BETWEEN 9971001 AND 9971240 AND gateway IS NULL AND billing.minor_units(excess) > 0
	UNION ALL SELECT 'refund', count(*) FROM billing.refund WHERE tenant_id BETWEEN 9971001 AND 9971240
	UNION ALL SELECT v.status, count(*) FROM billing.invoice v WHERE v.tenant_id BETWEEN 9971001 AND 9971240 GROUP BY v.status) x WHERE n < 3$$, 'each of these was met');
SELECT * FROM finish();
ROLLBACK;
