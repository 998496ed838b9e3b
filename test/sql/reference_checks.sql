-- Foreign keys that are checked once a statement refuse what PostgreSQL's own check refuses, and nothing else.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
INSERT INTO billing.tenant (tenant_id, name) SELECT n, 'tenant ' || n FROM generate_series(1, 3) n;
INSERT INTO billing.meter (code) VALUES ('calls'), ('bytes');

-- No parent: one of many rows, one of several keys, the key's text as it is.
INSERT INTO billing.usage_event (tenant_id, event_id, meter)
	SELECT 1 + n % 4, 'e' || n, 'calls' FROM generate_series(1, 8) n;
INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (1, 'a', 'calls'), (2, 'b', 'bytes'), (2, 'c', 'call');
INSERT INTO billing.usage_event (tenant_id, event_id, meter, subscription_id) VALUES (1, 'a', 'calls', 7);
COPY billing.usage_event (tenant_id, event_id, meter) FROM stdin;
1	x	calls
9	y	calls
\.
SELECT count(*) AS events FROM billing.usage_event;

-- A NULL column is no reference; parents of one statement are found by the next, and keys that are forgotten at
-- work_mem are looked up again.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, subscription_id) VALUES (1, 'a', 'calls', NULL), (3, 'a', 'bytes', NULL);
INSERT INTO billing.tenant (tenant_id, name) SELECT n, 'tenant ' || n FROM generate_series(11, 5000) n;
SET work_mem = '64kB';
INSERT INTO billing.usage_event (tenant_id, event_id, meter)
	SELECT 11 + n % 4990, 'e' || n, CASE n % 2 WHEN 0 THEN 'calls' ELSE 'bytes' END FROM generate_series(1, 20000) n;
RESET work_mem;
INSERT INTO billing.usage_event (tenant_id, event_id, meter) SELECT 5001 - n, 'f' || n, 'calls' FROM generate_series(0, 10) n;
SELECT count(*) AS events FROM billing.usage_event;

-- One statement may write an invoice and its lines, and a line with the one it adjusts, which may also come later; its invoice may not.
WITH parent AS (
	INSERT INTO billing.invoice (tenant_id, invoice_id, biz_key, kind, status, currency, item_count, subtotal, discount, tax, excess, total, credited, wallet_applied, paid)
	VALUES (1, 1, 'one', 'one_off', 'draft', 'USD', 0, '0 USD', '0 USD', '0 USD', '0 USD', '0 USD', '0 USD', '0 USD', '0 USD')
)
INSERT INTO billing.invoice_item (tenant_id, invoice_id, line, kind, amount, usage_events, usage_digest, adjusts_invoice_id, adjusts_line,
	discount, tax)
VALUES (1, 1, 1, 'adjustment', '1 USD', 0, 0, 1, 2, '0 USD', '0 USD'), (1, 1, 2, 'manual', '1 USD', NULL, NULL, NULL, NULL, '0 USD', '0 USD');
INSERT INTO billing.invoice_item (tenant_id, invoice_id, line, kind, amount, usage_events, usage_digest, adjusts_invoice_id, adjusts_line,
	discount, tax)
VALUES (1, 1, 3, 'adjustment', '1 USD', 0, 0, 2, 1, '0 USD', '0 USD');
INSERT INTO billing.invoice_item (tenant_id, invoice_id, line, kind, amount, discount, tax) VALUES (2, 1, 1, 'manual', '1 USD', '0 USD', '0 USD');

-- A parent with children stays, and its key too; one without goes.
DELETE FROM billing.meter WHERE code = 'calls';
DELETE FROM billing.tenant WHERE tenant_id = 4990;
DELETE FROM billing.invoice WHERE tenant_id = 1 AND invoice_id = 1;
UPDATE billing.tenant SET tenant_id = 6000 WHERE tenant_id = 4990;
DELETE FROM billing.tenant WHERE tenant_id = 2;

-- Children keep their keys.
UPDATE billing.usage_event SET tenant_id = 2;
UPDATE billing.invoice_item SET invoice_id = 2;
UPDATE billing.transaction SET invoice_id = 2;
SET client_min_messages = warning;
TRUNCATE billing.invoice_item CASCADE;
RESET client_min_messages;

-- A table whose row-by-row check is on says so, and how to switch it off.
SELECT * FROM billing.reference_check ORDER BY table_name;
ALTER TABLE billing.transaction ENABLE TRIGGER ALL;
SELECT table_name, is_checked, is_setwise, regexp_replace(remedy, '\d+', 'N', 'g') AS remedy
FROM billing.reference_check WHERE NOT is_setwise;
SELECT remedy FROM billing.reference_check WHERE NOT is_setwise \gset
:remedy
SELECT count(*) AS switched_on FROM billing.reference_check WHERE NOT is_setwise;


-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
