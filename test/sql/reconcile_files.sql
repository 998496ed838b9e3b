-- Settlement files of four gateways are read as they come, a line once, and compared with what is known here; a fee that only
-- they tell of is posted once.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET timezone = 'UTC';
SET billing.test_clock = '2026-03-10T00:00:00Z';
SELECT billing.create_tenant(1, 'One', 'USD') IS NOT NULL AS created;
SELECT billing.create_tenant(2, 'Two', 'CNY') IS NOT NULL AS created;
SELECT count(billing.create_gateway(code, 'manual')) FROM (VALUES ('alipay'), ('paypal'), ('stripe'), ('wechat')) g (code);
CREATE TEMP TABLE file (no serial, line text);

-- Stripe: a payment that was settled in another currency, a refund, and a fee of the account, whose description has two lines.
COPY file (line) FROM STDIN WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', ENCODING 'UTF8');
balance_transaction_id,created_utc,created,currency,gross,fee,net,reporting_category,source_id,description,customer_facing_amount,customer_facing_currency,charge_id,payment_intent_id,payment_metadata[pay_no],refund_metadata[refund_no]
txn_1,2026-03-01 10:00:00,2026-03-01 02:00:00,usd,49.00,1.72,47.28,charge,ch_1,"Pro, March",49.00,usd,ch_1,pi_1,1_order1,
txn_2,2026-03-02 10:00:00,2026-03-02 02:00:00,usd,-10.00,0.00,-10.00,refund,re_1,"REFUND ""Pro""",-10.00,usd,ch_1,pi_1,1_order1,1_refund1
txn_3,2026-03-03 10:00:00,2026-03-03 02:00:00,usd,-2.00,0.00,-2.00,fee,,"Billing
usage",,,,,,
txn_4,2026-03-04 10:00:00,2026-03-04 02:00:00,eur,45.10,1.80,43.30,charge,ch_2,Pro,49.00,usd,ch_2,pi_2,1_order2,
\.
SELECT * FROM billing.read_settlement('stripe', (SELECT string_agg(line, E'\n' ORDER BY no) FROM file));
SELECT * FROM billing.read_settlement('stripe', (SELECT string_agg(line, E'\n' ORDER BY no) FROM file));
TRUNCATE file;
SELECT tenant_id, kind, at, amount, fee, net, number, pay_no, external_id, payment_external_id, line_id
FROM billing.settlement_line WHERE gateway = 'stripe' ORDER BY at, line_id;

-- WeChat Pay: backticks, a name with a comma, headings in Chinese, Beijing's clock, and sums at the end.
COPY file (line) FROM STDIN WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', ENCODING 'UTF8');
交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注
`2026-03-01 18:00:00,`wx2421b1c4370ec43b,`1230000109,`0,`,`4200000001202603010000000001,`2_order3,`oUpF8uMuAJO_M2pxb1Q9zNjWeS6o,`NATIVE,`SUCCESS,`OTHERS,`CNY,`300.00,`0.00,`0,`0,`0.00,`0.00,`,`,`专业版, 三月,`,`1.80000,`0.60%,`300.00,`0.00,`
`2026-03-02 09:30:00,`wx2421b1c4370ec43b,`1230000109,`0,`,`4200000001202603010000000001,`2_order3,`oUpF8uMuAJO_M2pxb1Q9zNjWeS6o,`NATIVE,`REFUND,`OTHERS,`CNY,`0.00,`0.00,`50000000012026030200000001,`2_refund3,`100.00,`0.00,`ORIGINAL,`SUCCESS,`专业版,`,`-0.60000,`0.60%,`0.00,`100.00,`
`2026-03-02 10:00:00,`wx2421b1c4370ec43b,`1230000109,`0,`,`4200000001202603020000000002,`2_order5,`oUpF8uMuAJO_M2pxb1Q9zNjWeS6o,`NATIVE,`SUCCESS,`OTHERS,`CNY,`1.00,`0.00,`0,`0,`0.00,`0.00,`,`,`专业版,`,`0.00600,`0.60%,`1.00,`0.00,`
总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额
`3,`301.00,`100.00,`0.00,`1.20600,`301.00,`100.00
\.
SELECT * FROM billing.read_settlement('wechat', (SELECT string_agg(line, E'\n' ORDER BY no) FROM file));
SELECT * FROM billing.read_settlement('wechat', (SELECT string_agg(line, E'\n' ORDER BY no) FROM file));
TRUNCATE file;
SELECT tenant_id, kind, at, amount, fee, net, number, pay_no, external_id, payment_external_id, line_id
FROM billing.settlement_line WHERE gateway = 'wechat' ORDER BY at, line_id;

