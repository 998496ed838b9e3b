-- Promise: whatever is refunded of payments of invoices with any taxes and discounts, and of credit that was bought, in parts of any size, to the
-- method or the wallet, with a credit note or reopening, comes to the amount asked for to the smallest unit, never more than is there, and
-- invoices, notes, wallets and ledger agree.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SET LOCAL billing.test_clock = '2026-03-01T12:00:00Z';

SELECT plan(15);

SELECT setseed(0.41);

INSERT INTO billing.tax_rate (code, name, percent, is_inclusive, country, region, category) VALUES ('added', 'Added', 8.875, false, NULL, NULL, NULL),
	('a-country', 'Country', 5, false, 'AA', NULL, NULL), ('a-region', 'Region', 9.975, false, 'AA', 'R', NULL), ('a-book', 'Books', 1.65, true, 'AA', 'R', 'book'),
	('a-all', 'Included', 19, true, 'AA', NULL, 'book');
SELECT count(billing.create_tenant(9850 + t, 'Refunds ' || t, (ARRAY['USD', 'JPY', 'KWD'])[1 + t % 3],
	details => (ARRAY['{}', '{"tax_rate": "added"}', '{"address": {"country": "AA", "region": "R"}}'])[least(1 + t / 2, 3)]::jsonb)) FROM generate_series(1, 6) AS t;
