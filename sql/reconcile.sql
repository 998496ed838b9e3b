
-- reconcile: what gateways say they have settled, compared with what is known here -----------------

CREATE TABLE billing.settlement_line (
	tenant_id		bigint NOT NULL,
	line_hash		bytea NOT NULL CONSTRAINT settlement_line_hash_is_sha256 CHECK (octet_length(line_hash) = 32),
	gateway			text COLLATE "C" NOT NULL REFERENCES billing.gateway,
	kind			text COLLATE "C" NOT NULL
					CONSTRAINT settlement_line_kind_is_known CHECK (kind IN ('payment', 'refund', 'dispute', 'fee', 'other')),
	at				timestamptz NOT NULL,
	amount			billing.amount NOT NULL,
	fee				billing.amount,
	net				billing.amount,
	number			text COLLATE "C",
	pay_no			text COLLATE "C",
	external_id		text COLLATE "C",
	payment_external_id text COLLATE "C",
	line_id			text COLLATE "C",
	transaction_id	bigint,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, gateway, line_hash)
);
COMMENT ON TABLE billing.settlement_line
	IS 'lines of the files in which gateways state what they have settled, read by read_settlement(); a line that comes again, in whatever file, is one row';
COMMENT ON COLUMN billing.settlement_line.tenant_id IS 'whose, as the number of the payment says; 0: it says nothing, and the gateway''s id of the payment may';
COMMENT ON COLUMN billing.settlement_line.line_hash IS 'SHA-256 of what the line is known by: the gateway''s id of it where no other has that, else all that it states';
COMMENT ON COLUMN billing.settlement_line.gateway IS 'whose file it is from';
COMMENT ON COLUMN billing.settlement_line.kind IS 'payment, refund, dispute (also one that was won), fee (of the account, not of a payment), other (a payout, a top-up, a refund that has failed)';
COMMENT ON COLUMN billing.settlement_line.at IS 'when it moved, as the gateway says';
COMMENT ON COLUMN billing.settlement_line.amount IS 'what came, in the payment''s currency; negative: what went';
COMMENT ON COLUMN billing.settlement_line.fee IS 'what the gateway kept of it; negative: gave back; in the currency of the account';
COMMENT ON COLUMN billing.settlement_line.net IS 'what is left, in the currency of the account; NULL: that is another than the payment''s, and the file does not say';
COMMENT ON COLUMN billing.settlement_line.number IS 'of a payment its pay_no, of a refund its refund_no; NULL: the file does not say';
COMMENT ON COLUMN billing.settlement_line.pay_no IS 'of the payment, also of a refund or dispute; NULL: the file does not say';
COMMENT ON COLUMN billing.settlement_line.external_id IS 'the gateway''s id of the payment or refund';
COMMENT ON COLUMN billing.settlement_line.payment_external_id IS 'the gateway''s id of the payment, also of a refund or dispute';
COMMENT ON COLUMN billing.settlement_line.line_id IS 'the gateway''s id of the line';
COMMENT ON COLUMN billing.settlement_line.transaction_id IS 'of the ledger, by which its fee was posted by post_settlement_fees(); NULL: it was not';
SELECT pg_catalog.pg_extension_config_dump('billing.settlement_line', '');

CREATE INDEX settlement_line_hash ON billing.settlement_line (line_hash, gateway);
CREATE INDEX settlement_line_at ON billing.settlement_line (gateway, at);
CREATE INDEX settlement_line_number ON billing.settlement_line (tenant_id, gateway, number) WHERE number IS NOT NULL;
CREATE INDEX settlement_line_external ON billing.settlement_line (tenant_id, gateway, external_id) WHERE external_id IS NOT NULL;

ALTER TABLE billing.settlement_line ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.settlement_line
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.read_settlement(gateway text, content text, OUT lines integer, OUT loaded integer)
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_read_settlement';
COMMENT ON FUNCTION billing.read_settlement(text, text)
	IS 'reads a settlement file of a gateway, the whole of it as text, into billing.settlement_line: Stripe''s itemized balance report, the trade bills of WeChat Pay and Alipay, PayPal''s settlement report, known by their headings (of a gateway whose driver is manual any of them); returns how many lines it has and how many of them were not there yet, or name a payment only now: reading a file twice changes nothing; raises YB001 no such gateway, 22004, 22023 a file of no such format, or a line that cannot be read exactly (detail line=, column=) or was cut (record=)';