-- Alipay: titles and remarks around the lines, tabs in them, and a fee that is negative there.
COPY file (line) FROM STDIN WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', ENCODING 'UTF8');
#支付宝业务明细查询
#账号:[20880000000001560156]
#起始日期:[2026年03月01日 00:00:00]   终止日期:[2026年03月02日 00:00:00]
#-----------------------------------------业务明细列表----------------------------------------
支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注
2026030122001400000000000001	,2_order4	,交易	,专业版,2026-03-01 17:59:00,2026-03-01 18:00:10,,,,,*三(buy***@example.com),300.00,300.00,0.00,0.00,0.00,0.00,0.00,,0.00,0.00,	,-1.80,0.00,
2026030122001400000000000001	,2_order4	,退款	,专业版,2026-03-01 17:59:00,2026-03-01 20:00:00,,,,,*三(buy***@example.com),-100.00,-100.00,0.00,0.00,0.00,0.00,0.00,,0.00,0.00,2_refund4	,0.60,0.00,
#-----------------------------------------业务明细列表结束------------------------------------
#交易合计:1笔，商家实收共300.00元，商家优惠共0.00元
#退款合计:1笔，商家实收退款共-100.00元，商家优惠退款共0.00元
#导出时间:[2026年03月02日 10:00:00]
\.
SELECT * FROM billing.read_settlement('alipay', (SELECT string_agg(line, E'\n' ORDER BY no) FROM file));
SELECT * FROM billing.read_settlement('alipay', (SELECT string_agg(line, E'\n' ORDER BY no) FROM file));
TRUNCATE file;
SELECT tenant_id, kind, at, amount, fee, net, number, pay_no, external_id, payment_external_id, line_id
FROM billing.settlement_line WHERE gateway = 'alipay' ORDER BY at, line_id;

-- PayPal: hundredths without a sign, in yen too, and the clock of California.
COPY file (line) FROM STDIN WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', ENCODING 'UTF8');
"RH","2026/03/02 06:00:00 -0800","A","MERCHANT00001",011,
"FH",01
"SH","2026/03/01 00:00:00 -0800","2026/03/01 23:59:59 -0800","MERCHANT00001",""
"CH","Transaction ID","Invoice ID","PayPal Reference ID","PayPal Reference ID Type","Transaction Event Code","Transaction Initiation Date","Transaction Completion Date","Transaction  Debit or Credit","Gross Transaction Amount","Gross Transaction Currency","Fee Debit or Credit","Fee Amount","Fee Currency","Custom Field","Consumer ID"
"SB","3C679366HH908993F","1_order5","","","T0006","2026/03/01 02:00:00 -0800","2026/03/01 02:00:05 -0800","CR",4900,"USD","DR",220,"USD","1_order5","BUYER0000001"
"SB","1JU08902781691411","1_refund5","3C679366HH908993F","TXN","T1107","2026/03/01 04:00:00 -0800","2026/03/01 04:00:00 -0800","DR",1000,"USD","",,"","1_order5","BUYER0000001"
"SB","2B679366HH908993F","1_order6","","","T0006","2026/03/01 05:00:00 -0800","2026/03/01 05:00:05 -0800","CR",490000,"JPY","DR",22000,"JPY","1_order6","BUYER0000002"
"SF","USD","CR",3900,"DR",220
"SC",3
"RF","USD",2
"FF",3
\.
SELECT * FROM billing.read_settlement('paypal', (SELECT string_agg(line, E'\n' ORDER BY no) FROM file));
SELECT * FROM billing.read_settlement('paypal', (SELECT string_agg(line, E'\n' ORDER BY no) FROM file));
TRUNCATE file;
SELECT tenant_id, kind, at, amount, fee, net, number, pay_no, external_id, payment_external_id, line_id
FROM billing.settlement_line WHERE gateway = 'paypal' ORDER BY at, line_id;

