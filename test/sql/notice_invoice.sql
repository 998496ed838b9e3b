-- An invoice that becomes final, and a payment, let a notice wait, in the same transaction, once, whichever way they come to be;
-- not of a draft, of one that costs nothing, nor to who has no address or wants none.
SET timezone TO 'UTC';
SET billing.test_clock = '2026-01-31T09:00:00Z';
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (9971, 'noticed', 'Noticed', '1 month'), (9972, 'noticed_free', 'Free', '1 month');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9971, 'base', '{"model":"flat","currency":"USD","amount":"49"}'),
	(9972, 'base', '{"model":"flat","currency":"USD","amount":"0"}');
SELECT count(billing.create_tenant(t, 'Tenant ' || t, 'USD', 'Asia/Shanghai', CASE WHEN t <> 9973 THEN t || '@example.com' END,
	CASE t WHEN 9974 THEN '{"settings": {"notices": "receipt"}}' WHEN 9975 THEN '{"settings": {"finalize_after": "1 day"}, "locale": "zh"}' ELSE '{}' END::jsonb))
FROM generate_series(9971, 9976) t;
CREATE VIEW told AS
	SELECT n.tenant_id AS t, n.kind, coalesce(v.number, p.pay_no) AS object, n.occasion AT TIME ZONE 'UTC' AS occasion, n.status,
		n.expires_at AT TIME ZONE 'UTC' AS expires
	FROM billing.notification n
	LEFT JOIN billing.invoice v ON n.kind = 'invoice' AND v.tenant_id = n.tenant_id AND v.invoice_id = n.object_id
	LEFT JOIN billing.payment p ON n.kind = 'receipt' AND p.tenant_id = n.tenant_id AND p.payment_id = n.object_id
	WHERE n.tenant_id BETWEEN 9971 AND 9976 AND n.kind IN ('invoice', 'receipt') ORDER BY n.tenant_id, n.notification_id;

-- At once: with the subscription.  Later: by the run, which drafts wait for.
SELECT count(billing.subscribe(t, 'noticed')) FROM generate_series(9971, 9975) t;
SELECT count(billing.subscribe(9976, 'noticed_free'));
SELECT * FROM told;
SET billing.test_clock = '2026-02-28T09:00:00Z';
CALL billing.bill_due();
CALL billing.bill_due();
SELECT * FROM told WHERE occasion > '2026-02-01';

-- By hand: a draft is none until it is final.
SELECT status FROM billing.create_invoice(9972, 'one off', '[{"description": "Work", "amount": "10.00 USD"}]', finalize => false);
SELECT count(*) FROM told WHERE t = 9972;
SELECT number FROM billing.finalize_invoice(9972, (SELECT invoice_id FROM billing.find_invoice(9972, 'one off')));
SELECT object FROM told WHERE t = 9972 ORDER BY object DESC LIMIT 1;

-- What is rolled back was never told.
BEGIN;
SELECT number FROM billing.create_invoice(9971, 'rolled back', '[{"description": "Work", "amount": "10.00 USD"}]');
SELECT count(*) FROM told WHERE t = 9971;
ROLLBACK;
SELECT count(*) FROM told WHERE t = 9971;

-- A payment, once however often it is recorded; one of long ago is told of by nobody.
SELECT p.status FROM billing.invoice v CROSS JOIN LATERAL billing.record_payment(v.tenant_id, v.invoice_id, '40.00 USD', 'wire-1') p
WHERE v.tenant_id BETWEEN 9971 AND 9975 AND v.issued_at < '2026-02-27' AND v.status = 'open' ORDER BY v.tenant_id;
SELECT p.status FROM billing.invoice v CROSS JOIN LATERAL billing.record_payment(v.tenant_id, v.invoice_id, '40.00 USD', 'wire-1') p
WHERE v.tenant_id = 9971 AND v.issued_at < '2026-02-27';
SELECT p.status FROM billing.invoice v CROSS JOIN LATERAL billing.record_payment(v.tenant_id, v.invoice_id, '9.00 USD', 'wire-0', at => '2026-01-29 09:00:00Z') p
WHERE v.tenant_id = 9971 AND v.issued_at < '2026-02-27';
-- One that came days ago is told of as long as any other.
SELECT p.status FROM billing.invoice v CROSS JOIN LATERAL billing.record_payment(v.tenant_id, v.invoice_id, '9.00 USD', 'wire-3', at => '2026-02-08 09:00:00Z') p
WHERE v.tenant_id = 9972 AND v.issued_at < '2026-02-27' AND v.status = 'open';
SELECT * FROM told WHERE kind = 'receipt';

-- What they say.
SELECT s.subject, s.body, s.is_current FROM billing.notification n CROSS JOIN LATERAL billing.show_notice(n.tenant_id, n.notification_id) s
WHERE n.tenant_id IN (9971, 9975) AND n.kind IN ('invoice', 'receipt') ORDER BY n.tenant_id, n.notification_id;
-- One that was voided before it was sent is not told.
SELECT status FROM billing.void_invoice(9972, (SELECT invoice_id FROM billing.find_invoice(9972, 'one off')));
SELECT s.is_current FROM billing.notification n CROSS JOIN LATERAL billing.show_notice(n.tenant_id, n.notification_id) s
WHERE n.tenant_id = 9972 AND n.kind = 'invoice' ORDER BY n.notification_id DESC LIMIT 1;

-- Of the installation: none, or some.
INSERT INTO billing.setting (name, value) VALUES ('notices', 'receipt,invoice_due');
SELECT number FROM billing.create_invoice(9971, 'not told', '[{"description": "Work", "amount": "10.00 USD"}]');
SELECT status FROM billing.record_payment(9971, (SELECT invoice_id FROM billing.find_invoice(9971, 'not told')), '10.00 USD', 'wire-2');
SELECT kind, object FROM told WHERE t = 9971 ORDER BY kind, object;
BEGIN;
SET LOCAL session_replication_role = 'replica';
DELETE FROM billing.setting WHERE name = 'notices';
COMMIT;
SELECT * FROM billing.audit(9971);
DROP VIEW told;
RESET billing.test_clock;
