-- Promise: the number of a payment or refund at a gateway carries its tenant, and no two have one.

SELECT length(billing.new_merchant_no(1)) AS short, length(billing.new_merchant_no(9223372036854775807)) AS long;

SELECT count(*) AS made, count(DISTINCT m.no) AS numbers, bool_and(billing.is_merchant_no(7, m.no)) AS are_ones,
	bool_or(billing.is_merchant_no(8, m.no)) AS of_another, bool_or(billing.is_merchant_no(77, m.no)) AS of_a_longer
FROM (SELECT billing.new_merchant_no(7 + n - n) AS no FROM generate_series(1, 10000) AS n) AS m;

-- The form: 6 to 32 bytes, the tenant as a number is written, an underscore, something.
SELECT t.no, billing.is_merchant_no(12, t.no) AS is_one
FROM (VALUES ('12_abc'), ('12_ABC_'), ('12_ab'), ('012_abc'), ('12-abcd'), ('12_a b'), ('12_äbc'), ('12____'), ('12abcd'), ('_12abc'), ('+12_abc'), (''), ('123456'),
	('12_' || repeat('a', 29)), ('12_' || repeat('a', 30)), (E'12_abc\n'), ('9999999999999999999_abc'), ('-12_abcd')) AS t (no);

-- One of a payment by a gateway must be so; one that came outside is whatever it was called.
SELECT tenant_id FROM billing.create_tenant(12, 'Merchant', 'USD');
INSERT INTO billing.gateway (code, driver) VALUES ('manual', 'manual');
\set VERBOSITY terse
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, purpose, status, amount, method) VALUES (12, 1, 'cheque 7', 'top_up', 'pending', '1 USD', 'cheque');
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, purpose, status, amount, method, gateway) VALUES (12, 2, 'cheque 8', 'top_up', 'pending', '1 USD', 'cheque', 'manual');
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, purpose, status, amount, method, gateway) VALUES (12, 3, '13_cheque', 'top_up', 'pending', '1 USD', 'cheque', 'manual');
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, purpose, status, amount, method, gateway) VALUES (12, 4, '12_cheque', 'top_up', 'pending', '1 USD', 'cheque', 'manual');
SELECT payment_id, pay_no FROM billing.payment WHERE tenant_id = 12 ORDER BY 1;
