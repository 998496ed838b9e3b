-- Promise: coupons take off one after the other, each rounded once and shared by the lines it is for, and never below zero.
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.terms(code text, percent numeric DEFAULT NULL, amount billing.amount DEFAULT NULL, currency text DEFAULT NULL,
	min_amount billing.amount DEFAULT NULL, max_discount billing.amount DEFAULT NULL, prices text[] DEFAULT NULL, plans text[] DEFAULT NULL,
	is_stackable boolean DEFAULT true)
RETURNS billing.coupon_terms LANGUAGE sql IMMUTABLE
RETURN ROW(code, percent, amount, currency, min_amount, max_discount, prices, plans, is_stackable)::billing.coupon_terms;
RESET client_min_messages;

-- A percentage of the sum, rounded once; shares by largest remainder, the earlier of equals first.
SELECT * FROM billing.discount('USD', '{"0.05 USD","0.05 USD","0.05 USD"}', ARRAY[pg_temp.terms('HALF', 50)]);
SELECT * FROM billing.discount('USD', '{"10.01 USD","0.02 USD","5.00 USD"}', ARRAY[pg_temp.terms('THIRD', 33.333333)]);
SELECT * FROM billing.discount('JPY', '{"1000 JPY"}', ARRAY[pg_temp.terms('A', 15.5)]);
-- A fixed amount, and what is left of one that is larger.
SELECT * FROM billing.discount('USD', '{"2.00 USD","1.00 USD"}', ARRAY[pg_temp.terms('SIX', amount => '0.06 USD')]);
SELECT * FROM billing.discount('USD', '{"2.00 USD","1.00 USD"}', ARRAY[pg_temp.terms('TEN', amount => '10 USD')]);
-- One after the other: 20 off 100, then 10 % of 80; the other way round 10 % of 100, then 20.
SELECT discount, coupon_discounts FROM billing.discount('USD', '{"100 USD"}', ARRAY[pg_temp.terms('FIX', amount => '20 USD'), pg_temp.terms('PER', 10)]);
SELECT discount, coupon_discounts FROM billing.discount('USD', '{"100 USD"}', ARRAY[pg_temp.terms('PER', 10), pg_temp.terms('FIX', amount => '20 USD')]);
-- For some prices, or plans, or both.
SELECT line_discounts FROM billing.discount('USD', '{"30 USD","70 USD","10 USD"}', ARRAY[pg_temp.terms('P', amount => '40 USD', prices => '{base}')], '{base,calls,NULL}');
SELECT line_discounts FROM billing.discount('USD', '{"30 USD","70 USD","10 USD"}', ARRAY[pg_temp.terms('P', 10, plans => '{pro}')], NULL, '{pro,basic,NULL}');
SELECT line_discounts FROM billing.discount('USD', '{"30 USD","70 USD","10 USD"}', ARRAY[pg_temp.terms('P', 10, prices => '{base}', plans => '{pro}')], '{base,base,calls}', '{pro,basic,pro}');
SELECT line_discounts FROM billing.discount('USD', '{"30 USD"}', ARRAY[pg_temp.terms('P', 10, prices => '{}')], '{base}');
-- At most so much; nothing below so much, which is what the lines were before any coupon.
SELECT coupon_discounts FROM billing.discount('USD', '{"100 USD"}', ARRAY[pg_temp.terms('MAX', 50, max_discount => '20 USD')]);
SELECT coupon_discounts FROM billing.discount('USD', '{"49.99 USD"}', ARRAY[pg_temp.terms('MIN', 50, min_amount => '50 USD')]);
SELECT coupon_discounts FROM billing.discount('USD', '{"50 USD"}', ARRAY[pg_temp.terms('FIX', amount => '20 USD'), pg_temp.terms('MIN', 50, min_amount => '50 USD')]);
-- Another currency, or one that stands alone.
SELECT coupon_discounts, coupon_left FROM billing.discount('EUR', '{"1.00 EUR"}', ARRAY[pg_temp.terms('NOK', amount => '0.10 NOK'), pg_temp.terms('ANY', 10),
	pg_temp.terms('USD', 10, currency => 'USD')]);
