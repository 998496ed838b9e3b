-- Promise: whatever lowers an invoice (prices corrected afterwards, coupons, notes by hand) and however it is taxed and settled, a change, a pause
-- or a cancellation credits the unused time and is never refused for it; nothing is given back twice, and money, ledger and audit agree.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';

SELECT plan(7);

SELECT setseed(0.33);

INSERT INTO billing.tax_rate (code, name, percent, is_inclusive, country, category) VALUES ('added', 'Added', 8.875, false, NULL, NULL),
	('included', 'Included', 19, true, NULL, NULL), ('one', 'One', 5, false, 'XL', NULL), ('two', 'Two', 9.975, true, 'XL', 'book');
INSERT INTO billing.coupon (code, kind, value, currency, duration) VALUES ('PERCENT', 'percentage', 13.7, NULL, 'forever'), ('FIXED', 'fixed', 7.77, 'USD', 'forever');
INSERT INTO billing.plan (plan_id, code, name) SELECT 9900 + p, 'lowered-' || p, 'Plan ' || p FROM generate_series(1, 6) AS p;
INSERT INTO billing.price (plan_id, code, tariff, tax_category) SELECT 9900 + p, code, format('{"model":"flat","currency":"USD","amount":"%s"}', amount)::billing.tariff, category
FROM generate_series(1, 6) AS p, LATERAL (VALUES ('base', 10 + 7 * p, 'book'), ('more', 3 * p, NULL)) v (code, amount, category);
SELECT count(billing.create_tenant(9900 + t, 'Property ' || t,
	details => (ARRAY['{}', '{"tax_rate": "added"}', '{"tax_rate": "included"}', '{"address": {"country": "XL"}}'])[1 + t % 4]::jsonb)) FROM generate_series(1, 80) AS t;
SELECT count(billing.subscribe(9900 + t, 'lowered-' || 1 + floor(random() * 6))) FROM generate_series(1, 80) AS t;
CREATE TEMPORARY VIEW mine AS SELECT * FROM billing.subscription WHERE tenant_id BETWEEN 9901 AND 9980;
SELECT count(billing.apply_coupon(tenant_id, CASE WHEN random() < 0.5 THEN 'PERCENT' ELSE 'FIXED' END, subscription_id)) FROM mine WHERE random() < 0.5;
CREATE TEMPORARY TABLE act (step int, what text, state text, message text);

