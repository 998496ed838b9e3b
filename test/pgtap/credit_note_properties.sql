-- Promise: however an invoice is taken back, in parts of any size and order, before or after it is paid, its lines, discount
-- and each of its taxes are taken back exactly, never more, and money and ledger agree with what the notes say.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SET LOCAL billing.test_clock = '2026-03-01T12:00:00Z';

SELECT plan(21);

SELECT setseed(0.73);

INSERT INTO billing.tax_rate (code, name, percent, is_inclusive, country, region, category) VALUES ('added', 'Added', 8.875, false, NULL, NULL, NULL),
	('a-country', 'Country', 5, false, 'AA', NULL, NULL), ('a-region', 'Region', 9.975, false, 'AA', 'R', NULL), ('a-book', 'Books', 1.65, true, 'AA', 'R', 'book'),
	('a-all', 'Included', 19, true, 'AA', NULL, 'book');
SELECT count(billing.create_tenant(9800 + t, 'Property ' || t, (ARRAY['USD', 'JPY', 'KWD'])[1 + t % 3],
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

-- One random call; gives its SQLSTATE, 00000 if it went well.
CREATE FUNCTION pg_temp.act(step int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	tenant bigint := 9801 + floor(random() * 6);
	invoice billing.invoice;
	other billing.invoice;
	line record;
	refund text;
	what float := random();
	pays_other boolean;
BEGIN
	SELECT * INTO invoice FROM billing.invoice i WHERE i.tenant_id = tenant AND i.status <> 'draft' ORDER BY random() LIMIT 1;
	SELECT * INTO other FROM billing.invoice i WHERE i.tenant_id = tenant AND i.status = 'open' ORDER BY random() LIMIT 1;
	pays_other := coalesce(other.invoice_id <> invoice.invoice_id, false) AND random() < 0.3;
	SELECT l.line, l.creditable INTO line FROM billing.invoice v CROSS JOIN LATERAL billing.creditable_lines(v.tenant_id, v.invoice_id) l
	WHERE v.tenant_id = tenant AND v.invoice_id = invoice.invoice_id ORDER BY random() LIMIT 1;
	CASE
		WHEN what < 0.12 OR invoice.invoice_id IS NULL THEN
			invoice := billing.create_invoice(tenant, 'p' || step, (SELECT jsonb_agg(jsonb_build_object('description', 'Line ' || l, 'quantity', 1,
				'unit_amount', round((random() * 100 - 10)::numeric, 3), 'tax_category', CASE WHEN random() < 0.6 THEN 'book' END)) FROM generate_series(1, 1 + floor(random() * 4)::int) l), finalize => false);
			PERFORM pg_temp.discount(tenant, invoice.invoice_id);
			PERFORM billing.finalize_invoice(tenant, invoice.invoice_id);
		WHEN what < 0.25 THEN PERFORM billing.record_payment(tenant, invoice.invoice_id,
			CASE WHEN random() < 0.4 THEN invoice.amount_due ELSE invoice.amount_due * round(random()::numeric, 2) END, 'p' || step);
		WHEN what < 0.28 THEN PERFORM billing.mark_uncollectible(tenant, invoice.invoice_id);
		WHEN what < 0.30 THEN PERFORM billing.void_invoice(tenant, invoice.invoice_id);
		WHEN what < 0.37 THEN PERFORM billing.issue_credit_note(tenant, invoice.invoice_id, NULL, (ARRAY['wallet', 'balance', 'refund'])[1 + floor(random() * 3)]);
		WHEN what < 0.90 THEN PERFORM billing.issue_credit_note(tenant, invoice.invoice_id,
			jsonb_build_array(CASE WHEN random() < 0.1 THEN jsonb_build_object('line', line.line)
				ELSE jsonb_build_object('line', line.line, 'amount', (line.creditable * round(random()::numeric * 1.1, 2))::text) END),
			CASE WHEN pays_other THEN 'invoice' ELSE (ARRAY['wallet', 'balance', 'refund'])[1 + floor(random() * 3)] END,
			to_invoice_id => CASE WHEN pays_other THEN other.invoice_id END);
		ELSE
			SELECT r.refund_no INTO refund FROM billing.refund r WHERE r.tenant_id = tenant ORDER BY random() LIMIT 1;
			CASE floor(random() * 3)
				WHEN 0 THEN PERFORM billing.fail_refund(tenant, refund);
				WHEN 1 THEN PERFORM billing.cancel_refund(tenant, refund);
				ELSE PERFORM billing.record_refund(tenant, refund);
			END CASE;
	END CASE;
	RETURN '00000';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE TEMPORARY TABLE act AS SELECT step, pg_temp.act(step) AS state FROM generate_series(1, 3000) AS step;

CREATE TEMPORARY VIEW mine AS SELECT * FROM billing.invoice WHERE tenant_id BETWEEN 9801 AND 9806;
CREATE TEMPORARY VIEW note AS SELECT * FROM billing.credit_note WHERE tenant_id BETWEEN 9801 AND 9806;
CREATE TEMPORARY VIEW item AS SELECT * FROM billing.credit_note_item WHERE tenant_id BETWEEN 9801 AND 9806;
CREATE TEMPORARY VIEW tax AS SELECT * FROM billing.credit_note_tax WHERE tenant_id BETWEEN 9801 AND 9806;
-- Invoices of which every line was taken back.
CREATE TEMPORARY TABLE whole AS SELECT i.* FROM mine i
	WHERE EXISTS (SELECT FROM note n WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id)
	  AND NOT EXISTS (SELECT FROM billing.creditable_lines(i.tenant_id, i.invoice_id) l WHERE billing.minor_units(l.creditable) <> 0);

SELECT ok(count(*) > 1000, 'more than a thousand calls did something') FROM act WHERE state = '00000';
SELECT is_empty($$ SELECT state, count(*) FROM act WHERE state NOT IN ('00000', '22004', '22023', 'YB001', 'YB003', 'YB004') GROUP BY 1 $$,
	'the others were refused with the SQLSTATEs that are documented');
SELECT ok(count(*) > 300 AND count(*) FILTER (WHERE billing.minor_units(credited) > 0) > 50 AND count(*) FILTER (WHERE billing.minor_units(applied) > 0) > 5
	AND count(*) FILTER (WHERE billing.minor_units(refunded) > 0) > 5 AND count(*) FILTER (WHERE billing.minor_units(granted) > 0) > 5
	AND count(*) FILTER (WHERE billing.minor_units(discount) > 0) > 50 AND count(*) FILTER (WHERE billing.minor_units(tax_included) > 0) > 50, 'there are notes of each kind') FROM note;
SELECT is(count(DISTINCT status)::int, 4, 'there are refunds of each status') FROM billing.refund WHERE tenant_id BETWEEN 9801 AND 9806;
SELECT ok(count(*) > 20, 'some invoices are wholly taken back') FROM whole;

SELECT is_empty($$ SELECT tenant_id, invoice_id, invoice_line FROM item JOIN billing.invoice_item l USING (tenant_id, invoice_id) WHERE l.line = item.invoice_line
	GROUP BY tenant_id, invoice_id, invoice_line, l.amount
	HAVING abs(sum(item.amount)::numeric) > abs(l.amount::numeric) OR sign(sum(item.amount)::numeric) <> sign(l.amount::numeric) $$, 'no line is taken back by more than it was');
SELECT is_empty($$ SELECT tenant_id, invoice_id FROM mine i JOIN note n USING (tenant_id, invoice_id) GROUP BY tenant_id, invoice_id, i.total HAVING sum(n.total) > i.total $$,
	'no invoice is taken back by more than it was');
-- A part is what rounding the sum so far makes of it, in arithmetic of its own.
SELECT is_empty($$
	SELECT * FROM (
		SELECT c.*, l.discount AS of_discount, l.tax AS of_tax, l.amount AS of_amount,
			sum(c.amount::numeric) OVER w AS until, sum(c.discount::numeric) OVER w AS discount_until, sum(c.tax::numeric) OVER w AS tax_until,
			CASE billing.currency(c.amount) WHEN 'USD' THEN 2 WHEN 'JPY' THEN 0 ELSE 3 END AS digits
		FROM item c JOIN billing.invoice_item l ON l.tenant_id = c.tenant_id AND l.invoice_id = c.invoice_id AND l.line = c.invoice_line
		WINDOW w AS (PARTITION BY c.tenant_id, c.invoice_id, c.invoice_line ORDER BY c.credit_note_id, c.line)) s
	WHERE discount_until <> round(of_discount::numeric * until / of_amount::numeric, digits)
	   OR tenant_id NOT IN (9804, 9805, 9806) AND tax_until <> round(of_tax::numeric * until / of_amount::numeric, digits)
	   OR credited_before::numeric <> until - amount::numeric $$, 'what all parts of a line so far took of its discount and tax is their share, rounded once');
SELECT is_empty($$ SELECT i.invoice_id FROM whole i JOIN (SELECT tenant_id, invoice_id, sum(subtotal) AS subtotal, sum(discount) AS discount, sum(tax) AS tax, sum(total) AS total
	FROM note GROUP BY 1, 2) n USING (tenant_id, invoice_id) WHERE (n.subtotal, n.discount, n.tax, n.total) <> (i.subtotal, i.discount, i.tax, i.total) $$,
	'parts that add up to an invoice add up to its discount, tax and total');
SELECT ok(count(*) > 200 AND count(DISTINCT tax_rate) = 5 AND count(*) FILTER (WHERE line_no > 2) > 50, 'there are notes with several taxes') FROM tax;
SELECT is_empty($$ SELECT tenant_id, credit_note_id FROM note n WHERE (n.tax_count, n.tax::numeric, n.tax_included::numeric) IS DISTINCT FROM
	(SELECT (count(*)::int, coalesce(sum(t.amount)::numeric, 0), coalesce(sum(t.amount) FILTER (WHERE t.is_inclusive)::numeric, 0)) FROM tax t
		WHERE t.tenant_id = n.tenant_id AND t.credit_note_id = n.credit_note_id) $$, 'the taxes of a note add up to its tax');
SELECT is_empty($$ SELECT tenant_id, invoice_id, line_no FROM billing.invoice_tax i JOIN (SELECT tenant_id, invoice_id, invoice_line_no AS line_no, sum(amount)::numeric AS amount
	FROM tax GROUP BY 1, 2, 3) t USING (tenant_id, invoice_id, line_no) WHERE abs(t.amount) > abs(i.amount::numeric) OR t.amount * i.amount::numeric < 0 $$,
	'no tax is taken back by more than it was');
-- One that only lines of zero bear no note states.
SELECT is_empty($$ SELECT tenant_id, invoice_id, line_no, i.base, t.base, i.amount, t.amount FROM whole JOIN billing.invoice_tax i USING (tenant_id, invoice_id)
	LEFT JOIN (SELECT tenant_id, invoice_id, invoice_line_no AS line_no, sum(amount) AS amount, sum(base) AS base FROM tax GROUP BY 1, 2, 3) t USING (tenant_id, invoice_id, line_no)
	WHERE (i.amount, i.base) IS DISTINCT FROM (coalesce(t.amount, i.amount - i.amount), coalesce(t.base, i.base - i.base)) $$, 'parts that add up to an invoice add up to each of its taxes, and to what that is of');
SELECT is_empty($$ SELECT tenant_id, number FROM (SELECT tenant_id, number, row_number() OVER (PARTITION BY tenant_id ORDER BY credit_note_id) AS n FROM note) v
	WHERE number <> format('CN-%s-%s', tenant_id, lpad(n::text, 6, '0')) $$, 'numbers of a tenant have no gap');
SELECT is_empty($$ SELECT e.tenant_id, e.invoice_id, e.account FROM whole i JOIN billing.ledger_entry e USING (tenant_id, invoice_id)
	WHERE e.account IN ('revenue', 'deferred_revenue', 'tax_payable', 'receivable') GROUP BY 1, 2, 3 HAVING billing.minor_units(sum(e.amount)) <> 0 $$,
	'an invoice that is wholly taken back left nothing in revenue, tax and receivable');
SELECT is_empty($$ SELECT p.payment_id FROM billing.payment p JOIN billing.refund r USING (tenant_id, payment_id) WHERE tenant_id BETWEEN 9801 AND 9806
	AND r.status IN ('pending', 'succeeded') GROUP BY p.tenant_id, p.payment_id, p.amount HAVING sum(r.amount) > p.amount $$, 'no more goes back than was paid');
SELECT is_empty($$ SELECT i.invoice_id FROM mine i JOIN (SELECT tenant_id, invoice_id, sum(granted + applied + refunded) AS returned FROM note GROUP BY 1, 2) n USING (tenant_id, invoice_id)
	WHERE n.returned > i.paid + coalesce((SELECT sum(m.applied) FROM note m WHERE m.tenant_id = i.tenant_id AND m.to_invoice_id = i.invoice_id), i.paid - i.paid)
		+ coalesce((SELECT -sum(w.amount) FROM billing.wallet_entry w JOIN billing.credit_grant g USING (tenant_id, grant_id)
			WHERE w.tenant_id = i.tenant_id AND w.invoice_id = i.invoice_id AND w.kind IN ('draw', 'return') AND g.is_paid), i.paid - i.paid) $$,
	'only what was received for an invoice, or drawn of such credit, is owed to the tenant');
SELECT is_empty($$ SELECT e.tenant_id FROM billing.trial_balance e WHERE e.tenant_id BETWEEN 9801 AND 9806 AND account = 'cash' AND balance <> (SELECT sum(i.paid) FROM mine i WHERE i.tenant_id = e.tenant_id)
	- coalesce((SELECT sum(r.amount) FROM billing.refund r WHERE r.tenant_id = e.tenant_id AND r.status = 'succeeded'), balance - balance) $$, 'cash is what was received less what went back');
SELECT is_empty($$ SELECT r.tenant_id, r.revenue, r.deferred, l.revenue FROM billing.recognised_revenue('(,)') r
	JOIN (SELECT tenant_id, currency, -sum(balance) AS revenue FROM billing.trial_balance WHERE account IN ('revenue', 'deferred_revenue') GROUP BY 1, 2) l USING (tenant_id, currency)
	WHERE r.tenant_id BETWEEN 9801 AND 9806 AND (r.revenue <> l.revenue OR billing.minor_units(r.deferred) <> 0) $$, 'over all time what was earned is what the ledger has');
SELECT is_empty($$ SELECT t.tenant_id FROM billing.tenant t CROSS JOIN LATERAL (SELECT balance FROM billing.tenant_statement(t.tenant_id) WITH ORDINALITY
		AS s (at, kind, document, description, amount, balance, n) ORDER BY n DESC LIMIT 1) s
	WHERE t.tenant_id BETWEEN 9801 AND 9806 AND s.balance <> (SELECT sum(e.amount) FROM billing.ledger_entry e WHERE e.tenant_id = t.tenant_id
		AND e.account IN ('receivable', 'bad_debt', 'customer_credit')) $$, 'a statement ends with what the tenant owes');
-- The discounts were made by hand, of no coupon, as the audit rightly says.
SELECT is_empty($$ SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9801 AND 9806
		AND invariant <> 'the discount of an invoice is what its coupons took off'
	UNION ALL SELECT problem, tenant_id, invoice_id::text, detail FROM billing.verify_all() WHERE tenant_id BETWEEN 9801 AND 9806 AND problem = 'credit_note' $$,
	'nothing is found by the audit, and every item follows from its line');

SELECT * FROM finish();
ROLLBACK;
