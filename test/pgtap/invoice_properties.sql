-- Promise: whatever is done to invoices in whatever order, numbers have no gap, each total is the sum of its lines, each
-- chain holds, and the ledger says of every invoice what it says of itself.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SET LOCAL billing.test_clock = '2026-03-01T12:00:00Z';

SELECT plan(13);

SELECT setseed(0.41);

INSERT INTO billing.tax_rate (code, name, percent) VALUES ('property', 'Property', 8.875);
SELECT count(billing.create_tenant(9700 + t, 'Property ' || t, (ARRAY['USD', 'JPY', 'KWD'])[1 + t % 3],
	details => CASE WHEN t % 2 = 0 THEN '{"tax_rate": "property"}'::jsonb ELSE '{}' END)) FROM generate_series(1, 6) AS t;

-- One random call; gives its SQLSTATE, 00000 if it went well.
CREATE FUNCTION pg_temp.act(step int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	tenant bigint := 9701 + floor(random() * 6);
	currency text := (SELECT t.currency FROM billing.tenant t WHERE t.tenant_id = tenant);
	invoice billing.invoice;
	what float := random();
BEGIN
	SELECT * INTO invoice FROM billing.invoice i WHERE i.tenant_id = tenant ORDER BY random() LIMIT 1;
	CASE
		WHEN what < 0.3 OR invoice IS NULL AND invoice.invoice_id IS NULL THEN
			PERFORM billing.create_invoice(tenant, 'p' || floor(random() * 150),
				(SELECT jsonb_agg(jsonb_build_object('description', 'Line ' || l, 'quantity', round((random() * 9)::numeric, 2),
					'unit_amount', round((random() * 100 - 20)::numeric, 4))) FROM generate_series(1, 1 + floor(random() * 3)::int) l),
				finalize => random() < 0.5);
		WHEN what < 0.45 THEN PERFORM billing.add_item(tenant, invoice.invoice_id, 'More', unit_amount => round((random() * 50 - 10)::numeric, 3));
		WHEN what < 0.6 THEN PERFORM billing.finalize_invoice(tenant, invoice.invoice_id);
		WHEN what < 0.65 THEN PERFORM billing.void_invoice(tenant, invoice.invoice_id);
		WHEN what < 0.7 THEN PERFORM billing.mark_uncollectible(tenant, invoice.invoice_id);
		WHEN what < 0.85 THEN PERFORM billing.record_payment(tenant, invoice.invoice_id, invoice.amount_due, 'all' || step);
		ELSE PERFORM billing.record_payment(tenant, invoice.invoice_id, billing.amount((random() * 100)::numeric, currency), 'some' || floor(random() * 1000));
	END CASE;
	RETURN '00000';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

CREATE TEMPORARY TABLE act AS SELECT step, pg_temp.act(step) AS state FROM generate_series(1, 3000) AS step;

SELECT ok(count(*) > 1000, 'more than a thousand calls did something') FROM act WHERE state = '00000';
SELECT is_empty('SELECT state, count(*) FROM act WHERE state NOT IN (''00000'', ''22023'', ''YB003'', ''YB004'', ''YB006'') GROUP BY 1',
	'the others were refused with the SQLSTATEs that are documented');
SELECT ok(count(DISTINCT status) = 5, 'there are invoices of each status') FROM billing.invoice WHERE tenant_id BETWEEN 9701 AND 9706;

CREATE TEMPORARY VIEW mine AS SELECT * FROM billing.invoice WHERE tenant_id BETWEEN 9701 AND 9706;

SELECT is_empty($$
	SELECT tenant_id, number FROM (SELECT tenant_id, number, row_number() OVER (PARTITION BY tenant_id ORDER BY number) AS n FROM mine WHERE number IS NOT NULL) AS v
	WHERE number <> format('INV-%s-%s', tenant_id, lpad(n::text, 6, '0')) $$, 'numbers of a tenant have no gap');
SELECT is_empty('SELECT c.tenant_id FROM billing.counter c WHERE tenant_id BETWEEN 9701 AND 9706
	AND invoice_number <> (SELECT count(number) FROM mine i WHERE i.tenant_id = c.tenant_id)', 'and are as many as the counter says');
SELECT is_empty('SELECT invoice_id FROM mine i CROSS JOIN LATERAL (SELECT count(*) AS lines, coalesce(sum(amount), i.tax - i.tax) AS sum FROM billing.invoice_item n
	WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id) s WHERE lines <> item_count OR sum <> subtotal', 'each subtotal is the sum of its lines');
SELECT is_empty('SELECT invoice_id FROM mine WHERE tax::numeric <> round(subtotal::numeric * tax_percent / 100, CASE currency WHEN ''USD'' THEN 2 WHEN ''JPY'' THEN 0 ELSE 3 END)
	OR total <> subtotal + tax', 'tax is rounded once on the sum, and the total is both');
SELECT is_empty('SELECT invoice_id FROM mine i WHERE paid <> coalesce((SELECT sum(CASE WHEN p.excess IS NULL THEN p.amount ELSE p.amount - p.excess END) FROM billing.payment p WHERE p.tenant_id = i.tenant_id AND p.invoice_id = i.invoice_id), i.tax - i.tax)',
	'what is paid is the sum of its payments, less what nothing was due for');
SELECT is_empty('SELECT invoice_id FROM mine i JOIN billing.calculation_log l USING (tenant_id, invoice_id)
	WHERE l.inputs <> billing.invoice_inputs(tenant_id, invoice_id, l.party_salt) OR l.hash <> sha256(convert_to(l.inputs, ''UTF8''))
	OR (l.chain_no IS NULL) <> (i.status = ''draft'')', 'each calculation states what is stored, and is linked once it is final');
SELECT is_empty('SELECT tenant_id, chain_no FROM (SELECT tenant_id, chain_no, chain_hash, billing.chain(''\x'', hash) OVER (PARTITION BY tenant_id ORDER BY chain_no) AS link,
	row_number() OVER (PARTITION BY tenant_id ORDER BY chain_no) AS n FROM billing.calculation_log WHERE tenant_id BETWEEN 9701 AND 9706 AND chain_no IS NOT NULL) v
	WHERE chain_hash <> link OR chain_no <> n', 'each chain holds');

CREATE TEMPORARY VIEW balance AS
	SELECT i.tenant_id, i.invoice_id, i.status, i.amount_due, i.paid, i.total, a.account, coalesce(sum(e.amount), i.tax - i.tax) AS amount
	FROM mine i CROSS JOIN unnest(ARRAY['receivable', 'cash', 'bad_debt']) AS a (account)
	LEFT JOIN billing.ledger_entry e ON e.tenant_id = i.tenant_id AND e.invoice_id = i.invoice_id AND e.account = a.account
	GROUP BY i.tenant_id, i.invoice_id, i.status, i.amount_due, i.paid, i.total, i.tax, a.account;
SELECT is_empty('SELECT * FROM balance WHERE account = ''receivable'' AND amount <> CASE WHEN status = ''open'' THEN amount_due ELSE amount - amount END',
	'what an open invoice is owed is receivable, of the others nothing');
SELECT is_empty('SELECT * FROM balance WHERE account = ''cash'' AND amount <> paid', 'what was paid is cash');
SELECT is_empty('SELECT * FROM balance WHERE account = ''bad_debt'' AND amount <> CASE WHEN status = ''uncollectible'' THEN amount_due ELSE amount - amount END',
	'what was given up is bad debt');

SELECT * FROM finish();
ROLLBACK;