-- What no file of a gateway is, and what is not exact, is refused as a whole.
SELECT billing.read_settlement('stripe', '');
SELECT billing.read_settlement('stripe', E'a,b,c\n1,2,3\n');
SELECT billing.read_settlement('stripe', E'id,Created (UTC),Type,Currency,Amount,Fee,Net\ntxn_9,2026-03-01 10:00:00,charge,usd,1.00,0.001,0.99\n');
SELECT billing.read_settlement('stripe', E'id,Created (UTC),Type,Currency,Amount,Fee,Net\ntxn_9,2026-03-01 10:00:00,charge,usd,1.00,0.01,0.99\ntxn_10,2026-02-30 10:00:00,charge,usd,1.00,0.01,0.99\n');
SELECT billing.read_settlement('stripe', E'id,Created (UTC),Type,Currency,Amount,Fee,Net\n"txn_9,2026-03-01 10:00:00,charge,usd,1.00,0.01,0.99\n');
SELECT billing.read_settlement('stripe', E'id,Created (UTC),Type,Currency,Amount,Fee,Net\ntxn_9,2026-03-01 10:00:00,charge,usd,1.00,0.01,0.99\ntxn_10,2026-03-01 10:00:00,cha');
SELECT billing.read_settlement('stripe', E'id,Created (UTC),Type,Currency,Amount,Fee,Net\ntxn_9,2026-03-01 10:00:00,charge,usd,"1,000.00",0.01,999.99\n');
SELECT billing.read_settlement('stripe', E'\uFEFFid,Created (UTC),Type,Currency,Amount,Fee,Net\r\n\r\n\r\n');
SELECT billing.read_settlement('stripe', NULL);
SELECT billing.read_settlement('nobody', 'x');
SELECT count(*) FROM billing.settlement_line WHERE line_id IN ('txn_9', 'txn_10');

-- What is known here: one that agrees, one with another amount, one that has failed here, one that the gateway does not
-- know, one without a fee, and one that the file knows only by the gateway's id.
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, purpose, gateway, external_id, status, amount, fee, method, received_at)
VALUES (1, 101, '1_order1', 'top_up', 'stripe', 'pi_1', 'succeeded', '49 USD', '1.72 USD', 'card', '2026-03-01T10:00:05Z'),
	(1, 102, '1_order2', 'top_up', 'stripe', 'pi_2', 'succeeded', '48 USD', '1.80 EUR', 'card', '2026-03-04T10:00:00Z'),
	(1, 103, '1_order5', 'top_up', 'paypal', '3C679366HH908993F', 'failed', '49 USD', NULL, 'paypal', NULL),
	(1, 104, '1_order7', 'top_up', 'stripe', 'pi_7', 'succeeded', '7 USD', '0.50 USD', 'card', '2026-03-05T00:00:00Z'),
	(2, 105, '2_order3', 'top_up', 'wechat', '4200000001202603010000000001', 'succeeded', '300 CNY', NULL, 'wechat_native', '2026-03-01T10:00:00Z'),
	(2, 106, '2_order4', 'top_up', 'alipay', '2026030122001400000000000001', 'succeeded', '300 CNY', '1.75 CNY', 'alipay_qr', '2026-03-01T10:00:10Z'),
	(2, 107, '2_order8', 'top_up', 'stripe', 'pi_8', 'succeeded', '80 USD', NULL, 'card', '2026-03-06T10:00:00Z');
INSERT INTO billing.refund (tenant_id, refund_id, refund_no, payment_id, gateway, cause, status, amount, external_id, settled_at)
VALUES (1, 201, '1_refund1', 101, 'stripe', 'top_up', 'succeeded', '10 USD', 're_1', '2026-03-02T10:00:00Z'),
	(2, 202, '2_refund3', 105, 'wechat', 'top_up', 'pending', '100 CNY', NULL, NULL);
SELECT * FROM billing.read_settlement('stripe', E'id,Type,Source,Amount,Fee,Net,Currency,Created (UTC),payment_intent_id\n'
	'txn_8,charge,ch_8,80.00,2.62,77.38,usd,2026-03-06 10:00,pi_8\n');
