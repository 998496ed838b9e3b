-- Promise: what cannot be billed is refused wherever somebody may say it: with the SQLSTATE that is documented, a detail and a
-- hint, and not one row of any table changes.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = error;
\pset format unaligned
\pset tuples_only on
BEGIN;
SET LOCAL billing.test_clock = '2026-01-10T00:00:00Z';

INSERT INTO billing.meter (code) VALUES ('bad_calls'), ('bad_other');
INSERT INTO billing.plan (plan_id, code, name, currency) VALUES (9601, 'bad_month', 'Month', 'USD'), (9602, 'bad_euro', 'Euro', 'EUR');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(9601, 'base', '{"model":"flat","currency":"USD","amount":"31"}', NULL),
	(9601, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'bad_calls'),
	(9602, 'base', '{"model":"flat","currency":"EUR","amount":"31"}', NULL);
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) FROM generate_series(9601, 9604) t;
SELECT status FROM billing.close_tenant(9604);
UPDATE billing.tenant SET status = 'frozen', frozen_at = '2026-01-10' WHERE tenant_id = 9603;

-- What attempts are about, by name.  Two of tenant 9601 price one meter.
CREATE TEMPORARY TABLE known (name text, id bigint);
INSERT INTO known SELECT 'active', (billing.subscribe(9601, 'bad_month')).subscription_id;
INSERT INTO known SELECT 'second', (billing.subscribe(9601, 'bad_month')).subscription_id;
INSERT INTO known SELECT 'single', (billing.subscribe(9602, 'bad_month')).subscription_id;
INSERT INTO known SELECT 'ended', (billing.subscribe(9602, 'bad_month')).subscription_id;
SELECT status FROM billing.cancel_subscription(9602, (SELECT id FROM known WHERE name = 'ended'), 'now');
INSERT INTO known SELECT 'open', (billing.create_invoice(9601, 'open', '[{"description": "A", "amount": 10}, {"description": "B", "amount": 5}]')).invoice_id;
INSERT INTO known SELECT 'draft', (billing.create_invoice(9601, 'draft', '[{"description": "A", "amount": 10}]', finalize => false)).invoice_id;
INSERT INTO known SELECT 'paid', (billing.create_invoice(9601, 'paid', '[{"description": "A", "amount": 10}]')).invoice_id;
INSERT INTO known SELECT 'part', (billing.create_invoice(9601, 'part', '[{"description": "A", "amount": 10}]')).invoice_id;
INSERT INTO known SELECT 'void', (billing.create_invoice(9601, 'void', '[{"description": "A", "amount": 10}]')).invoice_id;
INSERT INTO known SELECT 'foreign', (billing.create_invoice(9602, 'foreign', '[{"description": "A", "amount": 10}]')).invoice_id;
SELECT count(billing.record_payment(9601, id, '10 USD', 'all')) FROM known WHERE name = 'paid';
SELECT count(billing.record_payment(9601, id, '4 USD', 'some')) FROM known WHERE name = 'part';
SELECT status FROM billing.void_invoice(9601, (SELECT id FROM known WHERE name = 'void'));
SELECT billing.record_usage(9602, 'bad_calls', 5, 'seen', '2026-01-09');

-- Every row of every table of the extension.
CREATE FUNCTION pg_temp.everything() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	part text;
	sums text := '';
	r regclass;