SELECT coupon_discounts FROM billing.discount('USD', '{"100 USD"}', ARRAY[pg_temp.terms('ALONE', 10, is_stackable => false), pg_temp.terms('B', 10)]);
SELECT coupon_discounts FROM billing.discount('USD', '{"100 USD"}', ARRAY[pg_temp.terms('B', 10), pg_temp.terms('ALONE', 10, is_stackable => false)]);
SELECT coupon_discounts FROM billing.discount('USD', '{"100 USD"}', ARRAY[pg_temp.terms('ALONE', 10, is_stackable => false, min_amount => '200 USD'), pg_temp.terms('B', 10)]);
-- A negative line bears its share, no line changes its sign, and of nothing nothing is taken.
SELECT discount, line_discounts FROM billing.discount('USD', '{"10 USD","-3 USD"}', ARRAY[pg_temp.terms('P', 20)]);
SELECT discount, line_discounts FROM billing.discount('USD', '{"10 USD","-3 USD"}', ARRAY[pg_temp.terms('P', 100)]);
SELECT discount, line_discounts FROM billing.discount('USD', '{"10 USD","-9.99 USD"}', ARRAY[pg_temp.terms('F', amount => '5 USD')]);
SELECT discount, line_discounts FROM billing.discount('USD', '{"3 USD","-3 USD"}', ARRAY[pg_temp.terms('F', amount => '5 USD')]);
SELECT discount, line_discounts FROM billing.discount('USD', '{"3 USD","-5 USD"}', ARRAY[pg_temp.terms('P', 100)]);
SELECT * FROM billing.discount('USD', '{}', ARRAY[pg_temp.terms('P', 100)]);
SELECT * FROM billing.discount('USD', '{"1 USD"}', '{}');
SELECT billing.discount('USD', NULL, '{}') IS NULL AS of_no_lines, billing.discount('USD', '{}', NULL) IS NULL AS of_no_coupons;

-- The ends of the range.
SELECT discount, line_discounts FROM billing.discount('USD', '{"92233720368547758.07 USD"}', ARRAY[pg_temp.terms('P', 100)]);
SELECT discount FROM billing.discount('USD', '{"92233720368547758.07 USD"}', ARRAY[pg_temp.terms('P', 99.999999)]);
SELECT line_discounts FROM billing.discount('USD', '{"92233720368547758.07 USD","-92233720368547758.08 USD","0.02 USD"}', ARRAY[pg_temp.terms('P', 100)]);

SELECT billing.discount('USD', '{"92233720368547758.07 USD","0.01 USD"}', ARRAY[pg_temp.terms('P', 1)]);
SELECT billing.discount('USD', '{"1 EUR"}', '{}');
SELECT billing.discount('XXX', '{}', '{}');
SELECT billing.discount('USD', '{"1 USD"}', '{NULL}');
SELECT billing.discount('USD', '{"1 USD",NULL}', '{}');
SELECT billing.discount('USD', '{"1 USD"}', '{}', '{a,b}');
SELECT billing.discount('USD', '{"1 USD"}', '{}', NULL, '{}');
SELECT billing.discount('USD', '{"1 USD"}', ARRAY[pg_temp.terms('BOTH', 10, '1 USD')]);
SELECT billing.discount('USD', '{"1 USD"}', ARRAY[pg_temp.terms('NONE')]);
SELECT billing.discount('USD', '{"1 USD"}', ARRAY[pg_temp.terms('LARGE', 100.000001)]);
SELECT billing.discount('USD', '{"1 USD"}', ARRAY[pg_temp.terms('NEGATIVE', -1)]);
SELECT billing.discount('USD', '{"1 USD"}', ARRAY[pg_temp.terms('FINE', 0.0000001)]);
SELECT billing.discount('USD', '{"1 USD"}', ARRAY[pg_temp.terms('NAN', 'NaN')]);
SELECT billing.discount('USD', '{"1 USD"}', ARRAY[pg_temp.terms('LESS', amount => '-1 USD')]);
SELECT billing.discount('USD', '{"1 USD"}', ARRAY[pg_temp.terms('MIXED', amount => '1 USD', max_discount => '1 EUR')]);