CREATE VIEW billing.gateway_movement WITH (security_invoker) AS
	SELECT 'payment' AS kind, p.tenant_id, p.payment_id AS id, p.gateway, p.pay_no AS number, p.pay_no, p.external_id, p.status,
		p.status IN ('succeeded', 'refunded', 'reversed') AS is_known, p.amount, p.fee, p.received_at AS at
	FROM billing.payment p
	WHERE p.gateway IS NOT NULL
	UNION ALL
	SELECT 'refund', r.tenant_id, r.refund_id, r.gateway, r.refund_no, p.pay_no, r.external_id, r.status,
		r.status = 'succeeded', -r.amount, NULL, r.settled_at
	FROM billing.refund r
	JOIN billing.payment p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
	WHERE r.gateway IS NOT NULL;
COMMENT ON VIEW billing.gateway_movement
	IS 'payments and refunds through gateways, as a settlement file has them: a refund is negative; is_known: it is known here that the money moved';
COMMENT ON COLUMN billing.gateway_movement.kind IS 'payment or refund';
COMMENT ON COLUMN billing.gateway_movement.id IS 'payment_id or refund_id';
COMMENT ON COLUMN billing.gateway_movement.number IS 'pay_no or refund_no';
COMMENT ON COLUMN billing.gateway_movement.is_known IS 'the payment or refund has succeeded, whatever became of it then';
COMMENT ON COLUMN billing.gateway_movement.at IS 'received_at or settled_at';