-- One random call, and what came of it.
CREATE FUNCTION pg_temp.act(step int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	s billing.subscription;
	i billing.invoice;
	choice float := random();
	what text;
BEGIN
	SELECT * INTO s FROM mine ORDER BY random() LIMIT 1;
	SELECT * INTO i FROM billing.invoice v WHERE v.tenant_id = s.tenant_id AND v.status <> 'draft' ORDER BY random() LIMIT 1;
	CASE
		WHEN choice < 0.25 THEN
			what := 'pay';
			PERFORM billing.record_payment(i.tenant_id, i.invoice_id, CASE WHEN random() < 0.6 THEN i.amount_due ELSE i.amount_due * 0.3 END, 'p' || step);
		WHEN choice < 0.35 THEN
			what := 'grant';
			PERFORM billing.grant_credit(s.tenant_id, '5 USD');
		WHEN choice < 0.42 THEN
			what := 'note';
			PERFORM billing.issue_credit_note(i.tenant_id, i.invoice_id, CASE WHEN random() > 0.3 THEN (SELECT jsonb_agg(jsonb_build_object('line', l.line,
				'amount', (l.creditable * round(random()::numeric * 0.3, 2))::text)) FROM billing.creditable_lines(i.tenant_id, i.invoice_id) l WHERE random() < 0.6) END,
				(ARRAY['wallet', 'refund', 'balance'])[1 + floor(random() * 3)]);
		WHEN choice < 0.55 THEN
			what := 'change';
			PERFORM billing.change_plan(s.tenant_id, s.subscription_id, 'lowered-' || 1 + floor(random() * 6), proration => (ARRAY['prorate', 'invoice_now'])[1 + floor(random() * 2)]);
		WHEN choice < 0.60 THEN
			what := 'pause';
			PERFORM billing.pause_subscription(s.tenant_id, s.subscription_id);
		WHEN choice < 0.69 THEN
			what := 'resume';
			PERFORM billing.resume_subscription(s.tenant_id, s.subscription_id);
		WHEN choice < 0.70 THEN
			what := 'cancel';
			PERFORM billing.cancel_subscription(s.tenant_id, s.subscription_id, 'now');
		ELSE
			what := 'rerate';
			PERFORM billing.rerate((SELECT p.code FROM billing.plan p WHERE p.plan_id = s.plan_id), 'base',
				format('{"model":"flat","currency":"USD","amount":"%s"}', round((random() * 12)::numeric, 2))::billing.tariff,
				tstzrange(date_trunc('month', billing.now()), date_trunc('month', billing.now()) + interval '1 month'), s.tenant_id);
	END CASE;
	INSERT INTO act VALUES (step, what, '00000', NULL);
EXCEPTION WHEN OTHERS THEN
	INSERT INTO act VALUES (step, what, SQLSTATE, SQLERRM);
END $$;
DO $$
BEGIN
	FOR round IN 1..45 LOOP
		PERFORM set_config('billing.test_clock', to_char('2026-01-03Z'::timestamptz + round * interval '2 days 5 hours', 'YYYY-MM-DD"T"HH24:MI:SSOF'), true);
		CALL billing.bill_due();
		PERFORM pg_temp.act(20 * round + n) FROM generate_series(1, 20) AS n;
	END LOOP;
END $$;
CREATE TEMPORARY VIEW note AS SELECT * FROM billing.credit_note WHERE tenant_id BETWEEN 9901 AND 9980;

SELECT ok(count(*) > 100 AND count(*) FILTER (WHERE billing.minor_units(offset_by_lines) > 0) > 10, 'there are credits of both kinds') FROM note;
SELECT is_empty($$ SELECT what, message FROM act WHERE what IN ('change', 'pause', 'cancel') AND state NOT IN ('00000', 'YB004') $$,
	'no change, pause or cancellation is refused but for what the subscription is');
SELECT is_empty($$ SELECT what, message FROM act WHERE what NOT IN ('change', 'pause', 'cancel') AND state NOT IN ('00000', '22023', 'YB003', 'YB004') $$,
	'the others are refused with the SQLSTATEs that are documented');
SELECT is_empty($$ SELECT v.tenant_id, v.invoice_id, f FROM billing.invoice v, billing.invoice_funds(v.tenant_id, v.invoice_id) f
	WHERE v.tenant_id BETWEEN 9901 AND 9980 AND v.status NOT IN ('draft', 'void')
	  AND '0 USD' > ANY (ARRAY[f.creditable, f.money, f.promotional, f.refundable, f.offset_by_lines]) $$, 'what is left of an invoice is never below nothing');
SELECT is_empty($$ SELECT tenant_id, invoice_id FROM billing.invoice v JOIN (SELECT tenant_id, invoice_id, sum(total) AS total, sum(offset_by_lines) AS by_lines FROM note GROUP BY 1, 2) n
		USING (tenant_id, invoice_id)
	WHERE n.total - n.by_lines > v.total OR n.total > (SELECT sum(l.amount - l.discount + l.tax - coalesce(l.tax_included, l.tax - l.tax)) FROM billing.invoice_item l
		WHERE l.tenant_id = v.tenant_id AND l.invoice_id = v.invoice_id AND billing.minor_units(l.amount) > 0) $$, 'no invoice is taken back by more than the lines that raise it');
SELECT is_empty($$ SELECT t.tenant_id FROM billing.trial_balance t WHERE t.tenant_id BETWEEN 9901 AND 9980 AND t.account = 'customer_credit'
	AND -t.balance <> coalesce((SELECT sum(g.balance) FROM billing.credit_grant g WHERE g.tenant_id = t.tenant_id AND g.is_paid), t.balance - t.balance)
		+ coalesce((SELECT sum(r.amount) FROM billing.refund r WHERE r.tenant_id = t.tenant_id AND r.status = 'pending'), t.balance - t.balance) $$,
	'what the ledger owes a tenant is its credit, and what is on its way back');
SELECT is_empty($$ SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9901 AND 9980
	UNION ALL SELECT problem, tenant_id, invoice_id::text, detail FROM billing.verify_all() WHERE tenant_id BETWEEN 9901 AND 9980 $$,
	'nothing is found by the audit, and every invoice and note follows from its sources');

SELECT * FROM finish();
ROLLBACK;