SELECT * FROM billing.read_settlement('stripe', E'id,Type,Source,Amount,Fee,Net,Currency,Created (UTC),payment_intent_id\n'
	'txn_8,charge,ch_8,80.00,2.62,77.38,usd,2026-03-06 10:00:00,pi_8\n');
SELECT * FROM billing.reconcile('stripe', '[2026-03-01,2026-04-01)');
SELECT * FROM billing.reconcile('paypal', '[2026-03-01,2026-04-01)');
SELECT * FROM billing.reconcile('wechat', '[2026-03-01,2026-04-01)');
SELECT * FROM billing.reconcile('alipay', '[2026-03-01,2026-04-01)');

-- What was settled twice, and what was settled in another currency than it was paid in.
SELECT * FROM billing.read_settlement('stripe', E'id,Type,Amount,Fee,Net,Currency,Created (UTC),pay_no (metadata)\n'
	'txn_11,charge,49.00,1.72,47.28,usd,2026-03-07 10:00:00,1_order1\ntxn_12,charge,7.00,0.50,6.50,eur,2026-03-07 10:00:00,1_order7\n');
SELECT verdict, number, amount, settled_amount, fee, settled_fee FROM billing.reconcile('stripe', '[2026-03-01,2026-04-01)') WHERE number IN ('1_order1', '1_order7');
DELETE FROM billing.settlement_line WHERE line_id IN ('txn_11', 'txn_12');

-- The instants of both sides may lie on different sides of the period's edge.
SELECT verdict, number, at, settled_at FROM billing.reconcile('stripe', '[2026-03-01,2026-03-01T10:00:03Z)');
SELECT verdict, number, at, settled_at FROM billing.reconcile('stripe', '[2026-03-01T10:00:03Z,2026-03-01T11:00:00Z)');
SELECT count(*) FROM billing.reconcile('stripe', '[2027-03-01,2027-04-01)');

-- Fees: those of payments that have none, and what came back with a refund; once.
SELECT kind, tenant_id, payment_id, fee FROM billing.unposted_fee ORDER BY tenant_id, payment_id, kind;
SELECT gateway, billing.post_settlement_fees(gateway, '[2026-03-01,2026-04-01)') FROM (VALUES ('alipay'), ('paypal'), ('stripe'), ('wechat')) g (gateway);
SELECT gateway, billing.post_settlement_fees(gateway, '[2026-03-01,2026-04-01)') FROM (VALUES ('alipay'), ('paypal'), ('stripe'), ('wechat')) g (gateway);
SELECT tenant_id, payment_id, fee, version FROM billing.payment WHERE gateway IS NOT NULL ORDER BY payment_id;
SELECT tenant_id, payment_id, kind, at, accounts, amounts FROM billing.transaction WHERE kind = 'fee' ORDER BY payment_id, at;
SELECT count(*) AS lines_of_another_fee FROM billing.settlement_line l JOIN billing.transaction t USING (transaction_id)
WHERE t.amounts[1] <> l.fee OR t.kind <> 'fee';
UPDATE billing.settlement_line SET fee = '1.79 CNY' WHERE number = '2_order3';
SELECT invariant, tenant_id, regexp_replace(detail, 'transaction_id=\d+ ', '') AS detail FROM billing.audit_settlement;
UPDATE billing.settlement_line SET fee = '1.80 CNY' WHERE number = '2_order3';
SELECT count(*) FROM billing.audit_settlement;
SELECT verdict, number, fee, settled_fee FROM billing.reconcile('wechat', '[2026-03-01,2026-04-01)') WHERE kind = 'payment';
SELECT billing.post_settlement_fees('wechat', NULL);