-- Both sides have their own clock, so only one of them has to be in the period: what the other says of it is looked for at
-- all times.  By its number; where that is none of ours, as of a refund from the gateway's own console, which may bear that of its payment, by
-- the gateway's id.
CREATE FUNCTION billing.reconcile(gateway text, period tstzrange)
RETURNS TABLE (verdict text, kind text, tenant_id bigint, number text, pay_no text, external_id text, status text,
	amount billing.amount, settled_amount billing.amount, fee billing.amount, settled_fee billing.amount, at timestamptz, settled_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT billing.require_gateway(reconcile.gateway);
	WITH named AS (
		SELECT l.*, coalesce(n.tenant_id, x.tenant_id) AS owner, coalesce(n.id, x.id) AS id
		FROM billing.settlement_line l
		LEFT JOIN billing.gateway_movement n ON n.kind = l.kind AND n.tenant_id = l.tenant_id AND n.number = l.number AND n.gateway = l.gateway
		LEFT JOIN billing.gateway_movement x ON n.id IS NULL AND x.kind = l.kind AND x.gateway = l.gateway AND x.external_id = l.external_id
		WHERE l.gateway = reconcile.gateway AND l.at <@ reconcile.period AND l.kind IN ('payment', 'refund')
	), object AS (
		SELECT n.kind, n.owner AS tenant_id, n.id FROM named n WHERE n.id IS NOT NULL
		UNION
		SELECT m.kind, m.tenant_id, m.id FROM billing.gateway_movement m
		WHERE m.gateway = reconcile.gateway AND m.is_known AND m.at <@ reconcile.period
	)
	SELECT CASE WHEN NOT m.is_known THEN CASE WHEN billing.minor_units(s.amount) = 0 THEN 'matched' ELSE 'missing_here' END
			WHEN s.amount IS NULL THEN 'missing_there'
			WHEN s.amount <> m.amount AND NOT (m.status = 'reversed' AND billing.minor_units(s.amount) = 0) THEN 'amount_differs'
			WHEN m.kind = 'payment' AND s.fee IS DISTINCT FROM m.fee THEN 'fee_differs' ELSE 'matched' END,
		m.kind, m.tenant_id, m.number, m.pay_no, m.external_id, m.status, m.amount, s.amount, m.fee, s.fee, m.at, s.at
	FROM object o
	JOIN billing.gateway_movement m ON m.kind = o.kind AND m.tenant_id = o.tenant_id AND m.id = o.id
	LEFT JOIN LATERAL (
		SELECT sum(l.amount) AS amount, sum(l.fee) AS fee, min(l.at) AS at
		FROM (
			SELECT l.amount, l.fee, l.at FROM billing.settlement_line l
			WHERE l.tenant_id = m.tenant_id AND l.gateway = m.gateway AND l.number = m.number AND l.kind = m.kind
			UNION ALL
			SELECT l.amount, l.fee, l.at FROM billing.settlement_line l
			WHERE l.tenant_id IN (0, m.tenant_id) AND l.gateway = m.gateway AND l.external_id = m.external_id AND l.kind = m.kind
				AND l.number IS DISTINCT FROM m.number
		) l
		GROUP BY billing.currency(l.amount), billing.currency(l.fee)
	) s ON true
	UNION ALL
	SELECT 'missing_here', n.kind, nullif(n.tenant_id, 0), n.number, n.pay_no, n.external_id, NULL, NULL, n.amount, NULL, n.fee, NULL, n.at
	FROM named n
	WHERE n.id IS NULL
	ORDER BY 13, 12, 2, 3, 4;
END;
COMMENT ON FUNCTION billing.reconcile(text, tstzrange)
	IS 'payments and refunds of a gateway whose instant, here or in its settlement files, is in the half-open period, compared: verdict is matched (also what failed here and came to nothing there), missing_here (there, and not known here to have succeeded: status says what is known), missing_there, amount_differs (or the currency does) or fee_differs (also where it is not known here: post_settlement_fees() posts it then); refunds are negative, and their fees are not compared; a row for each currency in which one was settled; raises YB001 no such gateway, 22004';

-- Of lines that say the same payment the first counts: the others are for a person to look at.
CREATE VIEW billing.unposted_fee WITH (security_invoker) AS
	SELECT l.gateway, l.tenant_id AS line_tenant_id, l.line_hash, l.kind, l.at, l.fee, p.tenant_id, p.payment_id, p.invoice_id
	FROM billing.settlement_line l
	JOIN billing.payment p ON p.tenant_id = l.tenant_id AND p.pay_no = l.pay_no AND p.gateway = l.gateway
	WHERE l.transaction_id IS NULL AND p.status IN ('succeeded', 'refunded', 'reversed')
	  AND (l.kind = 'payment' AND p.fee IS NULL AND billing.minor_units(l.amount) > 0 AND billing.minor_units(l.fee) >= 0 OR l.kind = 'refund' AND billing.minor_units(l.fee) <> 0)
	  AND NOT EXISTS (SELECT FROM billing.settlement_line o
		WHERE o.tenant_id = l.tenant_id AND o.gateway = l.gateway AND o.number = l.number AND o.kind = l.kind AND o.kind = 'payment'
		  AND billing.minor_units(o.amount) > 0 AND o.line_hash < l.line_hash)
	UNION ALL
	SELECT l.gateway, l.tenant_id, l.line_hash, l.kind, l.at, l.fee, p.tenant_id, p.payment_id, p.invoice_id
	FROM billing.settlement_line l
	JOIN billing.payment p ON p.gateway = l.gateway AND p.external_id = l.payment_external_id
	WHERE l.pay_no IS NULL AND l.transaction_id IS NULL AND p.status IN ('succeeded', 'refunded', 'reversed')
	  AND (l.kind = 'payment' AND p.fee IS NULL AND billing.minor_units(l.amount) > 0 AND billing.minor_units(l.fee) >= 0 OR l.kind = 'refund' AND billing.minor_units(l.fee) <> 0)
	  AND NOT EXISTS (SELECT FROM billing.settlement_line o
		WHERE o.tenant_id = l.tenant_id AND o.gateway = l.gateway AND o.external_id = l.external_id AND o.number IS NULL AND o.kind = l.kind AND o.kind = 'payment'
		  AND billing.minor_units(o.amount) > 0 AND o.line_hash < l.line_hash)
	  AND NOT EXISTS (SELECT FROM billing.settlement_line o
		WHERE o.tenant_id = p.tenant_id AND o.gateway = p.gateway AND o.number = p.pay_no AND o.kind = l.kind AND o.kind = 'payment'
		  AND billing.minor_units(o.amount) > 0);
COMMENT ON VIEW billing.unposted_fee
	IS 'fees of settlement lines that the ledger does not have: of a payment whose fee is not known here, and what was kept or given back with a refund';
COMMENT ON COLUMN billing.unposted_fee.line_tenant_id IS 'of the line, with gateway and line_hash';
COMMENT ON COLUMN billing.unposted_fee.tenant_id IS 'of the payment';

CREATE FUNCTION billing.post_settlement_fees(gateway text, period tstzrange)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_post_settlement_fees';
COMMENT ON FUNCTION billing.post_settlement_fees(text, tstzrange)
	IS 'posts what billing.unposted_fee has of a gateway and a half-open period: fees against cash, as a transaction of kind fee at the instant of the line, and states a payment''s fee; each line once; returns how many fees it learnt; raises YB001 no such gateway, 22004';