BEGIN
	FOR r IN SELECT oid FROM pg_class WHERE relnamespace = 'billing'::regnamespace AND relkind = 'r' ORDER BY relname COLLATE "C" LOOP
		EXECUTE format('SELECT md5(string_agg(md5(t::text), '''' ORDER BY md5(t::text))) FROM %s t', r) INTO part;
		sums := sums || coalesce(part, '-');
	END LOOP;
	RETURN md5(sums);
END $$;

-- A statement of the list; :name is the id of what is known by that name.
CREATE FUNCTION pg_temp.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text := 'DONE';
	fact text;
	advice text;
	before text := pg_temp.everything();
	command text := CASE WHEN statement ~ '^(bill_due|compact_usage)' THEN 'CALL billing.' WHEN statement ~ '^INSERT' THEN '' ELSE 'SELECT billing.' END || statement;
	k known;
BEGIN
	FOR k IN SELECT * FROM known LOOP
		command := replace(command, ':' || k.name, k.id::text);
	END LOOP;
	BEGIN
		EXECUTE command;
		RAISE 'it was done' USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, fact = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
	END;
	RETURN concat_ws(' ', CASE state WHEN 'ZZ000' THEN 'DONE' ELSE state END, statement, CASE WHEN fact = '' THEN '- NO DETAIL' END,
		CASE WHEN advice = '' THEN '- NO HINT' END, CASE WHEN before <> pg_temp.everything() THEN '- SOMETHING CHANGED' END);
END $$;

-- No such tenant, plan, meter, subscription or invoice; or it is another tenant's.
SELECT pg_temp.attempt(s) FROM unnest(ARRAY[
	$$update_tenant(9699, '{"name": "X"}')$$, $$close_tenant(9699)$$,
	$$subscribe(9699, 'bad_month')$$, $$subscribe(9601, 'bad_nothing')$$, $$cancel_subscription(9601, :single)$$,
	$$reactivate_subscription(9601, :single)$$, $$renew_subscription(9601, :single)$$, $$extend_subscription(9601, :single, '2027-01-01', 1)$$,
	$$update_subscription(9601, :single, '{}')$$, $$get_active_subscription(9699)$$, $$get_active_subscription(9603)$$, $$is_expired(9601, :single)$$,
	$$is_trial(9601, :single)$$, $$days_remaining(9601, :single)$$, $$next_billing_date(9601, :single)$$,
	$$record_usage(9699, 'bad_calls', 1, 'a')$$, $$record_usage(9602, 'bad_nothing', 1, 'a')$$, $$record_usage(9602, 'bad_calls', 1, 'a', subscription_id => :active)$$,
	$$usage(9699, 'bad_calls', '[2026-01-01,2026-02-01)')$$, $$usage(9601, 'bad_nothing', '[2026-01-01,2026-02-01)')$$,
	$$daily_usage(9699, 'bad_calls', '[2026-01-01,2026-02-01)')$$, $$daily_usage(9601, 'bad_nothing', '[2026-01-01,2026-02-01)')$$,
	$$build_invoice(9699, :active, '2026-01-10', '2026-01-10')$$, $$build_invoice(9601, :single, '2026-01-10', '2026-01-10')$$,
	$$preview_invoice(9699, :active)$$, $$preview_invoice(9601, :single)$$, $$preview_invoice(9601, :active, plan => 'bad_nothing')$$,
	$$create_invoice(9699, 'k', '[{"description": "A", "amount": 1}]')$$, $$add_item(9699, :draft, 'A', amount => '1 USD')$$, $$add_item(9601, :foreign, 'A', amount => '1 USD')$$,
	$$finalize_invoice(9699, :draft)$$, $$finalize_invoice(9601, :foreign)$$, $$rebuild_invoice(9699, :open)$$, $$rebuild_invoice(9601, :foreign)$$,
	$$void_invoice(9699, :open)$$, $$void_invoice(9601, :foreign)$$, $$mark_uncollectible(9699, :open)$$, $$mark_uncollectible(9601, :foreign)$$,
	$$record_payment(9699, :open, '1 USD', 'p')$$, $$record_payment(9601, :foreign, '1 USD', 'p')$$, $$find_invoice(9601, 'foreign')$$, $$find_invoice(9699, 'open')$$,
	$$explain_invoice(9601, :foreign)$$, $$explain_invoice(9699, :open)$$, $$verify_invoice(9601, :foreign)$$, $$verify_invoice(9699, :open)$$]) s;

-- Another currency.
SELECT pg_temp.attempt(s) FROM unnest(ARRAY[
	$$create_tenant(9605, 'X', 'XXX')$$, $$update_tenant(9601, '{"currency": "NONE"}')$$, $$subscribe(9601, 'bad_month', currency => 'EUR')$$,
	$$subscribe(9601, 'bad_euro')$$, $$subscribe(9601, 'bad_month', currency => 'XXX')$$, $$preview_invoice(9601, :active, plan => 'bad_euro')$$,
	$$create_invoice(9601, 'k', '[{"description": "A", "amount": "1 EUR"}]')$$, $$create_invoice(9601, 'k', '[{"description": "A", "amount": 1}]', currency => 'XXX')$$,
	$$create_invoice(9601, 'k', '[{"description": "A", "amount": "1 USD"}]', currency => 'EUR')$$, $$add_item(9601, :draft, 'A', amount => '1 EUR')$$,
	$$record_payment(9601, :open, '1 EUR', 'p')$$, $$amount(1, 'XXX')$$,
	$$INSERT INTO billing.price (plan_id, code, tariff) VALUES (9602, 'dollar', '{"model":"flat","currency":"USD","amount":"1"}')$$]) s;

-- A period that is none.
SELECT pg_temp.attempt(s) FROM unnest(ARRAY[
	$$usage(9601, 'bad_calls', 'empty')$$, $$usage(9601, 'bad_calls', '[2026-01-01,)')$$,
	$$usage(9601, 'bad_calls', '(,2026-01-01)')$$, $$usage(9601, 'bad_calls', '[2026-01-01,infinity)')$$, $$usage(9601, 'bad_calls', '[2026-01-01,2026-02-01]')$$,
	$$usage(9601, 'bad_calls', '(2026-01-01,2026-02-01)')$$, $$daily_usage(9601, 'bad_calls', 'empty')$$, $$daily_usage(9601, 'bad_calls', '[2026-01-01,)')$$,
	$$daily_usage(9601, 'bad_calls', '[-infinity,2026-01-01)')$$, $$build_invoice(9601, :active, '2026-02-10', '2026-01-10')$$,
	$$build_invoice(9601, :active, '2026-01-10', 'infinity')$$, $$build_invoice(9601, :active, '-infinity', '2026-02-10')$$,
	$$build_invoice(9601, :active, '2026-02-10', '2026-02-10')$$, $$build_invoice(9601, :active, '2026-01-11', '2026-02-10')$$,
	$$build_invoice(9601, :active, '2026-01-10', '2026-02-10')$$, $$build_invoice(9601, :active, '2025-12-10', '2026-01-10')$$,
	$$create_invoice(9601, 'k', '[{"description": "A", "amount": 1, "period_start": "2026-02-01Z", "period_end": "2026-01-01Z"}]')$$,
	$$create_invoice(9601, 'k', '[{"description": "A", "amount": 1, "period_start": "2026-02-01Z"}]')$$,
	$$create_invoice(9601, 'k', '[{"description": "A", "amount": 1}]', due_at => 'infinity')$$,
	$$add_item(9601, :draft, 'A', amount => '1 USD', period_start => '2026-02-01', period_end => '2026-01-01')$$,
	$$add_item(9601, :draft, 'A', amount => '1 USD', period_end => '2026-01-01')$$,
	$$add_item(9601, :draft, 'A', amount => '1 USD', period_start => '2026-02-01', period_end => 'infinity')$$,
	$$subscribe(9601, 'bad_month', at => 'infinity')$$, $$subscribe(9601, 'bad_month', anchor => '-infinity')$$,
	$$extend_subscription(9601, :active, 'infinity', 2)$$, $$extend_subscription(9601, :active, '2026-02-09', 2)$$,
	$$bill_due('infinity')$$, $$bill_due('-infinity')$$, $$period_at('2026-01-01', '-1 month', '2026-01-01', 'UTC')$$,
	$$period_at('2026-01-01', '0', '2026-01-01', 'UTC')$$, $$prorate('1 USD', 'empty', 'empty')$$]) s;

-- Usage of the future, of no quantity, of no name, of several.
SELECT pg_temp.attempt(s) FROM unnest(ARRAY[
	$$record_usage(9602, 'bad_calls', 'NaN', 'a')$$, $$record_usage(9602, 'bad_calls', 'Infinity', 'a')$$, $$record_usage(9602, 'bad_calls', '-Infinity', 'a')$$,
	$$record_usage(9602, 'bad_calls', 1, 'a', '2026-01-11 00:00:00.000001Z')$$, $$record_usage(9602, 'bad_calls', 1, 'a', 'infinity')$$,
	$$record_usage(9602, 'bad_calls', 1, 'a', '-infinity')$$, $$record_usage(9602, 'bad_calls', 1, '')$$, $$record_usage(9602, 'bad_calls', 1, repeat('a', 256))$$,
	$$record_usage(9601, 'bad_calls', 1, 'a')$$, $$record_usage(9603, 'bad_calls', 1, 'a')$$, $$record_usage(9604, 'bad_calls', 1, 'a')$$,
	$$record_usage(9602, 'bad_calls', 6, 'seen', '2026-01-09')$$, $$record_usage(9602, 'bad_other', 5, 'seen', '2026-01-09')$$,
	$$record_usage(9602, 'bad_calls', 5, 'seen', '2026-01-08')$$, $$record_usage(9602, 'bad_calls', 5, 'seen', '2026-01-09', '{"a": 1}')$$,
	$$usage(9601, 'bad_calls', '[2026-01-01,2026-02-01)', aggregation => 'median')$$]) s;

-- INSERT keeps to the same; what a constraint or a type refuses PostgreSQL itself says, without a hint.
SELECT regexp_replace(pg_temp.attempt(s), '( - NO DETAIL)? - NO HINT', '') FROM unnest(ARRAY[
	$$usage(9601, 'bad_calls', '[2026-02-01,2026-01-01)')$$,
	$$INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity) VALUES (9602, 'a', 'bad_calls', 'NaN')$$,
	$$INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity) VALUES (9602, 'a', 'bad_calls', '-Infinity')$$,
	$$INSERT INTO billing.usage_event (tenant_id, event_id, meter, at) VALUES (9602, 'a', 'bad_calls', '2026-01-11 00:00:00.000001Z')$$,
	$$INSERT INTO billing.usage_event (tenant_id, event_id, meter, at) VALUES (9602, 'a', 'bad_calls', '-infinity')$$,
	$$INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (9602, '', 'bad_calls')$$,
	$$INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (9602, NULL, 'bad_calls')$$,
	$$INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (9602, 'seen', 'bad_calls')$$,
	$$INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (9699, 'a', 'bad_calls')$$,
	$$INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (9602, 'a', 'bad_nothing')$$,
	$$INSERT INTO billing.usage_event (tenant_id, event_id, meter, subscription_id) VALUES (9602, 'a', 'bad_calls', :active)$$]) s;

-- NULL where none is allowed.
SELECT pg_temp.attempt(s) FROM unnest(ARRAY[
	$$create_tenant(NULL, 'X')$$, $$create_tenant(9605, NULL)$$, $$update_tenant(NULL, '{}')$$, $$update_tenant(9601, NULL)$$,
	$$close_tenant(NULL)$$, $$subscribe(NULL, 'bad_month')$$, $$subscribe(9601, NULL)$$, $$subscribe(9601, 'bad_month', NULL)$$, $$cancel_subscription(9601, NULL)$$,
	$$cancel_subscription(9601, :active, NULL)$$, $$reactivate_subscription(NULL, :active)$$, $$renew_subscription(9601, NULL)$$,
	$$extend_subscription(9601, :active, NULL, 2)$$, $$extend_subscription(9601, :active, '2027-01-01', NULL)$$, $$update_subscription(9601, :active, NULL)$$,
	$$record_usage(NULL, 'bad_calls', 1, 'a')$$, $$record_usage(9602, NULL, 1, 'a')$$, $$record_usage(9602, 'bad_calls', NULL, 'a')$$, $$record_usage(9602, 'bad_calls', 1)$$,
	$$usage(NULL, 'bad_calls', '[2026-01-01,2026-02-01)')$$, $$usage(9601, NULL, '[2026-01-01,2026-02-01)')$$, $$usage(9601, 'bad_calls', NULL)$$,
	$$daily_usage(NULL, 'bad_calls', '[2026-01-01,2026-02-01)')$$, $$daily_usage(9601, NULL, '[2026-01-01,2026-02-01)')$$, $$daily_usage(9601, 'bad_calls', NULL)$$,
	$$build_invoice(NULL, :active, '2026-01-10', '2026-01-10')$$, $$build_invoice(9601, NULL, '2026-01-10', '2026-01-10')$$, $$build_invoice(9601, :active, NULL, '2026-01-10')$$,
	$$build_invoice(9601, :active, '2026-01-10', NULL)$$, $$preview_invoice(NULL, :active)$$, $$preview_invoice(9601, NULL)$$, $$preview_invoice(9601, :active, NULL)$$,
	$$create_invoice(NULL, 'k', '[]')$$, $$create_invoice(9601, NULL, '[]')$$, $$create_invoice(9601, 'k', NULL)$$, $$create_invoice(9601, 'k', '[]', finalize => NULL)$$,
	$$add_item(NULL, :draft, 'A', amount => '1 USD')$$, $$add_item(9601, NULL, 'A', amount => '1 USD')$$, $$add_item(9601, :draft, NULL, amount => '1 USD')$$,
	$$finalize_invoice(NULL, :draft)$$, $$finalize_invoice(9601, NULL)$$, $$rebuild_invoice(NULL, :open)$$, $$rebuild_invoice(9601, NULL)$$, $$void_invoice(NULL, :open)$$,
	$$void_invoice(9601, NULL)$$, $$void_invoice(9601, :open, reissue => NULL)$$, $$mark_uncollectible(NULL, :open)$$, $$mark_uncollectible(9601, NULL)$$,
	$$record_payment(NULL, :open, '1 USD', 'p')$$, $$record_payment(9601, NULL, '1 USD', 'p')$$, $$record_payment(9601, :open, NULL, 'p')$$, $$record_payment(9601, :open, '1 USD', NULL)$$,
	$$record_payment(9601, :open, '1 USD', 'p', NULL)$$, $$find_invoice(NULL, 'open')$$, $$find_invoice(9601, NULL)$$, $$explain_invoice(NULL, :open)$$,
	$$explain_invoice(9601, NULL)$$, $$verify_invoice(NULL, :open)$$, $$verify_invoice(9601, NULL)$$, $$get_active_subscription(NULL)$$, $$is_expired(NULL, :active)$$,
	$$is_trial(9601, NULL)$$, $$days_remaining(NULL, :active)$$, $$next_billing_date(9601, NULL)$$, $$grant_access(NULL, 'reader')$$,
	$$grant_access(current_user, NULL)$$, $$revoke_access(NULL)$$, $$bill_due(batch => NULL)$$, $$compact_usage(NULL)$$]) s;

-- What somebody else has changed since, and what its state does not allow.
SELECT pg_temp.attempt(s) FROM unnest(ARRAY[
	$$update_tenant(9601, '{"name": "X"}', 7)$$, $$update_subscription(9601, :active, '{"auto_renew": false}', 1)$$, $$extend_subscription(9601, :active, '2027-01-01', 1)$$,
	$$close_tenant(9601)$$, $$subscribe(9604, 'bad_month')$$, $$subscribe(9603, 'bad_month')$$,
	$$create_invoice(9604, 'k', '[{"description": "A", "amount": 1}]')$$, $$cancel_subscription(9602, :ended)$$, $$cancel_subscription(9602, :ended, 'now')$$,
	$$reactivate_subscription(9602, :ended)$$, $$reactivate_subscription(9602, :single)$$, $$renew_subscription(9602, :ended)$$, $$update_subscription(9602, :ended, '{"auto_renew": true}')$$,
	$$extend_subscription(9602, :ended, '2027-01-01', 3)$$, $$preview_invoice(9602, :ended)$$, $$get_active_subscription(9601)$$,
	$$add_item(9601, :open, 'A', amount => '1 USD')$$, $$add_item(9601, :paid, 'A', amount => '1 USD')$$, $$finalize_invoice(9601, :open)$$, $$finalize_invoice(9601, :void)$$,
	$$rebuild_invoice(9601, :draft)$$, $$void_invoice(9601, :draft)$$, $$void_invoice(9601, :paid)$$, $$void_invoice(9601, :part)$$, $$void_invoice(9601, :void)$$,
	$$void_invoice(9601, :open, reissue => true)$$, $$mark_uncollectible(9601, :draft)$$, $$mark_uncollectible(9601, :paid)$$, $$mark_uncollectible(9601, :void)$$,
	$$record_payment(9601, :draft, '1 USD', 'p')$$, $$record_payment(9601, :paid, '1 USD', 'p')$$, $$record_payment(9601, :void, '1 USD', 'p')$$,
	$$record_payment(9601, :open, '0 USD', 'p')$$, $$record_payment(9601, :open, '-1 USD', 'p')$$,
	$$record_payment(9601, :open, '1 USD', 'p', at => 'infinity')$$, $$record_payment(9601, :open, '1 USD', '')$$]) s;

-- Credit notes of more than there is, of what is not, of what is not final; refunds that are none.
SELECT pg_temp.attempt(s) FROM unnest(ARRAY[
	$$issue_credit_note(9699, :open)$$, $$issue_credit_note(9601, :foreign)$$, $$issue_credit_note(9601, :open, '[{"line": 3}]')$$, $$issue_credit_note(9601, :open, '[{"line": 0}]')$$,
	$$issue_credit_note(9601, :open, destination => 'invoice', to_invoice_id => :foreign)$$, $$explain_credit_note(9601, 0)$$, $$explain_credit_note(9699, 1)$$,
	$$record_refund(9601, 'nothing')$$, $$fail_refund(9601, 'nothing')$$, $$cancel_refund(9699, 'nothing')$$,
	$$issue_credit_note(9601, :open, '[{"line": 1, "amount": "1 EUR"}]')$$, $$issue_credit_note(9601, :open, '[{"line": 1, "amount": "10.01"}]')$$,
	$$issue_credit_note(9601, :open, '[{"line": 1, "amount": "-1"}]')$$, $$issue_credit_note(9601, :open, '[{"line": 1, "amount": 0}]')$$,
	$$issue_credit_note(9601, :open, '[{"line": 1}, {"line": 1}]')$$, $$issue_credit_note(9601, :open, '[{"line": 1, "amount": "NaN"}]')$$,
	$$issue_credit_note(9601, :open, '[{"line": 1, "amount": 1e30}]')$$, $$issue_credit_note(9601, :open, '[{"line": 1, "amount": "1.001"}]')$$,
	$$issue_credit_note(9601, :draft)$$, $$issue_credit_note(9601, :void)$$, $$issue_credit_note(9601, :part, destination => 'invoice', to_invoice_id => :paid)$$,
	$$issue_credit_note(9601, :open, '[]')$$, $$issue_credit_note(9601, :open, '{}')$$, $$issue_credit_note(9601, :open, '7')$$, $$issue_credit_note(9601, :open, '[7]')$$,
	$$issue_credit_note(9601, :open, '[{}]')$$, $$issue_credit_note(9601, :open, '[{"line": "1.5"}]')$$, $$issue_credit_note(9601, :open, '[{"line": []}]')$$,
	$$issue_credit_note(9601, :open, '[{"line": 1, "percent": 10}]')$$, $$issue_credit_note(9601, :open, '[{"line": 1, "period_start": "2026-01-01Z", "period_end": "2026-01-02Z"}]')$$,
	$$issue_credit_note(9601, :open, destination => 'bank')$$, $$issue_credit_note(9601, :open, destination => '')$$, $$issue_credit_note(9601, :open, destination => 'invoice')$$,
	$$issue_credit_note(9601, :open, to_invoice_id => :part)$$, $$issue_credit_note(9601, :open, destination => 'invoice', to_invoice_id => :open)$$,
	$$issue_credit_note(NULL, :open)$$, $$issue_credit_note(9601, NULL)$$, $$issue_credit_note(9601, :open, destination => NULL)$$, $$explain_credit_note(NULL, 1)$$,
	$$explain_credit_note(9601, NULL)$$, $$record_refund(NULL, 'r')$$, $$record_refund(9601, NULL)$$, $$fail_refund(NULL, 'r')$$, $$cancel_refund(9601, NULL)$$,
	$$record_refund(9601, 'r', 'infinity')$$, $$record_refund(9601, 'r', '-infinity')$$, $$record_refund(9601, 'r', '2026-01-11 00:00:00.000001Z')$$,
	$$credit_share('1 USD', '1 USD', '1 USD', '1 USD')$$, $$credit_share('1 USD', '1 EUR', '0 USD', '1 USD')$$]) s;

-- One key, two bodies; and bodies that are none.
SELECT pg_temp.attempt(s) FROM unnest(ARRAY[
	$$create_tenant(9601, 'Another')$$, $$create_invoice(9601, 'open', '[{"description": "A", "amount": 11}, {"description": "B", "amount": 5}]')$$,
	$$create_invoice(9601, 'open', '[{"description": "B", "amount": 5}, {"description": "A", "amount": 10}]')$$,
	$$create_invoice(9601, 'open', '[{"description": "A", "amount": 10}]')$$, $$create_invoice(9601, 'open', '[{"description": "A", "amount": 10}, {"description": "B", "amount": 5}]', notes => 'N')$$,
	$$create_invoice(9601, 'open', '[{"description": "A", "amount": 10}, {"description": "B", "amount": 5}]', currency => 'EUR')$$,
	$$record_payment(9601, :open, '4 USD', 'some')$$, $$record_payment(9601, :part, '5 USD', 'some')$$,
	$$create_invoice(9601, '', '[{"description": "A", "amount": 1}]')$$, $$create_invoice(9601, 'sub/1/2026-01-10T00:00:00Z/cycle/1', '[{"description": "A", "amount": 1}]')$$,
	$$create_invoice(9601, repeat('k', 256), '[{"description": "A", "amount": 1}]')$$, $$create_invoice(9601, 'k', '[]')$$, $$create_invoice(9601, 'k', '{}')$$, $$create_invoice(9601, 'k', '7')$$,
	$$create_invoice(9601, 'k', '[{"amount": 1}]')$$, $$create_invoice(9601, 'k', '[{"description": "A"}]')$$, $$create_invoice(9601, 'k', '[{"description": "A", "amount": 1, "unit_amount": 1}]')$$,
	$$create_invoice(9601, 'k', '[{"description": "A", "amount": "NaN"}]')$$, $$create_invoice(9601, 'k', '[{"description": "A", "amount": 1, "quantity": "Infinity"}]')$$,
	$$create_invoice(9601, 'k', '[{"description": "A", "amount": 1.001}]')$$, $$create_invoice(9601, 'k', '[{"description": "A", "amount": 1e30}]')$$,
	$$create_invoice(9601, 'k', '[{"description": "A", "amount": -1}]')$$, $$create_invoice(9601, 'k', '[{"description": "A", "amount": 1}]', coupon => 'C')$$,
	$$add_item(9601, :draft, 'A')$$, $$add_item(9601, :draft, 'A', amount => '1 USD', unit_amount => 1)$$, $$add_item(9601, :draft, 'A', quantity => 'NaN', unit_amount => 1)$$,
	$$add_item(9601, :draft, 'A', unit_amount => 'Infinity')$$, $$add_item(9601, :draft, 'A', amount => '-11 USD')$$, $$add_item(9601, :draft, 'A', quantity => 1e20, unit_amount => 1e20)$$,
	$$subscribe(9601, 'bad_month', 0)$$, $$subscribe(9601, 'bad_month', coupon => 'C')$$, $$subscribe(9601, 'bad_month', billing => 'weekly')$$, $$subscribe(9601, 'bad_month', trial_days => -1)$$,
	$$cancel_subscription(9601, :active, 'tomorrow')$$, $$preview_invoice(9601, :active, 'tomorrow')$$, $$update_subscription(9601, :active, '{"plan": "x"}')$$,
	$$update_tenant(9601, '{"status": "frozen"}')$$, $$update_tenant(9601, '{"timezone": "Mars/Olympus"}')$$, $$create_tenant(9605, 'X', timezone => 'Mars/Olympus')$$, $$create_tenant(-1, 'X')$$,
	$$create_tenant(9605, 'X', details => '{"settings": {"tax_percent": -1}}')$$, $$create_tenant(9605, 'X', details => '[]')$$, $$grant_access('bad_role', 'reader')$$,
	$$grant_access(current_user, 'owner')$$, $$effective_setting('nothing')$$, $$bill_due(batch => 0)$$, $$compact_usage(0)$$]) s;
ROLLBACK;