-- One line in two reports, of which only the second names the payment: it is one, before and after its fee was posted.
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, purpose, gateway, external_id, status, amount, fee, method, received_at)
VALUES (1, 120, '1_order20', 'top_up', 'stripe', 'pi_20', 'succeeded', '20 USD', NULL, 'card', '2026-04-01T10:00:00Z'),
	(1, 121, '1_order21', 'top_up', 'stripe', 'pi_21', 'succeeded', '21 USD', NULL, 'card', '2026-04-01T10:00:00Z'),
	(1, 122, '1_order22', 'top_up', 'stripe', 'pi_22', 'failed', '22 USD', NULL, 'bank_account', NULL),
	(1, 123, '1_order23', 'top_up', 'stripe', 'pi_23', 'reversed', '23 USD', NULL, 'bank_account', '2026-04-01T10:00:00Z'),
	(1, 124, '1_order24', 'top_up', 'wechat', '4200000001202604010000000024', 'succeeded', '24 CNY', '0.14 CNY', 'wechat_native', '2026-04-01T10:00:00Z');
INSERT INTO billing.refund (tenant_id, refund_id, refund_no, payment_id, gateway, cause, status, amount, external_id, settled_at)
VALUES (1, 224, '1_refund24', 124, 'wechat', 'top_up', 'succeeded', '4 CNY', '50000000012026040200000024', '2026-04-02T10:00:00Z');
SELECT * FROM billing.read_settlement('stripe', E'id,Type,Source,Amount,Fee,Net,Currency,Created (UTC),payment_intent_id\n'
	'txn_20,charge,ch_20,20.00,0.88,19.12,usd,2026-04-01 10:00:00,pi_20\ntxn_21,charge,ch_21,18.00,0.80,17.20,eur,2026-04-01 10:00:00,pi_21\n');
SELECT billing.post_settlement_fees('stripe', '[2026-04-01,2026-04-01T10:00:00Z]');
SELECT tenant_id, number, fee, transaction_id IS NOT NULL AS posted FROM billing.settlement_line WHERE line_id IN ('txn_20', 'txn_21') ORDER BY line_id;
SELECT * FROM billing.read_settlement('stripe', E'id,Type,Source,Amount,Fee,Net,Currency,Created (UTC),payment_intent_id,pay_no (metadata)\n'
	'txn_20,charge,ch_20,20.00,0.88,19.12,usd,2026-04-01 10:00:00,pi_20,1_order20\ntxn_20,charge,ch_20,20.00,0.88,19.12,usd,2026-04-01 10:00:00,pi_20,1_order20\n'
	'txn_21,charge,ch_21,18.00,0.80,17.20,eur,2026-04-01 10:00:00,pi_21,1_order21\n');
SELECT tenant_id, number, fee, transaction_id IS NOT NULL AS posted FROM billing.settlement_line WHERE line_id IN ('txn_20', 'txn_21') ORDER BY line_id;
SELECT * FROM billing.read_settlement('stripe', E'id,Type,Source,Amount,Fee,Net,Currency,Created (UTC),payment_intent_id\n'
	'txn_20,charge,ch_20,20.00,0.88,19.12,usd,2026-04-01 10:00:00,pi_20\n');

-- A direct debit is settled before its bank has paid: one that was returned came to nothing, whether that was known here before it succeeded or after.
SELECT * FROM billing.read_settlement('stripe', E'id,Type,Source,Amount,Fee,Net,Currency,Created (UTC),payment_intent_id,pay_no (metadata)\n'
	'txn_22,payment,py_22,22.00,0.18,21.82,usd,2026-04-01 10:00:00,pi_22,1_order22\ntxn_22b,payment_failure_refund,pyr_22,-22.00,0.00,-22.00,usd,2026-04-05 10:00:00,pi_22,1_order22\n'
	'txn_23,payment,py_23,23.00,0.19,22.81,usd,2026-04-01 10:00:00,pi_23,1_order23\ntxn_23b,payment_failure_refund,pyr_23,-23.00,0.00,-23.00,usd,2026-04-05 10:00:00,pi_23,1_order23\n');
SELECT billing.post_settlement_fees('stripe', '[2026-04-01,2026-05-01)');
SELECT verdict, kind, number, status, amount, settled_amount, fee, settled_fee FROM billing.reconcile('stripe', '[2026-04-01,2026-05-01)');
SELECT payment_id, amounts FROM billing.transaction WHERE kind = 'fee' AND payment_id BETWEEN 120 AND 123 ORDER BY payment_id;