-- Lines with a discount, as coupons give them.
CREATE FUNCTION pg_temp.discount(tenant bigint, invoice bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	made billing.composition;
BEGIN
	UPDATE billing.invoice_item SET discount = amount * trunc(random()::numeric, 3) WHERE tenant_id = tenant AND invoice_id = invoice AND billing.minor_units(amount) > 0;
	made := pg_temp.composed(tenant, invoice);
	IF billing.minor_units(made.excess) > 0 THEN
		UPDATE billing.invoice_item SET discount = amount - amount WHERE tenant_id = tenant AND invoice_id = invoice;
		made := pg_temp.composed(tenant, invoice);
	END IF;
	UPDATE billing.invoice_item SET tax = made.line_taxes[line], tax_included = made.line_included[line] WHERE tenant_id = tenant AND invoice_id = invoice;
	UPDATE billing.invoice_tax SET base = made.tax_bases[line_no], amount = made.tax_amounts[line_no] WHERE tenant_id = tenant AND invoice_id = invoice;
	UPDATE billing.invoice i SET discount = made.discount, tax = made.tax, tax_included = made.tax_included, total = made.total, excess = made.excess
	WHERE i.tenant_id = tenant AND i.invoice_id = invoice;
END $$;
CREATE FUNCTION pg_temp.composed(tenant bigint, invoice bigint) RETURNS billing.composition LANGUAGE sql AS $$
	SELECT billing.compose(i.currency, (SELECT array_agg(n.amount ORDER BY n.line) FROM billing.invoice_item n WHERE n.tenant_id = tenant AND n.invoice_id = invoice),
		(SELECT array_agg(n.discount ORDER BY n.line) FROM billing.invoice_item n WHERE n.tenant_id = tenant AND n.invoice_id = invoice),
		(SELECT coalesce(array_agg(ROW(t.tax_rate, t.percent, t.is_inclusive, t.lines, t.note)::billing.applied_tax ORDER BY t.line_no), '{}')
			FROM billing.invoice_tax t WHERE t.tenant_id = tenant AND t.invoice_id = invoice))
	FROM billing.invoice i WHERE i.tenant_id = tenant AND i.invoice_id = invoice
$$;


-- A refund; where no parts come to it, the amounts that are named do, and nothing between them.
CREATE FUNCTION pg_temp.refund(tenant bigint, no text, amount billing.amount, destination text, reopen boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	more text;
	below text;
	made billing.refund;
BEGIN
	made := billing.refund_payment(tenant, no, amount, 'property', destination => destination, reopen => reopen);
	RETURN CASE WHEN amount IS NOT NULL AND made.amount <> amount THEN 'other amount' ELSE '00000' END;
EXCEPTION WHEN invalid_parameter_value THEN
	GET STACKED DIAGNOSTICS more = PG_EXCEPTION_DETAIL;
	below := substring(more FROM 'below=([0-9.]+ [A-Z]+)');
	IF more NOT LIKE '%below=%' THEN
		RETURN 'argument';
	ELSIF below IS NULL THEN
		RETURN 'nothing below';
	ELSIF below::billing.amount >= substring(more FROM ' amount=([0-9.]+ [A-Z]+)')::billing.amount
		OR substring(more FROM 'above=([0-9.]+ [A-Z]+)')::billing.amount <= substring(more FROM ' amount=([0-9.]+ [A-Z]+)')::billing.amount THEN
		RETURN 'not around it';
	END IF;
	PERFORM billing.refund_payment(tenant, no, below::billing.amount, 'property', destination => destination, reopen => reopen);
	RETURN 'below';
END $$;
-- One random call; gives its SQLSTATE, or what the refund came to.
CREATE FUNCTION pg_temp.act(step int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	tenant bigint := 9851 + floor(random() * 6);
	invoice billing.invoice;
	payment billing.payment;
	refund text;
	what float := random();
BEGIN
	SELECT * INTO invoice FROM billing.invoice i WHERE i.tenant_id = tenant AND i.status <> 'draft' ORDER BY random() LIMIT 1;
	SELECT * INTO payment FROM billing.payment p WHERE p.tenant_id = tenant ORDER BY p.status <> 'succeeded', random() LIMIT 1;
	CASE
		WHEN what < 0.15 OR invoice.invoice_id IS NULL THEN
			invoice := billing.create_invoice(tenant, 'p' || step, (SELECT jsonb_agg(jsonb_build_object('description', 'Line ' || l, 'quantity', 1,
				'unit_amount', round((random() * 100 - 4)::numeric, 3), 'tax_category', CASE WHEN random() < 0.6 THEN 'book' END)) FROM generate_series(1, 1 + floor(random() * random() * 4)::int) l), finalize => false);
			PERFORM pg_temp.discount(tenant, invoice.invoice_id);
			PERFORM billing.finalize_invoice(tenant, invoice.invoice_id);
		WHEN what < 0.35 THEN PERFORM billing.record_payment(tenant, invoice.invoice_id,
			CASE WHEN random() < 0.6 THEN invoice.amount_due ELSE invoice.amount_due * round(random()::numeric, 2) END, 'p' || step);
		WHEN what < 0.38 THEN PERFORM billing.top_up(tenant, billing.from_minor_units(1 + floor(random() * 9000)::bigint, invoice.currency), 't' || step);
		WHEN what < 0.41 THEN PERFORM billing.consume(tenant, billing.from_minor_units(1 + floor(random() * 900)::bigint, invoice.currency), 'calls', 'c' || step);
		WHEN what < 0.44 THEN PERFORM billing.issue_credit_note(tenant, invoice.invoice_id, destination => (ARRAY['wallet', 'refund'])[1 + floor(random() * 2)]);
		WHEN what < 0.47 THEN PERFORM billing.mark_uncollectible(tenant, invoice.invoice_id);
		WHEN what < 0.85 THEN RETURN pg_temp.refund(tenant, payment.pay_no,
			CASE WHEN random() < 0.7 THEN payment.amount * round((random() * random())::numeric, 4) END,
			CASE WHEN payment.purpose = 'top_up' OR random() < 0.7 THEN 'method' ELSE 'wallet' END, payment.purpose <> 'top_up' AND random() < 0.2);
		ELSE
			SELECT r.refund_no INTO refund FROM billing.refund r WHERE r.tenant_id = tenant AND r.status = 'pending' ORDER BY random() LIMIT 1;
			CASE floor(random() * 4)
				WHEN 0 THEN PERFORM billing.fail_refund(tenant, refund);
				WHEN 1 THEN PERFORM billing.cancel_refund(tenant, refund);
				ELSE PERFORM billing.record_refund(tenant, refund);
			END CASE;
	END CASE;
	RETURN 'other';
EXCEPTION WHEN OTHERS THEN
	RETURN CASE WHEN SQLSTATE LIKE '23%' THEN SQLERRM || what ELSE SQLSTATE END;
END $$;
CREATE TEMPORARY TABLE act AS SELECT step, pg_temp.act(step) AS state FROM generate_series(1, 2500) AS step;
CREATE TEMPORARY VIEW mine AS SELECT * FROM billing.invoice WHERE tenant_id BETWEEN 9851 AND 9856;
CREATE TEMPORARY VIEW gone AS SELECT r.*, p.amount AS of_payment, p.purpose FROM billing.refund r JOIN billing.payment p USING (tenant_id, payment_id)
	WHERE r.tenant_id BETWEEN 9851 AND 9856;

SELECT ok(count(*) > 300, 'hundreds of refunds were made') FROM act WHERE state IN ('00000', 'below');
SELECT diag(string_agg(s.state || ' ' || s.n, ', ' ORDER BY s.n DESC)) FROM (SELECT state, count(*) AS n FROM act GROUP BY 1) s;
SELECT ok(count(*) > 2, 'some amounts have no parts that come to them, and the nearest below has') FROM act WHERE state = 'below';
SELECT is_empty($$ SELECT state, count(*) FROM act WHERE state NOT IN ('00000', 'below', 'nothing below', 'argument', 'other', '22004', '22023', 'YB001', 'YB003', 'YB004', 'YB008') GROUP BY 1 $$,
	'the others were refused with the SQLSTATEs that are documented');
SELECT ok(count(*) FILTER (WHERE cause = 'credit_note' AND destination = 'method') > 100 AND count(*) FILTER (WHERE cause = 'credit_note' AND destination = 'wallet') > 30
	AND count(*) FILTER (WHERE cause = 'reopening') > 30 AND count(*) FILTER (WHERE cause = 'top_up') > 10 AND count(DISTINCT status) = 4, 'of each kind') FROM gone;
SELECT is_empty($$ SELECT tenant_id, payment_id FROM gone WHERE status IN ('pending', 'succeeded') GROUP BY 1, 2, of_payment HAVING sum(amount) > of_payment $$,
	'no more goes back than was captured');
SELECT is_empty($$ SELECT r.refund_id FROM gone r JOIN billing.credit_note n USING (tenant_id, credit_note_id) WHERE r.reason = 'property'
	AND (n.total <> r.amount OR n.refunded <> r.amount) $$, 'a note that is issued for a refund is of its amount');
SELECT is_empty($$ SELECT refund_id FROM gone WHERE cause IN ('reopening', 'top_up') AND credit_note_id IS NOT NULL $$, 'no other has a note');
SELECT is_empty($$ SELECT refund_id FROM gone JOIN billing.credit_grant g USING (tenant_id, grant_id) WHERE g.amount <> gone.amount OR NOT g.is_paid $$,
	'what went to the wallet, or came to nothing, is credit of its amount');
SELECT is_empty($$ SELECT i.invoice_id FROM mine i JOIN (SELECT tenant_id, invoice_id, sum(total) AS total FROM billing.credit_note GROUP BY 1, 2) n USING (tenant_id, invoice_id)
	WHERE n.total > i.total $$, 'no invoice is taken back by more than it was');
SELECT is_empty($$ SELECT i.invoice_id FROM mine i WHERE billing.minor_units(i.amount_due) < 0 OR billing.minor_units(i.paid) < 0
	OR (i.status = 'paid') <> (billing.minor_units(i.amount_due) = 0) AND i.status IN ('open', 'paid') $$, 'an invoice is paid if nothing of it is due');
SELECT is_empty($$ SELECT f.* FROM mine i CROSS JOIN LATERAL billing.invoice_funds(i.tenant_id, i.invoice_id) f WHERE billing.minor_units(f.money) < 0
	OR billing.minor_units(f.creditable) < 0 $$, 'no more money was given back than had settled an invoice');
SELECT is_empty($$ SELECT e.tenant_id FROM billing.trial_balance e WHERE e.tenant_id BETWEEN 9851 AND 9856 AND account = 'cash' AND balance <>
	(SELECT sum(p.amount) FROM billing.payment p WHERE p.tenant_id = e.tenant_id)
	- coalesce((SELECT sum(r.amount) FROM gone r WHERE r.tenant_id = e.tenant_id AND r.status = 'succeeded' AND r.destination = 'method'), balance - balance) $$,
	'cash is what was received less what went back');
SELECT is_empty($$ SELECT p.payment_id FROM billing.payment p WHERE p.tenant_id BETWEEN 9851 AND 9856 AND (p.status = 'refunded') <>
	(p.amount = coalesce((SELECT sum(r.amount) FROM gone r WHERE r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id AND r.status = 'succeeded'
		AND r.destination = 'method'), p.amount - p.amount)) $$, 'a payment is refunded if all of it went back');
SELECT is_empty($$ SELECT currency, sum(net) FROM billing.transaction_history WHERE tenant_id BETWEEN 9851 AND 9856 GROUP BY 1
	EXCEPT SELECT currency, sum(balance) FROM billing.trial_balance WHERE tenant_id BETWEEN 9851 AND 9856 AND account = 'cash' GROUP BY 1 $$,
	'the history of transactions has what the ledger has as cash');
-- The discounts were made by hand, of no coupon, as the audit rightly says.
SELECT is_empty($$ SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9851 AND 9856
		AND invariant <> 'the discount of an invoice is what its coupons took off'
	UNION ALL SELECT problem, tenant_id, invoice_id::text, detail FROM billing.verify_all() WHERE tenant_id BETWEEN 9851 AND 9856 AND problem = 'credit_note' $$,
	'nothing is found by the audit, and every item follows from its line');

SELECT * FROM finish();
ROLLBACK;
