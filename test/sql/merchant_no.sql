-- Promise: the number of a payment or refund at a gateway carries its tenant, and no two ids have one.

SELECT billing.merchant_no(1, 5) AS short, billing.merchant_no(1, 123456789) AS id, billing.merchant_no(9223372036854775807, 281474976710655) AS long,
	length(billing.merchant_no(9223372036854775807, 281474976710655)) AS bytes;

SELECT count(*) AS ids, count(DISTINCT billing.merchant_no(7, n)) AS numbers, bool_and(billing.is_merchant_no(7, billing.merchant_no(7, n))) AS are_ones,
	bool_or(billing.is_merchant_no(8, billing.merchant_no(7, n))) AS of_another, bool_or(billing.is_merchant_no(77, billing.merchant_no(7, n))) AS of_a_longer
FROM generate_series(0, 100000, 7) AS n;

-- The form: 6 to 32 bytes, the tenant as a number is written, an underscore, something.
SELECT t.no, billing.is_merchant_no(12, t.no) AS is_one
FROM (VALUES ('12_abc'), ('12_ABC_'), ('12_ab'), ('012_abc'), ('12-abcd'), ('12_a b'), ('12_äbc'), ('12____'), ('12abcd'), ('_12abc'), ('+12_abc'), (''), ('123456'),
	('12_' || repeat('a', 29)), ('12_' || repeat('a', 30)), (E'12_abc\n'), ('9999999999999999999_abc'), ('-12_abcd')) AS t (no);

-- One of a payment by a gateway must be so; one that came outside is whatever it was called.
SELECT tenant_id FROM billing.create_tenant(12, 'Merchant', 'USD');
\set VERBOSITY terse
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, purpose, status, amount, method) VALUES (12, 1, 'cheque 7', 'top_up', 'pending', '1 USD', 'cheque');
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, purpose, status, amount, method, gateway) VALUES (12, 2, 'cheque 8', 'top_up', 'pending', '1 USD', 'cheque', 'manual');
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, purpose, status, amount, method, gateway) VALUES (12, 3, '13_cheque', 'top_up', 'pending', '1 USD', 'cheque', 'manual');
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, purpose, status, amount, method, gateway) VALUES (12, 4, '12_cheque', 'top_up', 'pending', '1 USD', 'cheque', 'manual');
SELECT payment_id, pay_no FROM billing.payment WHERE tenant_id = 12 ORDER BY 1;
