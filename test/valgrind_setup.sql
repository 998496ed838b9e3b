-- What the worker bills, delivers and mails under test/valgrind; http is a receiver, and nobody listens on port 1.
CREATE EXTENSION billing;
SELECT billing.create_webhook_endpoint(:'http');
SELECT billing.create_webhook_endpoint('http://127.0.0.1:1/', event_types => '{invoice.paid}');
INSERT INTO billing.setting (name, value) VALUES ('notices', 'all');
INSERT INTO billing.meter (code) VALUES ('calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'pro', 'Pro', '1 month');
INSERT INTO billing.price (plan_id, code, name, tariff, meter) VALUES
	(1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}', NULL),
	(1, 'calls', 'Calls', '{"model":"graduated","currency":"USD","tiers":[{"up_to":"1000","unit_amount":"0.01"},{"up_to":null,"unit_amount":"0.005"}]}', 'calls');
CREATE FUNCTION public.broken(quantity numeric, parameters jsonb) RETURNS numeric IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no price'; END $$;
INSERT INTO billing.strategy (code, function) VALUES ('broken', 'public.broken');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (2, 'broken', 'Broken', '1 month');
INSERT INTO billing.price (plan_id, code, name, strategy, meter) VALUES (2, 'calls', 'Calls', 'broken', 'calls');
SELECT billing.create_tenant(1, 'Cannot be billed', 'USD');
SELECT billing.subscribe(1, 'broken', at => now() - interval '1 month 2 days');
INSERT INTO billing.job (name, every) SELECT name, '1 second' FROM billing.job_default;

-- Rounds in one session, since a new one is slow under valgrind; at least one.  Each has tenants who pay, who do not, who leave
-- and who try, and then every job at once.
CREATE SEQUENCE public.round;
CREATE PROCEDURE public.run_rounds(seconds integer) LANGUAGE plpgsql AS $$
DECLARE
	until timestamptz := clock_timestamp() + seconds * interval '1 second';
	tenant bigint;
BEGIN
	LOOP
		tenant := nextval('public.round') * 10;
		PERFORM billing.create_tenant(tenant + n, 'Tenant ' || n, 'USD', email => 'tenant@example.com') FROM generate_series(1, 4) n;
		PERFORM billing.subscribe(tenant + n, 'pro', at => now() - interval '2 months 20 days', trial_days => 0) FROM generate_series(1, 3) n;
		PERFORM billing.subscribe(tenant + 4, 'pro', trial_days => 3);
		COMMIT;
		PERFORM billing.record_usage(tenant + n, 'calls', 1500 * n, 'e' || n, now() - interval '40 days') FROM generate_series(1, 3) n;
		PERFORM billing.grant_credit(tenant + 1, '5 USD', expires_at => now() + interval '1 second');
		COMMIT;
		PERFORM billing.record_payment(i.tenant_id, i.invoice_id, i.amount_due, 'p' || i.invoice_id) FROM billing.invoice i
		WHERE i.tenant_id = tenant + 1 AND i.status = 'open';
		COMMIT;
		PERFORM billing.cancel_subscription(s.tenant_id, s.subscription_id) FROM billing.subscription s WHERE s.tenant_id = tenant + 3;
		COMMIT;
		UPDATE billing.job SET run_at = now();
		COMMIT;
		CALL public.wait_for_jobs();
		EXIT WHEN clock_timestamp() >= until;
	END LOOP;
END $$;
CREATE PROCEDURE public.wait_for_jobs() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 3000 LOOP
		IF (SELECT bool_and(s.started_at >= j.run_at) IS TRUE FROM billing.job j LEFT JOIN billing.job_state s USING (name)) THEN
			RETURN;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.2);
	END LOOP;
	RAISE EXCEPTION 'some job does not run';
END $$;
CREATE PROCEDURE public.wait_for_sender() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 3000 LOOP
		IF NOT EXISTS (SELECT FROM billing.notification WHERE status = 'waiting')
			AND NOT EXISTS (SELECT FROM billing.webhook_delivery d WHERE d.state = 'pending'
				AND d.endpoint_id = (SELECT min(endpoint_id) FROM billing.webhook_endpoint)) THEN
			RETURN;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.2);
	END LOOP;
	RAISE EXCEPTION 'the sender does not get done';
END $$;
CREATE FUNCTION public.outcome(OUT what text, OUT n bigint) RETURNS SETOF record LANGUAGE sql
BEGIN ATOMIC
	SELECT 'invoices', count(*) FROM billing.invoice
	UNION ALL SELECT 'rounds', last_value FROM public.round
	UNION ALL SELECT 'events', count(*) FROM billing.event
	UNION ALL SELECT 'deliveries', count(*) FROM billing.webhook_delivery WHERE state = 'delivered'
	UNION ALL SELECT 'mails', count(*) FROM billing.notification WHERE status = 'sent'
	UNION ALL SELECT 'invoices in dunning', count(*) FROM billing.invoice_dunning;
END;