-- The same refund in the bill of all and in that of refunds, with another instant; and one that has failed, which moved nothing.
SELECT * FROM billing.read_settlement('wechat', E'交易时间,微信订单号,商户订单号,交易状态,货币种类,微信退款单号,商户退款单号,退款状态,手续费,订单金额,申请退款金额\n'
	'`2026-04-01 18:00:00,`4200000001202604010000000024,`1_order24,`SUCCESS,`CNY,`0,`0,`,`0.14000,`24.00,`0.00\n'
	'`2026-04-02 18:00:00,`4200000001202604010000000024,`1_order24,`REFUND,`CNY,`50000000012026040200000024,`1_refund24,`SUCCESS,`-0.02000,`0.00,`4.00\n'
	'`2026-04-03 18:00:00,`4200000001202604010000000024,`1_order24,`REFUND,`CNY,`50000000012026040300000025,`1_refund25,`FAIL,`0.00000,`0.00,`5.00\n');
SELECT * FROM billing.read_settlement('wechat', E'交易时间,微信订单号,商户订单号,交易状态,货币种类,退款申请时间,微信退款单号,商户退款单号,退款状态,手续费,订单金额,申请退款金额\n'
	'`2026-04-01 18:00:00,`4200000001202604010000000024,`1_order24,`REFUND,`CNY,`2026-04-02 18:00:00,`50000000012026040200000024,`1_refund24,`SUCCESS,`-0.02000,`24.00,`4.00\n');
SELECT verdict, kind, number, amount, settled_amount, fee, settled_fee FROM billing.reconcile('wechat', '[2026-04-01,2026-05-01)');
SELECT billing.post_settlement_fees('nobody', '[2026-04-01,2026-05-01)');
SELECT count(*) FROM billing.audit_settlement;

-- A refund from the gateway's own console, which bears the number of its payment, is known by the gateway's id of it.
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, purpose, gateway, external_id, status, amount, fee, method, received_at)
VALUES (1, 126, '1_order26', 'top_up', 'paypal', '26', 'succeeded', '26 USD', '1 USD', 'paypal', '2026-04-01T10:00:00Z');
INSERT INTO billing.refund (tenant_id, refund_id, refund_no, payment_id, gateway, cause, status, amount, external_id, settled_at)
VALUES (1, 226, '1_refund26', 126, 'paypal', 'top_up', 'succeeded', '6 USD', '26R', '2026-04-02T10:00:00Z');
SELECT * FROM billing.read_settlement('paypal', '"CH","Transaction ID","Invoice ID","PayPal Reference ID","Transaction Event Code","Transaction Completion Date",'
	'"Transaction Debit or Credit","Gross Transaction Amount","Gross Transaction Currency","Fee Debit or Credit","Fee Amount","Fee Currency","Custom Field"' || E'\n'
	'"SB","26","1_order26","","T0006","2026/04/01 02:00:00 -0800","CR",2600,"USD","DR",100,"USD","1_order26"\n'
	'"SB","26R","1_order26","26","T1107","2026/04/02 02:00:00 -0800","DR",600,"USD","CR",20,"USD","1_order26"\n');
SELECT verdict, kind, number, amount, settled_amount FROM billing.reconcile('paypal', '[2026-04-01,2026-05-01)');

-- A tenant sees its own lines.
CREATE ROLE reconcile_reader;
SELECT billing.grant_access('reconcile_reader', 'reader');
SET billing.tenant_id = 2;
SET ROLE reconcile_reader;
SELECT gateway, kind, number FROM billing.settlement_line ORDER BY gateway, kind;
SELECT verdict, number FROM billing.reconcile('stripe', '[2026-03-01,2026-04-01)');
SELECT billing.read_settlement('stripe', 'x');
SELECT billing.post_settlement_fees('stripe', '[,)');
RESET ROLE;
RESET billing.tenant_id;
SELECT action, object, object_id, count(*) FROM billing.audit_log WHERE object = 'settlement_line' GROUP BY 1, 2, 3 ORDER BY 1, 3;
SELECT billing.revoke_access('reconcile_reader');
DROP ROLE reconcile_reader;

-- Of a gateway that there is not nothing matches: it is misspelt.
SELECT * FROM billing.reconcile('strip', tstzrange('2026-01-01', '2026-02-01'));
SELECT * FROM billing.reconcile(NULL, tstzrange('2026-01-01', '2026-02-01'));
