
-- audit: what must hold between rows, whoever wrote them ------------------------------

-- One view a noun.  Each names what is broken: the invariant, whose, in which object,
-- and how.  They read all there is, set by set: a check costs a scan and a join.

CREATE VIEW billing.audit_invoice WITH (security_invoker) AS
	SELECT 'an invoice is the sum of its lines' AS invariant, v.tenant_id, format('invoice %s', v.invoice_id) AS object,
		format('item_count=%s lines=%s subtotal=%s sum=%s discount=%s/%s tax=%s/%s tax_included=%s/%s', v.item_count, coalesce(i.lines, 0),
			v.subtotal, i.sum, v.discount, i.discount, v.tax, i.tax, v.tax_included, i.included) AS detail
	FROM billing.invoice v
	LEFT JOIN (
		SELECT i.tenant_id, i.invoice_id, count(*) AS lines, sum(billing.minor_units(i.amount)) AS sum,
			sum(billing.minor_units(i.discount)) AS discount, sum(billing.minor_units(i.tax)) AS tax,
			sum(billing.minor_units(i.tax_included)) AS included
		FROM billing.invoice_item i
		GROUP BY i.tenant_id, i.invoice_id
	) i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
	WHERE v.item_count <> coalesce(i.lines, 0) OR billing.minor_units(v.subtotal) <> coalesce(i.sum, 0)
	   OR billing.minor_units(v.discount) <> coalesce(i.discount, 0) OR billing.minor_units(v.tax) <> coalesce(i.tax, 0)
	   OR coalesce(billing.minor_units(v.tax_included), 0) <> coalesce(i.included, 0)
	UNION ALL
	SELECT 'the tax of an invoice is the sum of its taxes', v.tenant_id, format('invoice %s', v.invoice_id),
		format('tax_count=%s taxes=%s tax=%s sum=%s tax_included=%s/%s', v.tax_count, coalesce(t.taxes, 0), v.tax, t.sum, v.tax_included, t.included)
	FROM billing.invoice v
	LEFT JOIN (
		SELECT t.tenant_id, t.invoice_id, count(*) AS taxes, sum(billing.minor_units(t.amount)) AS sum,
			sum(billing.minor_units(t.amount)) FILTER (WHERE t.is_inclusive) AS included
		FROM billing.invoice_tax t
		GROUP BY t.tenant_id, t.invoice_id
	) t ON t.tenant_id = v.tenant_id AND t.invoice_id = v.invoice_id
	WHERE v.tax_count <> coalesce(t.taxes, 0) OR billing.minor_units(v.tax) <> coalesce(t.sum, 0)
	   OR coalesce(billing.minor_units(v.tax_included), 0) <> coalesce(t.included, 0)
	UNION ALL
	SELECT 'amounts of an invoice are in its currency', v.tenant_id, format('invoice %s', v.invoice_id),
		format('currency=%s subtotal=%s total=%s', v.currency, v.subtotal, v.total)
	FROM billing.invoice v
	WHERE v.currency <> ANY (ARRAY[billing.currency(v.subtotal), billing.currency(v.discount), billing.currency(v.tax),
		billing.currency(v.excess), billing.currency(v.total), billing.currency(v.credited), billing.currency(v.wallet_applied),
		billing.currency(v.paid)])
	UNION ALL
	SELECT 'amounts of an invoice are in its currency', i.tenant_id, format('invoice %s line %s', i.invoice_id, i.line),
		format('currency=%s amount=%s discount=%s tax=%s tax_included=%s', v.currency, i.amount, i.discount, i.tax, i.tax_included)
	FROM billing.invoice_item i
	JOIN billing.invoice v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id
	WHERE v.currency <> ANY (ARRAY[billing.currency(i.amount), billing.currency(i.discount), billing.currency(i.tax),
		coalesce(billing.currency(i.tax_included), v.currency)])
	UNION ALL
	SELECT 'amounts of an invoice are in its currency', t.tenant_id, format('invoice %s tax %s', t.invoice_id, t.line_no),
		format('currency=%s base=%s amount=%s', v.currency, t.base, t.amount)
	FROM billing.invoice_tax t
	JOIN billing.invoice v ON v.tenant_id = t.tenant_id AND v.invoice_id = t.invoice_id
	WHERE v.currency <> ANY (ARRAY[billing.currency(t.base), billing.currency(t.amount)])
	UNION ALL
	SELECT 'a final invoice has the number of its link', v.tenant_id, format('invoice %s', v.invoice_id),
		format('number=%s chain_no=%s', v.number, l.chain_no)
	FROM billing.invoice v
	JOIN billing.calculation_log l ON l.tenant_id = v.tenant_id AND l.invoice_id = v.invoice_id
	CROSS JOIN LATERAL (SELECT billing.invoice_number('', v.tenant_id, l.chain_no) AS ending) n
	WHERE right(v.number, length(n.ending)) <> n.ending
	UNION ALL
	SELECT 'numbers of invoices have no gap', coalesce(c.tenant_id, v.tenant_id), 'counter',
		format('invoice_number=%s final invoices=%s', coalesce(c.invoice_number, 0), coalesce(v.invoices, 0))
	FROM billing.counter c
	FULL JOIN (
		SELECT v.tenant_id, count(*) AS invoices
		FROM billing.invoice v
		WHERE v.status <> 'draft'
		GROUP BY v.tenant_id
	) v ON v.tenant_id = c.tenant_id
	WHERE coalesce(c.invoice_number, 0) <> coalesce(v.invoices, 0)
	UNION ALL
	SELECT 'a boundary of a subscription has one invoice of a kind', v.tenant_id, format('subscription %s', v.subscription_id),
		format('period_end=%s kind=%s invoices=%s', v.period_end, v.kind, string_agg(v.invoice_id::text, ',' ORDER BY v.invoice_id))
	FROM billing.invoice v
	WHERE v.status <> 'void' AND v.subscription_id IS NOT NULL
	GROUP BY v.tenant_id, v.subscription_id, v.period_end, v.kind
	HAVING count(*) > 1
	UNION ALL
	SELECT 'the key and the periods of an invoice are those of its boundary', v.tenant_id, format('invoice %s', v.invoice_id),
		format('biz_key=%s period=[%s,%s)', v.biz_key, v.period_start, v.period_end)
	FROM billing.invoice v
	LEFT JOIN billing.calculation_log l ON l.tenant_id = v.tenant_id AND l.invoice_id = v.invoice_id
	LEFT JOIN (
		-- One that was voided left its parts to the one that was issued for it.
		SELECT r.tenant_id, r.subscription_id, r.kind, r.period_end, min(coalesce(lower(d.arrears), lower(d.step_arrears))) AS period_start
		FROM billing.due_part d
		JOIN billing.invoice r ON r.tenant_id = d.tenant_id AND r.invoice_id = d.invoice_id
		GROUP BY r.tenant_id, r.subscription_id, r.kind, r.period_end
	) d ON d.tenant_id = v.tenant_id AND d.subscription_id = v.subscription_id AND d.kind = v.kind AND d.period_end = v.period_end
	WHERE v.subscription_id IS NOT NULL
	  AND (NOT v.biz_key ^@ left(billing.biz_key(v.subscription_id, v.period_end, v.kind, 1), -1)
		OR v.period_start <> least(coalesce(lower(l.arrears), lower(l.step_arrears)), d.period_start, v.period_end)
		OR v.period_end <> coalesce(upper(l.arrears), upper(l.step_arrears), lower(l.advance), lower(l.step_advance), v.period_end))
	UNION ALL
	SELECT 'the state of an invoice is what its columns say', v.tenant_id, format('invoice %s', v.invoice_id),
		format('status=%s amount_due=%s paid_at=%s voided_at=%s', v.status, v.amount_due, v.paid_at, v.voided_at)
	FROM billing.invoice v
	WHERE (v.status = 'open' AND billing.minor_units(v.amount_due) = 0)
	   OR (v.status = 'paid') <> (v.paid_at IS NOT NULL)
	   OR (v.status = 'void') <> (v.voided_at IS NOT NULL)
	   OR (v.status = 'draft' AND billing.minor_units(v.paid) <> 0);
COMMENT ON VIEW billing.audit_invoice
	IS 'broken invariants of invoices, their lines and taxes: sums, currencies, numbers, states, keys, one invoice a boundary';

-- An interim invoice that stands is taken off once, by the line of its period.
CREATE VIEW billing.audit_threshold WITH (security_invoker) AS
	SELECT 'what an interim invoice billed is taken off once' AS invariant, i.tenant_id, format('invoice %s line %s', i.invoice_id, i.line) AS object,
		format('amount=%s taken_off=%s credits=%s closed=%s', i.amount, c.amount, coalesce(c.credits, 0), u.invoice_id) AS detail
	FROM billing.invoice v
	JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id AND i.kind = 'interim'
	LEFT JOIN LATERAL (
		SELECT count(*) AS credits, sum(c.amount) AS amount
		FROM billing.invoice_item c
		JOIN billing.invoice w ON w.tenant_id = c.tenant_id AND w.invoice_id = c.invoice_id AND w.status <> 'void'
		WHERE c.tenant_id = i.tenant_id AND c.adjusts_invoice_id = i.invoice_id AND c.adjusts_line = i.line AND c.kind = 'interim_credit'
	) c ON true
	LEFT JOIN LATERAL (
		SELECT w.invoice_id
		FROM billing.invoice w
		JOIN billing.invoice_item u ON u.tenant_id = w.tenant_id AND u.invoice_id = w.invoice_id AND u.kind = 'usage'
		WHERE w.tenant_id = v.tenant_id AND w.subscription_id = v.subscription_id AND w.status <> 'void' AND w.invoice_id > v.invoice_id
		  AND u.price_code = i.price_code AND u.period_start = i.period_start
		LIMIT 1
	) u ON true
	WHERE v.kind = 'threshold'
	  AND (c.credits <> CASE WHEN v.status <> 'void' AND u.invoice_id IS NOT NULL THEN 1 ELSE 0 END OR c.amount <> -i.amount)
	UNION ALL
	SELECT 'what is taken off was billed by an interim invoice', c.tenant_id, format('invoice %s line %s', c.invoice_id, c.line),
		format('adjusts_invoice_id=%s adjusts_line=%s kind=%s', c.adjusts_invoice_id, c.adjusts_line, i.kind)
	FROM billing.invoice_item c
	LEFT JOIN billing.invoice_item i ON i.tenant_id = c.tenant_id AND i.invoice_id = c.adjusts_invoice_id AND i.line = c.adjusts_line
	WHERE c.kind = 'interim_credit' AND i.kind IS DISTINCT FROM 'interim';
COMMENT ON VIEW billing.audit_threshold
	IS 'broken invariants of interim invoices: the invoice that ends the period takes off what they billed, once';

CREATE VIEW billing.audit_rerate WITH (security_invoker) AS
	SELECT 'a corrected price is that of the line it corrects' AS invariant, r.tenant_id,
		format('rerated_line %s/%s', r.adjusts_invoice_id, r.adjusts_line) AS object,
		format('correction_id=%s price=%s/%s period_start=%s during=%s subscription_id=%s/%s', r.correction_id, i.price_code, c.price_code,
			i.period_start, c.during, r.subscription_id, v.subscription_id) AS detail
	FROM billing.rerated_line r
	JOIN billing.price_correction c ON c.correction_id = r.correction_id
	LEFT JOIN billing.invoice_item i ON i.tenant_id = r.tenant_id AND i.invoice_id = r.adjusts_invoice_id AND i.line = r.adjusts_line
	LEFT JOIN billing.invoice v ON v.tenant_id = r.tenant_id AND v.invoice_id = r.adjusts_invoice_id
	WHERE i.price_code IS DISTINCT FROM c.price_code OR v.subscription_id IS DISTINCT FROM r.subscription_id
	   OR NOT coalesce(c.during @> i.period_start, false) OR i.kind NOT IN ('fixed', 'usage')
	UNION ALL
	SELECT 'a corrected price is booked by a later invoice of its subscription', r.tenant_id,
		format('rerated_line %s/%s', r.adjusts_invoice_id, r.adjusts_line), format('invoice_id=%s status=%s', r.invoice_id, v.status)
	FROM billing.rerated_line r
	LEFT JOIN billing.invoice v ON v.tenant_id = r.tenant_id AND v.invoice_id = r.invoice_id AND v.subscription_id = r.subscription_id
	WHERE r.invoice_id IS NOT NULL AND (coalesce(v.status, 'void') = 'void' OR r.invoice_id <= r.adjusts_invoice_id)
	UNION ALL
	SELECT 'a corrected price is booked up to where its line was used', r.tenant_id,
		format('rerated_line %s/%s', r.adjusts_invoice_id, r.adjusts_line),
		format('invoice_id=%s used_to=%s credited_from=%s', r.invoice_id, r.used_to, c.used_to)
	FROM billing.rerated_line r
	CROSS JOIN LATERAL (SELECT billing.line_used_to(r.tenant_id, r.adjusts_invoice_id, r.adjusts_line) AS used_to) c
	WHERE r.used_to IS NOT NULL AND (r.invoice_id IS NULL OR r.used_to IS DISTINCT FROM c.used_to);
COMMENT ON VIEW billing.audit_rerate
	IS 'broken invariants of corrected prices: whose line they correct, who booked the difference, and for which time';

CREATE VIEW billing.audit_calculation WITH (security_invoker) AS
	SELECT 'an invoice has its calculation' AS invariant, v.tenant_id, format('invoice %s', v.invoice_id) AS object,
		format('status=%s calculation=%s chain_no=%s', v.status, CASE WHEN l.invoice_id IS NULL THEN 'none' ELSE 'there' END,
			coalesce(l.chain_no::text, 'none')) AS detail
	FROM billing.invoice v
	LEFT JOIN billing.calculation_log l ON l.tenant_id = v.tenant_id AND l.invoice_id = v.invoice_id
	WHERE l.invoice_id IS NULL OR (v.status = 'draft') <> (l.chain_no IS NULL)
	UNION ALL
	SELECT 'the text of a calculation has its hash', l.tenant_id, format('calculation_log %s', l.invoice_id),
		format('hash=%s sha256=%s', encode(l.hash, 'hex'), encode(sha256(convert_to(l.inputs, 'UTF8')), 'hex'))
	FROM billing.calculation_log l
	WHERE l.hash <> sha256(convert_to(l.inputs, 'UTF8'))
	UNION ALL
	SELECT 'the chain of calculations has no gap', l.tenant_id, format('calculation_log %s', l.invoice_id),
		format('chain_no=%s before=%s', l.chain_no, coalesce(l.no_before, 0))
	FROM (
		SELECT l.tenant_id, l.invoice_id, l.chain_no, lag(l.chain_no) OVER (PARTITION BY l.tenant_id ORDER BY l.chain_no) AS no_before
		FROM billing.calculation_log l
		WHERE l.chain_no IS NOT NULL
	) l
	WHERE l.chain_no <> coalesce(l.no_before, 0) + 1
	UNION ALL
	SELECT 'a link of the chain follows from the one before', l.tenant_id, format('calculation_log %s', l.invoice_id),
		format('chain_no=%s chain_hash=%s', l.chain_no, encode(l.chain_hash, 'hex'))
	FROM (
		SELECT l.tenant_id, l.invoice_id, l.chain_no, l.chain_hash, l.hash,
			lag(l.chain_hash) OVER (PARTITION BY l.tenant_id ORDER BY l.chain_no) AS hash_before
		FROM billing.calculation_log l
		WHERE l.chain_no IS NOT NULL
	) l
	WHERE l.chain_hash <> billing.chain_link(NULL, coalesce(l.hash_before, ''), l.hash)
	UNION ALL
	SELECT 'the counter is the head of the chain', coalesce(c.tenant_id, l.tenant_id), 'counter',
		format('chain_no=%s chain_hash=%s head=%s/%s', c.chain_no, encode(c.chain_hash, 'hex'), coalesce(l.chain_no, 0), encode(l.chain_hash, 'hex'))
	FROM billing.counter c
	FULL JOIN (
		SELECT DISTINCT ON (l.tenant_id) l.tenant_id, l.chain_no, l.chain_hash
		FROM billing.calculation_log l
		WHERE l.chain_no IS NOT NULL
		ORDER BY l.tenant_id, l.chain_no DESC
	) l ON l.tenant_id = c.tenant_id
	WHERE coalesce(c.chain_no, 0) <> coalesce(l.chain_no, 0) OR coalesce(c.chain_hash, '') <> coalesce(l.chain_hash, '');
COMMENT ON VIEW billing.audit_calculation
	IS 'broken invariants of the calculation log: a row for each invoice, hashes, the chain and its head; whether the calculation is right is billing.verify_all()''s question';

CREATE VIEW billing.audit_payment WITH (security_invoker) AS
	SELECT 'what is paid of an invoice was received' AS invariant, v.tenant_id, format('invoice %s', v.invoice_id) AS object,
		format('paid=%s payments=%s', v.paid, coalesce(p.text, 'none')) AS detail
	FROM billing.invoice v
	LEFT JOIN (
		SELECT p.tenant_id, p.invoice_id, sum(n.units) AS sum, string_agg(n.units::text, ' + ' ORDER BY p.payment_id) AS text
		FROM billing.payment p
		CROSS JOIN LATERAL (
			SELECT a.units - r.reopened - least(coalesce(billing.minor_units(p.reversed), 0), greatest(a.units - r.refunded, 0)) AS units
			FROM (SELECT billing.minor_units(p.amount) - coalesce(billing.minor_units(p.excess), 0) AS units) a,
				(SELECT coalesce(sum(billing.minor_units(r.amount)), 0) AS refunded,
					coalesce(sum(billing.minor_units(r.amount)) FILTER (WHERE r.cause = 'reopening'), 0) AS reopened
				FROM billing.refund r
				WHERE r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id AND r.cause <> 'excess') r
		) n
		WHERE p.status IN ('succeeded', 'refunded', 'reversed')
		GROUP BY p.tenant_id, p.invoice_id
	) p ON p.tenant_id = v.tenant_id AND p.invoice_id = v.invoice_id
	WHERE billing.minor_units(v.paid) <> coalesce(p.sum, 0)
	UNION ALL
	SELECT 'a payment is in the currency of its invoice', p.tenant_id, format('payment %s', p.payment_id),
		format('amount=%s currency=%s', p.amount, v.currency)
	FROM billing.payment p
	JOIN billing.invoice v ON v.tenant_id = p.tenant_id AND v.invoice_id = p.invoice_id
	WHERE billing.currency(p.amount) <> v.currency
	UNION ALL
	SELECT 'a payment has its transaction', p.tenant_id, format('payment %s', p.payment_id),
		format('status=%s amount=%s cash=%s', p.status, p.amount, coalesce(t.cash::text, 'none'))
	FROM billing.payment p
	LEFT JOIN (
		SELECT e.tenant_id, e.payment_id, sum(billing.minor_units(e.amount)) AS cash
		FROM billing.ledger_entry e
		WHERE e.account IN ('cash', 'fees') AND e.kind IN ('payment', 'recovery', 'top_up')
		GROUP BY e.tenant_id, e.payment_id
	) t ON t.tenant_id = p.tenant_id AND t.payment_id = p.payment_id
	WHERE p.status IN ('succeeded', 'refunded', 'reversed') AND coalesce(t.cash, 0) <> billing.minor_units(p.amount)
	   OR p.status NOT IN ('succeeded', 'refunded', 'reversed') AND t.cash IS NOT NULL
	UNION ALL
	SELECT 'what was taken back of a payment is in the ledger', p.tenant_id, format('payment %s', p.payment_id),
		format('status=%s reversed=%s entries=%s', p.status, p.reversed, coalesce(t.units::text, 'none'))
	FROM billing.payment p
	LEFT JOIN (
		SELECT e.tenant_id, e.payment_id, -sum(billing.minor_units(e.amount)) AS units
		FROM billing.ledger_entry e
		WHERE e.account IN ('cash', 'disputed') AND e.kind = 'reversal'
		GROUP BY e.tenant_id, e.payment_id
	) t ON t.tenant_id = p.tenant_id AND t.payment_id = p.payment_id
	LEFT JOIN (
		SELECT d.tenant_id, d.payment_id, sum(billing.minor_units(d.refunded)) AS units
		FROM billing.dispute d
		WHERE d.status = 'lost'
		GROUP BY d.tenant_id, d.payment_id
	) d ON d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id
	WHERE (p.status = 'reversed') <> (p.reversed IS NOT NULL) OR coalesce(billing.minor_units(p.reversed), 0)
		+ coalesce(billing.minor_units(p.lost), 0) + coalesce(d.units, 0) <> coalesce(t.units, 0)
	UNION ALL
	SELECT 'what is disputed is held back', coalesce(d.tenant_id, l.tenant_id), format('payment %s', coalesce(d.payment_id, l.payment_id)),
		format('open=%s entries=%s', coalesce(d.units, 0), coalesce(l.units, 0))
	FROM (
		SELECT d.tenant_id, d.payment_id, sum(billing.minor_units(d.amount)) AS units
		FROM billing.dispute d
		WHERE d.status = 'open'
		GROUP BY d.tenant_id, d.payment_id
	) d
	FULL JOIN (
		SELECT e.tenant_id, e.payment_id, sum(billing.minor_units(e.amount)) AS units
		FROM billing.ledger_entry e
		WHERE e.account = 'disputed'
		GROUP BY e.tenant_id, e.payment_id
	) l ON l.tenant_id = d.tenant_id AND l.payment_id = d.payment_id
	WHERE coalesce(d.units, 0) <> coalesce(l.units, 0);
COMMENT ON VIEW billing.audit_payment
	IS 'broken invariants of payments: what invoices have of them, their currency, their transactions';

CREATE VIEW billing.audit_payment_method WITH (security_invoker) AS
	SELECT 'who has a usable payment method has a default' AS invariant, m.tenant_id, 'tenant ' || m.tenant_id AS object,
		'usable=' || count(*) AS detail
	FROM billing.payment_method m
	WHERE m.status = 'active'
	GROUP BY m.tenant_id
	HAVING NOT bool_or(m.is_default)
	UNION ALL
	SELECT 'the history of defaults ends with the default', coalesce(d.tenant_id, h.tenant_id), 'tenant ' || coalesce(d.tenant_id, h.tenant_id),
		format('default=%s history=%s', d.payment_method_id, h.to_id)
	FROM (SELECT m.tenant_id, m.payment_method_id FROM billing.payment_method m WHERE m.is_default) d
	FULL JOIN (SELECT DISTINCT ON (c.tenant_id) c.tenant_id, c.to_id FROM billing.payment_method_change c
		WHERE c.subscription_id IS NULL ORDER BY c.tenant_id, c.change_id DESC) h ON h.tenant_id = d.tenant_id
	WHERE d.payment_method_id IS DISTINCT FROM h.to_id
	UNION ALL
	SELECT 'each default is what followed the one before it', c.tenant_id, 'payment_method_change ' || c.change_id,
		format('from=%s before=%s', c.from_id, c.before_id)
	FROM (SELECT h.tenant_id, h.change_id, h.from_id, lag(h.to_id) OVER (PARTITION BY h.tenant_id ORDER BY h.change_id) AS before_id
		FROM billing.payment_method_change h WHERE h.subscription_id IS NULL) c
	WHERE c.from_id IS DISTINCT FROM c.before_id
	UNION ALL
	SELECT 'a subscription that goes on is paid by no method that was removed', s.tenant_id, 'subscription ' || s.subscription_id,
		format('payment_method_id=%s ended_at=%s', s.payment_method_id, m.ended_at)
	FROM billing.subscription s
	JOIN billing.payment_method m ON m.tenant_id = s.tenant_id AND m.payment_method_id = s.payment_method_id
	WHERE s.ended_at IS NULL AND m.status = 'removed';
COMMENT ON VIEW billing.audit_payment_method
	IS 'broken invariants of payment methods: see billing.audit()';

CREATE VIEW billing.audit_mirrored_subscription WITH (security_invoker) AS
	SELECT 'a subscription that a gateway keeps is of one tenant' AS invariant, min(m.tenant_id) AS tenant_id,
		format('mirrored_subscription %s of %s', m.external_id, m.gateway) AS object, 'tenants=' || count(*) AS detail
	FROM billing.mirrored_subscription m
	GROUP BY m.gateway, m.external_id
	HAVING count(*) > 1;
COMMENT ON VIEW billing.audit_mirrored_subscription
	IS 'broken invariants of subscriptions that a gateway keeps: see billing.audit()';

-- Whether the parts of a line are the right ones is billing.verify_all()'s question, too.
CREATE VIEW billing.audit_credit_note WITH (security_invoker) AS
	SELECT 'a credit note is the sum of its items' AS invariant, n.tenant_id, format('credit_note %s', n.credit_note_id) AS object,
		format('item_count=%s items=%s subtotal=%s/%s discount=%s/%s tax=%s/%s tax_included=%s/%s', n.item_count, coalesce(i.items, 0),
			n.subtotal, i.amount, n.discount, i.discount, n.tax, i.tax, n.tax_included, i.included) AS detail
	FROM billing.credit_note n
	LEFT JOIN (
		SELECT i.tenant_id, i.credit_note_id, count(*) AS items, sum(billing.minor_units(i.amount)) AS amount,
			sum(billing.minor_units(i.discount)) AS discount, sum(billing.minor_units(i.tax)) AS tax,
			sum(billing.minor_units(i.tax_included)) AS included
		FROM billing.credit_note_item i
		GROUP BY i.tenant_id, i.credit_note_id
	) i ON i.tenant_id = n.tenant_id AND i.credit_note_id = n.credit_note_id
	WHERE (n.item_count, billing.minor_units(n.subtotal), billing.minor_units(n.discount), billing.minor_units(n.tax),
		billing.minor_units(n.tax_included)) IS DISTINCT FROM (i.items, i.amount, i.discount, i.tax, i.included)
	UNION ALL
	SELECT 'the tax of a credit note is the sum of its taxes', n.tenant_id, format('credit_note %s', n.credit_note_id),
		format('tax_count=%s taxes=%s tax=%s sum=%s tax_included=%s/%s', n.tax_count, coalesce(t.taxes, 0), n.tax, t.sum, n.tax_included, t.included)
	FROM billing.credit_note n
	LEFT JOIN (
		SELECT t.tenant_id, t.credit_note_id, count(*) AS taxes, sum(billing.minor_units(t.amount)) AS sum,
			sum(billing.minor_units(t.amount)) FILTER (WHERE t.is_inclusive) AS included
		FROM billing.credit_note_tax t
		GROUP BY t.tenant_id, t.credit_note_id
	) t ON t.tenant_id = n.tenant_id AND t.credit_note_id = n.credit_note_id
	WHERE n.tax_count <> coalesce(t.taxes, 0) OR billing.minor_units(n.tax) <> coalesce(t.sum, 0)
	   OR billing.minor_units(n.tax_included) <> coalesce(t.included, 0)
	UNION ALL
	SELECT 'a tax of a credit note is one of its invoice', t.tenant_id, format('credit_note %s tax %s', t.credit_note_id, t.line_no),
		format('invoice_id=%s of note=%s tax_rate=%s/%s percent=%s/%s is_inclusive=%s/%s base=%s amount=%s', t.invoice_id, n.invoice_id, t.tax_rate, i.tax_rate,
			t.percent, i.percent, t.is_inclusive, i.is_inclusive, t.base, t.amount)
	FROM billing.credit_note_tax t
	JOIN billing.credit_note n ON n.tenant_id = t.tenant_id AND n.credit_note_id = t.credit_note_id
	JOIN billing.invoice_tax i ON i.tenant_id = t.tenant_id AND i.invoice_id = t.invoice_id AND i.line_no = t.invoice_line_no
	WHERE t.invoice_id <> n.invoice_id OR n.currency <> ANY (ARRAY[billing.currency(t.base), billing.currency(t.amount)])
	   OR (t.tax_rate, t.percent, t.is_inclusive, t.note) IS DISTINCT FROM (i.tax_rate, i.percent, i.is_inclusive, i.note)
	UNION ALL
	SELECT 'a credit note corrects a final invoice, in its currency', n.tenant_id, format('credit_note %s', n.credit_note_id),
		format('invoice_id=%s status=%s currency=%s total=%s', n.invoice_id, v.status, v.currency, n.total)
	FROM billing.credit_note n
	JOIN billing.invoice v ON v.tenant_id = n.tenant_id AND v.invoice_id = n.invoice_id
	WHERE v.status IN ('draft', 'void') OR v.currency <> ALL (ARRAY[n.currency, billing.currency(n.total), billing.currency(n.subtotal),
		billing.currency(n.discount), billing.currency(n.tax), billing.currency(n.tax_included), billing.currency(n.credited), billing.currency(n.applied),
		billing.currency(n.granted), billing.currency(n.offset_by_lines), billing.currency(n.promotional), billing.currency(n.refunded)])
	UNION ALL
	SELECT 'an item of a credit note is of a line of its invoice', i.tenant_id, format('credit_note %s line %s', i.credit_note_id, i.line),
		format('invoice_id=%s of note=%s', i.invoice_id, n.invoice_id)
	FROM billing.credit_note_item i
	JOIN billing.credit_note n ON n.tenant_id = i.tenant_id AND n.credit_note_id = i.credit_note_id
	WHERE i.invoice_id <> n.invoice_id
	UNION ALL
	SELECT 'numbers of credit notes have no gap', n.tenant_id, format('credit_note %s', n.credit_note_id),
		format('number=%s expected=%s', n.number, n.ending)
	FROM (
		SELECT n.tenant_id, n.credit_note_id, n.number,
			billing.invoice_number('', n.tenant_id, row_number() OVER (PARTITION BY n.tenant_id ORDER BY n.credit_note_id)) AS ending
		FROM billing.credit_note n
	) n
	WHERE right(n.number, length(n.ending)) <> n.ending
	UNION ALL
	SELECT 'numbers of credit notes have no gap', coalesce(c.tenant_id, n.tenant_id), 'counter',
		format('credit_note_number=%s credit notes=%s', coalesce(c.credit_note_number, 0), coalesce(n.notes, 0))
	FROM billing.counter c
	FULL JOIN (
		SELECT n.tenant_id, count(*) AS notes
		FROM billing.credit_note n
		GROUP BY n.tenant_id
	) n ON n.tenant_id = c.tenant_id
	WHERE coalesce(c.credit_note_number, 0) <> coalesce(n.notes, 0)
	UNION ALL
	SELECT 'credit notes take back no more than was invoiced', i.tenant_id, format('invoice %s line %s', i.invoice_id, i.line),
		format('amount=%s credited=%s', i.amount, c.amount)
	FROM billing.invoice_item i
	JOIN (
		SELECT c.tenant_id, c.invoice_id, c.invoice_line, sum(billing.minor_units(c.amount)) AS amount
		FROM billing.credit_note_item c
		GROUP BY c.tenant_id, c.invoice_id, c.invoice_line
	) c ON c.tenant_id = i.tenant_id AND c.invoice_id = i.invoice_id AND c.invoice_line = i.line
	WHERE abs(c.amount) > abs(billing.minor_units(i.amount)) OR sign(c.amount) <> sign(billing.minor_units(i.amount))
	UNION ALL
	SELECT 'credit notes take back no more than was invoiced', v.tenant_id, format('invoice %s', v.invoice_id),
		format('total=%s credited=%s offset_by_lines=%s', v.total, n.total, n.offset_by_lines)
	FROM billing.invoice v
	JOIN (
		SELECT n.tenant_id, n.invoice_id, sum(billing.minor_units(n.total)) AS total, sum(billing.minor_units(n.offset_by_lines)) AS offset_by_lines
		FROM billing.credit_note n
		GROUP BY n.tenant_id, n.invoice_id
	) n ON n.tenant_id = v.tenant_id AND n.invoice_id = v.invoice_id
	-- Lines that lower it paid only what nothing else had.
	WHERE CASE n.offset_by_lines WHEN 0 THEN n.total > billing.minor_units(v.total) ELSE n.total - n.offset_by_lines <> billing.minor_units(v.total) END
	UNION ALL
	SELECT 'a credit note gives back what lines paid only of unused time, and no more than they took off', n.tenant_id,
		format('credit_note %s', n.credit_note_id), format('invoice_id=%s offset_by_lines=%s all=%s lowered=%s excess=%s taken back=%s', n.invoice_id,
			n.offset_by_lines, o.amount, w.amount, v.excess, c.amount)
	FROM billing.credit_note n
	JOIN billing.invoice v ON v.tenant_id = n.tenant_id AND v.invoice_id = n.invoice_id
	CROSS JOIN LATERAL (
		SELECT sum(billing.minor_units(o.offset_by_lines)) AS amount
		FROM billing.credit_note o
		WHERE o.tenant_id = n.tenant_id AND o.invoice_id = n.invoice_id
	) o
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(billing.minor_units(i.discount)::numeric - billing.minor_units(i.amount) - billing.minor_units(i.tax)
			+ coalesce(billing.minor_units(i.tax_included), 0)), 0) AS amount
		FROM billing.invoice_item i
		WHERE i.tenant_id = n.tenant_id AND i.invoice_id = n.invoice_id AND billing.minor_units(i.amount) < 0
	) w
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(billing.minor_units(c.discount)::numeric - billing.minor_units(c.amount) - billing.minor_units(c.tax)
			+ billing.minor_units(c.tax_included)), 0) AS amount
		FROM billing.credit_note_item c
		WHERE c.tenant_id = n.tenant_id AND c.invoice_id = n.invoice_id AND billing.minor_units(c.amount) < 0
	) c
	WHERE billing.minor_units(n.offset_by_lines) <> 0
	  AND (o.amount > w.amount - billing.minor_units(v.excess) - c.amount OR EXISTS (SELECT FROM billing.credit_note_item c
		WHERE c.tenant_id = n.tenant_id AND c.credit_note_id = n.credit_note_id AND NOT c.is_unused))
	UNION ALL
	SELECT 'credit notes take back no more than was invoiced', i.tenant_id, format('invoice %s tax %s', i.invoice_id, i.line_no),
		format('amount=%s credited=%s', i.amount, t.amount)
	FROM billing.invoice_tax i
	JOIN (
		SELECT t.tenant_id, t.invoice_id, t.invoice_line_no, sum(billing.minor_units(t.amount)) AS amount
		FROM billing.credit_note_tax t
		GROUP BY t.tenant_id, t.invoice_id, t.invoice_line_no
	) t ON t.tenant_id = i.tenant_id AND t.invoice_id = i.invoice_id AND t.invoice_line_no = i.line_no
	-- For unused time, than the lines that raise it have.
	WHERE t.amount < least(billing.minor_units(i.amount), 0)
	   OR CASE WHEN t.amount <= greatest(billing.minor_units(i.amount), 0) THEN false
		WHEN EXISTS (SELECT FROM billing.credit_note_item c WHERE c.tenant_id = i.tenant_id AND c.invoice_id = i.invoice_id AND c.is_unused)
		THEN t.amount > (SELECT coalesce(sum(billing.minor_units(s.share)), 0) FROM billing.invoice_tax_shares(i.tenant_id, i.invoice_id) s
			WHERE s.line_no = i.line_no AND billing.minor_units(s.share) > 0)
		ELSE true END
	UNION ALL
	SELECT 'what is credited of an invoice its credit notes say', v.tenant_id, format('invoice %s', v.invoice_id),
		format('credited=%s own=%s applied=%s drawn=%s', v.credited, coalesce(n.credited, 0), coalesce(a.applied, 0), coalesce(e.drawn, 0))
	FROM billing.invoice v
	LEFT JOIN (
		SELECT n.tenant_id, n.invoice_id, sum(billing.minor_units(n.credited)) AS credited
		FROM billing.credit_note n
		GROUP BY n.tenant_id, n.invoice_id
	) n ON n.tenant_id = v.tenant_id AND n.invoice_id = v.invoice_id
	LEFT JOIN (
		SELECT n.tenant_id, n.to_invoice_id, sum(billing.minor_units(n.applied)) AS applied
		FROM billing.credit_note n
		WHERE n.to_invoice_id IS NOT NULL
		GROUP BY n.tenant_id, n.to_invoice_id
	) a ON a.tenant_id = v.tenant_id AND a.to_invoice_id = v.invoice_id
	LEFT JOIN (
		SELECT e.tenant_id, e.invoice_id, -sum(billing.minor_units(e.amount)) AS drawn
		FROM billing.wallet_entry e
		JOIN billing.credit_grant g ON g.tenant_id = e.tenant_id AND g.grant_id = e.grant_id
		WHERE e.kind = 'draw' AND g.source = 'credit_note' AND g.scope = 'invoice'
		GROUP BY e.tenant_id, e.invoice_id
	) e ON e.tenant_id = v.tenant_id AND e.invoice_id = v.invoice_id
	WHERE billing.minor_units(v.credited) <> coalesce(n.credited, 0) + coalesce(a.applied, 0) + coalesce(e.drawn, 0)
	UNION ALL
	SELECT 'a credit note has one transaction, of its amounts', n.tenant_id, format('credit_note %s', n.credit_note_id),
		format('total=%s tax=%s credited=%s owed=%s entries=%s', n.total, n.tax, n.credited, n.applied + n.granted + n.refunded,
			coalesce(e.text, 'none'))
	FROM billing.credit_note n
	LEFT JOIN (
		SELECT e.tenant_id, e.transaction_id, string_agg(format('%s %s', e.account, e.amount), ', ' ORDER BY e.line) AS text,
			coalesce(sum(billing.minor_units(e.amount)) FILTER (WHERE e.account IN ('receivable', 'bad_debt')), 0) AS receivable,
			coalesce(sum(billing.minor_units(e.amount)) FILTER (WHERE e.account = 'tax_payable'), 0) AS tax,
			coalesce(sum(billing.minor_units(e.amount)) FILTER (WHERE e.account = 'customer_credit'), 0) AS credit,
			coalesce(sum(billing.minor_units(e.amount)) FILTER (WHERE e.account IN ('revenue', 'deferred_revenue')), 0) AS revenue
		FROM billing.ledger_entry e
		WHERE e.kind = 'credit_note'
		GROUP BY e.tenant_id, e.transaction_id
	) e ON e.tenant_id = n.tenant_id AND e.transaction_id = n.credit_note_id
	-- One that gives back promotions alone moves nothing, and has no entries.
	WHERE (coalesce(e.receivable, 0), coalesce(e.tax, 0), coalesce(e.credit, 0), coalesce(e.revenue, 0))
		IS DISTINCT FROM (-billing.minor_units(n.credited)::numeric, billing.minor_units(n.tax)::numeric,
		-billing.minor_units(n.applied + n.granted + n.refunded)::numeric, billing.minor_units(n.subtotal - n.discount - n.tax_included - n.promotional)::numeric)
	UNION ALL
	SELECT 'what a credit note leaves is credit', n.tenant_id, format('credit_note %s', n.credit_note_id),
		format('granted=%s grant=%s promotional=%s grant=%s', n.granted, g.amount, n.promotional, p.amount)
	FROM billing.credit_note n
	LEFT JOIN billing.credit_grant g ON g.tenant_id = n.tenant_id AND g.grant_id = n.grant_id
	LEFT JOIN billing.credit_grant p ON p.tenant_id = n.tenant_id AND p.grant_id = n.promotional_grant_id
	WHERE billing.minor_units(n.granted) <> coalesce(billing.minor_units(g.amount), 0)
	   OR billing.minor_units(n.promotional) <> coalesce(billing.minor_units(p.amount), 0);
COMMENT ON VIEW billing.audit_credit_note
	IS 'broken invariants of credit notes, their items and taxes: sums, numbers, never more than was invoiced, what invoices, ledger and wallet have of them';

CREATE VIEW billing.audit_refund WITH (security_invoker) AS
	SELECT 'what a credit note gives back is refunds' AS invariant, n.tenant_id, format('credit_note %s', n.credit_note_id) AS object,
		format('refunded=%s refunds=%s', n.refunded, coalesce(r.text, 'none')) AS detail
	FROM billing.credit_note n
	LEFT JOIN (
		SELECT r.tenant_id, r.credit_note_id, sum(billing.minor_units(r.amount)) AS amount, string_agg(r.amount::text, ' + ' ORDER BY r.refund_id) AS text
		FROM billing.refund r
		GROUP BY r.tenant_id, r.credit_note_id
	) r ON r.tenant_id = n.tenant_id AND r.credit_note_id = n.credit_note_id
	WHERE billing.minor_units(n.refunded) <> coalesce(r.amount, 0)
	UNION ALL
	SELECT 'no more goes back than was paid', p.tenant_id, format('payment %s', p.payment_id),
		format('status=%s amount=%s excess=%s reversed=%s refunds=%s of excess=%s went=%s', p.status, p.amount, p.excess, p.reversed, r.amount, r.excess, r.went)
	FROM billing.payment p
	LEFT JOIN (
		SELECT r.tenant_id, r.payment_id, sum(billing.minor_units(r.amount)) AS amount,
			coalesce(sum(billing.minor_units(r.amount)) FILTER (WHERE r.cause = 'excess'), 0) AS excess,
			coalesce(sum(billing.minor_units(r.amount)) FILTER (WHERE r.destination = 'method'), 0) AS to_method,
			coalesce(sum(billing.minor_units(r.amount)) FILTER (WHERE r.status = 'succeeded' AND r.destination = 'method'), 0) AS went
		FROM billing.refund r
		WHERE r.status IN ('pending', 'succeeded')
		GROUP BY r.tenant_id, r.payment_id
	) r ON r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id
	-- What went although the bank had taken it, too, was lost.
	LEFT JOIN (
		SELECT e.tenant_id, e.payment_id, sum(billing.minor_units(e.amount)) AS units
		FROM billing.ledger_entry e
		WHERE e.kind = 'refund' AND e.account = 'bad_debt'
		GROUP BY e.tenant_id, e.payment_id
	) l ON l.tenant_id = p.tenant_id AND l.payment_id = p.payment_id
	WHERE r.amount > billing.minor_units(p.amount)
	   OR r.to_method > billing.minor_units(p.amount) - greatest(coalesce(billing.minor_units(p.reversed), 0) - coalesce(l.units, 0), 0)
	   OR r.amount - r.excess > billing.minor_units(p.amount) - coalesce(billing.minor_units(p.excess), 0)
	   OR r.excess > coalesce(billing.minor_units(p.excess), 0)
	   OR p.status IN ('succeeded', 'refunded') AND (p.status = 'refunded') <> (coalesce(r.went, 0) = billing.minor_units(p.amount))
	UNION ALL
	SELECT 'a refund is of a payment of its invoice', r.tenant_id, format('refund %s', r.refund_id),
		format('invoice_id=%s of payment=%s amount=%s', r.invoice_id, p.invoice_id, r.amount)
	FROM billing.refund r
	JOIN billing.payment p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
	WHERE p.invoice_id IS DISTINCT FROM r.invoice_id OR billing.currency(p.amount) <> billing.currency(r.amount)
	UNION ALL
	SELECT 'a refund that went has its transaction', r.tenant_id, format('refund %s', r.refund_id),
		format('status=%s destination=%s amount=%s cash=%s', r.status, r.destination, r.amount, coalesce(e.amount::text, 'none'))
	FROM billing.refund r
	LEFT JOIN billing.ledger_entry e ON e.tenant_id = r.tenant_id AND e.transaction_id = r.refund_id AND e.kind = 'refund' AND e.account = 'cash'
	-- One that came back went before.
	WHERE CASE WHEN r.status = 'succeeded' AND r.destination = 'method' OR r.status = 'failed' AND r.failed_at IS NOT NULL AND e.amount IS NOT NULL
		THEN billing.minor_units(e.amount) IS DISTINCT FROM -billing.minor_units(r.amount)
		ELSE e.amount IS NOT NULL END
	UNION ALL
	SELECT 'what went back of a payment is in the ledger', coalesce(r.tenant_id, e.tenant_id), format('payment %s', coalesce(r.payment_id, e.payment_id)),
		format('refunds=%s cash=%s', coalesce(r.amount, 0), coalesce(e.amount, 0))
	FROM (
		SELECT r.tenant_id, r.payment_id, sum(billing.minor_units(r.amount)) AS amount
		FROM billing.refund r
		WHERE r.status = 'succeeded' AND r.destination = 'method'
		GROUP BY r.tenant_id, r.payment_id
	) r
	FULL JOIN (
		SELECT e.tenant_id, e.payment_id, -sum(billing.minor_units(e.amount)) AS amount
		FROM billing.ledger_entry e
		WHERE e.kind = 'refund' AND e.account = 'cash'
		GROUP BY e.tenant_id, e.payment_id
	) e ON e.tenant_id = r.tenant_id AND e.payment_id = r.payment_id
	WHERE coalesce(r.amount, 0) <> coalesce(e.amount, 0)
	UNION ALL
	SELECT 'a refund that came to nothing left credit', r.tenant_id, format('refund %s', r.refund_id),
		format('amount=%s grant=%s', r.amount, g.amount)
	FROM billing.refund r
	JOIN billing.credit_grant g ON g.tenant_id = r.tenant_id AND g.grant_id = r.grant_id
	WHERE billing.minor_units(g.amount) <> billing.minor_units(r.amount);
COMMENT ON VIEW billing.audit_refund
	IS 'broken invariants of refunds: credit notes, payments, transactions, credit of those that came to nothing';

CREATE VIEW billing.audit_settlement WITH (security_invoker) AS
	SELECT 'the fee of a settlement line is posted as the line says' AS invariant, l.tenant_id, format('settlement_line %s', encode(l.line_hash, 'hex')) AS object,
		format('gateway=%s transaction_id=%s fee=%s posted=%s', l.gateway, l.transaction_id, l.fee, t.amounts) AS detail
	FROM billing.settlement_line l
	LEFT JOIN billing.transaction t ON t.transaction_id = l.transaction_id AND (t.tenant_id = l.tenant_id OR l.tenant_id = 0)
	WHERE l.transaction_id IS NOT NULL
	  AND (t.kind = 'fee' AND t.accounts = '{fees,cash}' AND t.amounts = ARRAY[l.fee, -l.fee]) IS NOT TRUE;
COMMENT ON VIEW billing.audit_settlement
	IS 'broken invariants of settlement lines: the transactions that their fees were posted by';

-- What an invoice moved in all: receivable is what is due of it, and nothing of one
-- that is void or given up.
CREATE VIEW billing.audit_ledger WITH (security_invoker) AS
	SELECT 'a transaction balances' AS invariant, t.tenant_id, format('transaction %s', t.transaction_id) AS object,
		format('accounts=%s amounts=%s', t.accounts, t.amounts) AS detail
	FROM billing.transaction t
	WHERE NOT billing.is_balanced(t.accounts, t.amounts)
	UNION ALL
	SELECT 'a final invoice has one transaction, of its amounts', v.tenant_id, format('invoice %s', v.invoice_id),
		format('status=%s total=%s tax=%s excess=%s transactions=%s receivable=%s tax_payable=%s customer_credit=%s', v.status, v.total,
			v.tax, v.excess, coalesce(e.transactions, 0), e.receivable, e.tax, e.credit)
	FROM billing.invoice v
	LEFT JOIN (
		SELECT e.tenant_id, e.invoice_id, count(DISTINCT e.transaction_id) AS transactions,
			coalesce(sum(billing.minor_units(e.amount)) FILTER (WHERE e.account = 'receivable'), 0) AS receivable,
			coalesce(sum(billing.minor_units(e.amount)) FILTER (WHERE e.account = 'tax_payable'), 0) AS tax,
			coalesce(sum(billing.minor_units(e.amount)) FILTER (WHERE e.account = 'customer_credit'), 0) AS credit,
			coalesce(sum(billing.minor_units(e.amount)) FILTER (WHERE e.account IN ('revenue', 'deferred_revenue')), 0) AS revenue
		FROM billing.ledger_entry e
		WHERE e.kind = 'invoice'
		GROUP BY e.tenant_id, e.invoice_id
	) e ON e.tenant_id = v.tenant_id AND e.invoice_id = v.invoice_id
	WHERE CASE WHEN v.status = 'draft' THEN e.transactions IS NOT NULL
		WHEN e.transactions IS NULL THEN billing.minor_units(v.subtotal) <> billing.minor_units(v.discount) OR billing.minor_units(v.tax) <> 0
		ELSE e.transactions <> 1 OR e.receivable <> billing.minor_units(v.total) OR e.tax <> -billing.minor_units(v.tax)
			OR e.credit <> -billing.minor_units(v.excess)
			OR e.revenue <> billing.minor_units(v.discount) + coalesce(billing.minor_units(v.tax_included), 0) - billing.minor_units(v.subtotal) END
	UNION ALL
	SELECT 'what is receivable of an invoice is what is due', v.tenant_id, format('invoice %s', v.invoice_id),
		format('status=%s amount_due=%s receivable=%s', v.status, v.amount_due, coalesce(e.receivable, 0))
	FROM billing.invoice v
	LEFT JOIN (
		SELECT e.tenant_id, e.invoice_id, sum(billing.minor_units(e.amount)) AS receivable
		FROM billing.ledger_entry e
		WHERE e.account = 'receivable'
		GROUP BY e.tenant_id, e.invoice_id
	) e ON e.tenant_id = v.tenant_id AND e.invoice_id = v.invoice_id
	WHERE coalesce(e.receivable, 0) <> CASE WHEN v.status IN ('open', 'paid') THEN billing.minor_units(v.amount_due) ELSE 0 END
	UNION ALL
	SELECT 'a void invoice moved nothing in all', e.tenant_id, format('invoice %s', e.invoice_id),
		format('account=%s sum=%s', e.account, sum(billing.minor_units(e.amount)))
	FROM billing.ledger_entry e
	JOIN billing.invoice v ON v.tenant_id = e.tenant_id AND v.invoice_id = e.invoice_id AND v.status = 'void'
	-- What is lost by a refund that went although it had been given up, is no debt of the invoice.
	WHERE e.payment_id IS NULL OR e.account = 'receivable' OR e.account = 'bad_debt' AND e.kind <> 'refund'
	GROUP BY e.tenant_id, e.invoice_id, e.account
	HAVING sum(billing.minor_units(e.amount)) <> 0
	UNION ALL
	SELECT 'what would have made a total negative is a grant', v.tenant_id, format('invoice %s', v.invoice_id),
		format('excess=%s grant=%s', v.excess, coalesce(g.amount::text, 'none'))
	FROM billing.invoice v
	LEFT JOIN billing.credit_grant g ON g.tenant_id = v.tenant_id AND g.invoice_id = v.invoice_id AND g.source = 'invoice'
	WHERE v.status NOT IN ('draft', 'void') AND (billing.minor_units(v.excess) <> 0 OR g.grant_id IS NOT NULL)
	  AND g.amount IS DISTINCT FROM v.excess;
COMMENT ON VIEW billing.audit_ledger
	IS 'broken invariants of the ledger: balance, a transaction for each final invoice, what is receivable, grants';

-- What is owed to a tenant in money is what is left of it, and what is on its way back.
CREATE VIEW billing.audit_wallet WITH (security_invoker) AS
	SELECT 'the history of a grant sums to its balance' AS invariant, g.tenant_id, format('credit_grant %s', g.grant_id) AS object,
		format('balance=%s entries=%s', g.balance, coalesce(e.sum, 0)) AS detail
	FROM billing.credit_grant g
	LEFT JOIN (
		SELECT e.tenant_id, e.grant_id, sum(billing.minor_units(e.amount)) AS sum
		FROM billing.wallet_entry e
		GROUP BY e.tenant_id, e.grant_id
	) e ON e.tenant_id = g.tenant_id AND e.grant_id = g.grant_id
	WHERE billing.minor_units(g.balance) <> coalesce(e.sum, 0)
	UNION ALL
	SELECT 'credit is in one currency and not negative', g.tenant_id, format('credit_grant %s', g.grant_id),
		format('source=%s amount=%s balance=%s', g.source, g.amount, g.balance)
	FROM billing.credit_grant g
	WHERE billing.currency(g.amount) <> billing.currency(g.balance)
	   OR CASE g.source WHEN 'overdraft' THEN billing.minor_units(g.balance) > 0 ELSE billing.minor_units(g.balance) < 0 END
	UNION ALL
	SELECT 'an entry is in the currency of its grant', e.tenant_id, format('wallet_entry %s', e.entry_id),
		format('amount=%s balance=%s', e.amount, g.balance)
	FROM billing.wallet_entry e
	JOIN billing.credit_grant g ON g.tenant_id = e.tenant_id AND g.grant_id = e.grant_id
	WHERE billing.currency(e.amount) <> billing.currency(g.balance)
	UNION ALL
	SELECT 'a tenant that has credit is marked so', g.tenant_id, 'counter', format('has_credit=%s open grants=%s', c.has_credit, count(*))
	FROM billing.credit_grant g
	LEFT JOIN billing.counter c ON c.tenant_id = g.tenant_id
	WHERE g.is_open AND NOT coalesce(c.has_credit, false)
	GROUP BY g.tenant_id, c.has_credit
	UNION ALL
	SELECT 'what was consumed is what was asked for', e.tenant_id, format('wallet_entry %s', e.entry_id),
		format('consume_no=%s requested=%s parts=%s sum=%s', e.consume_no, e.requested, p.parts, p.sum)
	FROM billing.wallet_entry e
	JOIN (
		SELECT p.tenant_id, p.consume_no, count(*) AS parts, -sum(billing.minor_units(p.amount)) AS sum
		FROM billing.wallet_entry p
		WHERE p.kind = 'consume'
		GROUP BY p.tenant_id, p.consume_no
	) p ON p.tenant_id = e.tenant_id AND p.consume_no = e.consume_no
	WHERE e.part = 1 AND billing.minor_units(e.requested) IS DISTINCT FROM p.sum
	UNION ALL
	SELECT 'what is applied of an invoice was drawn', v.tenant_id, format('invoice %s', v.invoice_id),
		format('wallet_applied=%s drawn=%s', v.wallet_applied, coalesce(e.drawn, 0))
	FROM billing.invoice v
	LEFT JOIN (
		SELECT e.tenant_id, e.invoice_id, -sum(billing.minor_units(e.amount)) AS drawn
		FROM billing.wallet_entry e
		JOIN billing.credit_grant g ON g.tenant_id = e.tenant_id AND g.grant_id = e.grant_id
		WHERE e.kind = 'draw' AND NOT (g.source = 'credit_note' AND g.scope = 'invoice')
		GROUP BY e.tenant_id, e.invoice_id
	) e ON e.tenant_id = v.tenant_id AND e.invoice_id = v.invoice_id
	WHERE billing.minor_units(v.wallet_applied) <> coalesce(e.drawn, 0)
	UNION ALL
	SELECT 'a void invoice keeps no credit', v.tenant_id, format('invoice %s', v.invoice_id),
		format('drawn=%s', -sum(billing.minor_units(e.amount)))
	FROM billing.invoice v
	JOIN billing.wallet_entry e ON e.tenant_id = v.tenant_id AND e.invoice_id = v.invoice_id
	WHERE v.status = 'void'
	GROUP BY v.tenant_id, v.invoice_id
	HAVING sum(billing.minor_units(e.amount)) <> 0
	UNION ALL
	SELECT 'the ledger owes a tenant the money in its wallet', coalesce(l.tenant_id, w.tenant_id), 'customer_credit',
		format('currency=%s owed=%s wallet and refunds=%s', coalesce(l.currency, w.currency), coalesce(l.owed, 0), coalesce(w.owed, 0))
	FROM (
		SELECT e.tenant_id, billing.currency(e.amount) AS currency, -sum(billing.minor_units(e.amount)) AS owed
		FROM billing.ledger_entry e
		WHERE e.account = 'customer_credit'
		GROUP BY e.tenant_id, billing.currency(e.amount)
	) l
	FULL JOIN (
		SELECT m.tenant_id, billing.currency(m.amount) AS currency, sum(billing.minor_units(m.amount)) AS owed
		FROM (
			SELECT g.tenant_id, g.balance AS amount FROM billing.credit_grant g WHERE g.is_paid
			UNION ALL
			SELECT r.tenant_id, r.amount FROM billing.refund r WHERE r.status = 'pending'
		) m
		GROUP BY m.tenant_id, billing.currency(m.amount)
	) w ON w.tenant_id = l.tenant_id AND w.currency = l.currency
	WHERE coalesce(l.owed, 0) <> coalesce(w.owed, 0);
COMMENT ON VIEW billing.audit_wallet
	IS 'broken invariants of credit: history and balances, marks, what was consumed, what invoices drew, what the ledger owes';

CREATE VIEW billing.audit_dunning WITH (security_invoker) AS
	SELECT 'an overdue invoice is looked at until it is settled' AS invariant, v.tenant_id, format('invoice %s', v.invoice_id) AS object,
		format('status=%s dunning_at=%s next_at=%s', v.status, v.dunning_at, d.next_at) AS detail
	FROM billing.invoice v
	LEFT JOIN billing.invoice_dunning d ON d.tenant_id = v.tenant_id AND d.invoice_id = v.invoice_id
	WHERE v.dunning_at IS NOT NULL AND (d.invoice_id IS NULL OR v.status = 'open' AND d.next_at IS NULL)
	UNION ALL
	SELECT 'attempts of collection are numbered without gaps', a.tenant_id,
		format('collection_attempt %s/%s/%s', a.invoice_id, a.attempt_no, a.retry_no), format('status=%s', a.status)
	FROM billing.collection_attempt a
	WHERE (a.attempt_no > 0 OR a.retry_no > 0) AND NOT EXISTS (SELECT FROM billing.collection_attempt b
		WHERE b.tenant_id = a.tenant_id AND b.invoice_id = a.invoice_id
		  AND CASE a.retry_no WHEN 0 THEN b.attempt_no = a.attempt_no - 1 ELSE b.attempt_no = a.attempt_no AND b.retry_no = a.retry_no - 1 END)
	UNION ALL
	SELECT 'one attempt of collection at a time is under way', a.tenant_id, format('invoice %s', a.invoice_id), format('pending=%s', count(*))
	FROM billing.collection_attempt a
	WHERE a.status = 'pending'
	GROUP BY a.tenant_id, a.invoice_id
	HAVING count(*) > 1;
COMMENT ON VIEW billing.audit_dunning
	IS 'broken invariants of dunning: what nobody would look at, attempts of collection';

-- Lines of prices in arrears for usage fill the time from the first paid instant to the
-- last boundary of their cycle, but for lapses; a void invoice billed its periods too.
CREATE VIEW billing.audit_subscription WITH (security_invoker) AS
	SELECT 'the state of a subscription is what its columns say' AS invariant, s.tenant_id, format('subscription %s', s.subscription_id) AS object,
		format('status=%s billed_to=%s due_at=%s period=[%s,%s) cancel_at=%s ended_at=%s', s.status, s.billed_to, s.due_at,
			s.period_start, s.period_end, s.cancel_at, s.ended_at) AS detail
	FROM billing.subscription s
	WHERE CASE WHEN s.status IN ('canceled', 'expired') THEN s.due_at IS NOT NULL OR s.ended_at IS NULL
		WHEN s.status = 'pending' THEN s.billed_to IS NOT NULL OR (s.due_at IS NULL AND s.activate <> 'on_payment')
		ELSE s.billed_to IS NULL OR s.period_start IS NULL OR s.ended_at IS NOT NULL
			OR (s.due_at IS NULL AND isfinite(coalesce(s.period_end, 'infinity')) AND s.status NOT IN ('paused', 'suspended')) END
	   OR s.due_at > coalesce(s.cancel_at, 'infinity')
	   OR (s.status <> 'pending' AND s.due_at > coalesce(s.period_end, 'infinity'))
	   OR s.due_at < s.billed_to
	UNION ALL
	SELECT 'a suspended subscription rests', s.tenant_id, format('subscription %s', s.subscription_id),
		format('paused_at=%s due_at=%s', s.paused_at, s.due_at)
	FROM billing.subscription s
	WHERE s.status = 'suspended' AND (s.paused_at IS NULL OR s.due_at IS NOT NULL)
	UNION ALL
	SELECT 'who is past due or suspended owes something', s.tenant_id, format('subscription %s', s.subscription_id),
		format('status=%s', s.status)
	FROM billing.subscription s
	WHERE s.status IN ('past_due', 'suspended')
	  AND NOT EXISTS (SELECT FROM billing.invoice v
		WHERE v.tenant_id = s.tenant_id AND v.subscription_id = s.subscription_id AND v.status IN ('open', 'uncollectible'))
	UNION ALL
	SELECT 'who is frozen for not paying owes something', t.tenant_id, format('tenant %s', t.tenant_id), format('frozen_at=%s', t.frozen_at)
	FROM billing.tenant t
	WHERE t.is_unpaid
	  AND NOT EXISTS (SELECT FROM billing.subscription s
		WHERE s.tenant_id = t.tenant_id AND (s.status = 'suspended' OR s.ended_at IS NOT NULL AND EXISTS (SELECT FROM billing.invoice v
			LEFT JOIN billing.invoice_dunning d ON d.tenant_id = v.tenant_id AND d.invoice_id = v.invoice_id
			WHERE v.tenant_id = s.tenant_id AND v.subscription_id = s.subscription_id
			  AND (v.status = 'open' OR v.status = 'uncollectible' AND d.given_up_at IS NOT NULL))))
	UNION ALL
	SELECT 'a subscription is in the currency of its plan', s.tenant_id, format('subscription %s', s.subscription_id),
		format('currency=%s plan=%s', s.currency, p.currency)
	FROM billing.subscription s
	JOIN billing.plan p ON p.plan_id = s.plan_id
	WHERE p.currency <> s.currency
	UNION ALL
	SELECT 'a plan in use states its prices', NULL, format('plan %s', p.plan_id),
		format('used_at=%s price_codes=%s prices=%s', p.used_at, p.price_codes, c.codes)
	FROM billing.plan p
	LEFT JOIN (
		SELECT c.plan_id, array_agg(c.code ORDER BY c.code) AS codes
		FROM billing.price c
		GROUP BY c.plan_id
	) c ON c.plan_id = p.plan_id
	WHERE CASE WHEN p.used_at IS NULL THEN EXISTS (SELECT FROM billing.subscription s WHERE s.plan_id = p.plan_id)
		ELSE NOT (p.price_codes @> coalesce(c.codes, '{}') AND p.price_codes <@ coalesce(c.codes, '{}')) END
	UNION ALL
	SELECT 'no period of a price is billed twice', i.tenant_id, format('subscription %s price %s', i.subscription_id, i.price_code),
		format('invoice=%s line=%s from=%s billed_to=%s', i.invoice_id, i.line, i.period_start, i.end_before)
	FROM (
		SELECT i.tenant_id, v.subscription_id, i.price_code, i.invoice_id, i.line, i.period_start,
			max(i.period_end) OVER (PARTITION BY i.tenant_id, v.subscription_id, coalesce(i.plan_id, v.plan_id), i.price_code
				ORDER BY i.period_start, i.invoice_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS end_before
		FROM billing.invoice v
		JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
		WHERE v.subscription_id IS NOT NULL AND v.status <> 'void' AND i.kind IN ('fixed', 'usage')
	) i
	-- What begins with a change: the line before it was credited from there on, or kept on purpose.
	WHERE i.end_before > i.period_start
	  AND NOT EXISTS (SELECT FROM billing.due_part d
		WHERE d.tenant_id = i.tenant_id AND d.subscription_id = i.subscription_id AND d.changed_at = i.period_start)
	UNION ALL
	SELECT 'no period of a price is left out', s.tenant_id, format('subscription %s price %s', s.subscription_id, i.price_code),
		format('from=%s to=%s', i.end_before, i.period_start)
	FROM (
		SELECT i.tenant_id, v.subscription_id, coalesce(i.plan_id, v.plan_id) AS plan_id, i.price_code, i.period_start,
			max(i.period_end) OVER (PARTITION BY i.tenant_id, v.subscription_id, coalesce(i.plan_id, v.plan_id), i.price_code
				ORDER BY i.period_start, i.invoice_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS end_before
		FROM billing.invoice v
		JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
		WHERE v.subscription_id IS NOT NULL AND i.kind = 'usage'
	) i
	JOIN billing.subscription s ON s.tenant_id = i.tenant_id AND s.subscription_id = i.subscription_id
	WHERE i.end_before < i.period_start AND billing.plan_time(s, i.plan_id) && tstzrange(i.end_before, i.period_start)
	UNION ALL
	SELECT 'usage is billed from the first paid instant to the last boundary', s.tenant_id,
		format('subscription %s price %s', s.subscription_id, p.code),
		format('from=%s to=%s billed=[%s,%s)', b.first_paid, b.last_end, i.low, i.high)
	FROM billing.subscription s
	JOIN billing.plan f ON f.plan_id = s.plan_id
	JOIN billing.price p ON p.plan_id = s.plan_id AND p.meter IS NOT NULL
	CROSS JOIN LATERAL (
		SELECT greatest(s.started_at, s.trial_end, s.changed_at) AS first_paid,
			CASE WHEN s.ended_at IS NOT NULL OR p.cycle IS NOT NULL AND p.cycle IS DISTINCT FROM f.cycle THEN s.billed_to
				ELSE s.period_start END AS last_end
	) b
	LEFT JOIN (
		SELECT i.tenant_id, v.subscription_id, coalesce(i.plan_id, v.plan_id) AS plan_id, i.price_code, min(i.period_start) AS low,
			max(i.period_end) AS high
		FROM billing.invoice v
		JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
		JOIN billing.subscription o ON o.tenant_id = v.tenant_id AND o.subscription_id = v.subscription_id
		WHERE i.kind = 'usage' AND i.period_start >= coalesce(o.changed_at, i.period_start)
		GROUP BY 1, 2, 3, 4
	) i ON i.tenant_id = s.tenant_id AND i.subscription_id = s.subscription_id AND i.plan_id = s.plan_id AND i.price_code = p.code
	WHERE s.billed_to IS NOT NULL AND b.last_end > b.first_paid
	  AND (i.low IS DISTINCT FROM b.first_paid
		OR i.high IS DISTINCT FROM b.last_end AND NOT s.lapses @> tstzrange(least(i.high, b.last_end), greatest(i.high, b.last_end)));
COMMENT ON VIEW billing.audit_subscription
	IS 'broken invariants of subscriptions: state and columns, what is unpaid, currency, the plan''s prices, periods billed once and without a gap';

CREATE VIEW billing.audit_change WITH (security_invoker) AS
	SELECT 'a part that was billed is of an invoice of its subscription' AS invariant, d.tenant_id,
		format('subscription %s part %s', d.subscription_id, d.part_no) AS object,
		format('invoice=%s is_pending=%s', d.invoice_id, d.is_pending) AS detail
	FROM billing.due_part d
	LEFT JOIN billing.invoice v ON v.tenant_id = d.tenant_id AND v.invoice_id = d.invoice_id
	WHERE d.invoice_id IS NOT NULL AND v.subscription_id IS DISTINCT FROM d.subscription_id
	UNION ALL
	SELECT 'nothing that was owed is left behind', d.tenant_id, format('subscription %s part %s', d.subscription_id, d.part_no),
		format('status=%s changed_at=%s', s.status, d.changed_at)
	FROM billing.due_part d
	JOIN billing.subscription s ON s.tenant_id = d.tenant_id AND s.subscription_id = d.subscription_id
	WHERE d.is_pending AND s.ended_at IS NOT NULL
	UNION ALL
	SELECT 'changes follow one another', d.tenant_id, format('subscription %s part %s', d.subscription_id, d.part_no),
		format('changed_at=%s before=%s last=%s', d.changed_at, d.changed_before, s.changed_at)
	FROM (
		SELECT d.tenant_id, d.subscription_id, d.part_no, d.changed_at,
			lag(d.changed_at) OVER (PARTITION BY d.tenant_id, d.subscription_id ORDER BY d.part_no) AS changed_before
		FROM billing.due_part d
	) d
	JOIN billing.subscription s ON s.tenant_id = d.tenant_id AND s.subscription_id = d.subscription_id
	WHERE d.changed_before > d.changed_at OR s.changed_at IS NULL OR s.changed_at < d.changed_at
	UNION ALL
	SELECT 'a plan is changed to one of its currency', s.tenant_id, format('subscription %s', s.subscription_id),
		format('currency=%s next_plan=%s', s.currency, p.currency)
	FROM billing.subscription s
	JOIN billing.plan p ON p.plan_id = s.next_plan_id
	WHERE p.currency <> s.currency;
COMMENT ON VIEW billing.audit_change
	IS 'broken invariants of changes: what they owe is billed, by an invoice of its subscription, and they follow one another';

-- Hours are compared as a whole: a boundary cuts one into several rows.
CREATE VIEW billing.audit_usage WITH (security_invoker) AS
	WITH event AS (
		SELECT e.tenant_id, e.meter, coalesce(e.subscription_id, 0) AS subscription_id, date_bin('1 hour', e.at, '2000-01-01Z') AS hour,
			count(*) AS events, sum(e.quantity) AS sum, max(e.quantity) AS max, min(e.at) AS first_at, max(e.at) AS last_at,
			billing.usage_latest(e.quantity, e.at, e.event_id) AS latest, billing.usage_latest_id(e.quantity, e.at, e.event_id) AS latest_id,
			billing.digest_sum(billing.usage_digest(e.event_id, e.meter, e.subscription_id, e.quantity, e.at)) AS digest
		FROM billing.usage_event e
		JOIN billing.usage_horizon h ON h.tenant_id = e.tenant_id
		WHERE billing.usage_is_compacted(e.xid, e.cmin, h.snapshot, h.own_xid, h.own_cid)
		  AND NOT EXISTS (SELECT FROM billing.usage_correction c WHERE c.tenant_id = e.tenant_id AND c.event_id = e.event_id)
		GROUP BY 1, 2, 3, 4
	), bucket AS (
		SELECT 'h'::"char" AS level, e.tenant_id, e.meter, e.subscription_id, e.hour AS bucket, e.events, e.sum, e.max, e.first_at,
			e.last_at, e.latest, e.latest_id, e.digest
		FROM event e
		UNION ALL
		SELECT 'd', e.tenant_id, e.meter, e.subscription_id, date_bin('1 day', e.hour, '2000-01-01Z'), sum(e.events)::bigint, sum(e.sum),
			max(e.max), min(e.first_at), max(e.last_at), billing.usage_latest(e.latest, e.last_at, e.latest_id),
			billing.usage_latest_id(e.latest, e.last_at, e.latest_id), billing.digest_sum(e.digest)
		FROM event e
		GROUP BY 2, 3, 4, 5
	), rolled AS (
		SELECT r.level, r.tenant_id, r.meter, r.subscription_id,
			date_bin(CASE r.level WHEN 'h' THEN interval '1 hour' ELSE interval '1 day' END, r.bucket, '2000-01-01Z') AS bucket,
			sum(r.events)::bigint AS events, sum(r.sum) AS sum, max(r.max) AS max, min(r.first_at) AS first_at, max(r.last_at) AS last_at,
			billing.usage_latest(r.latest, r.last_at, r.latest_id) AS latest,
			billing.usage_latest_id(r.latest, r.last_at, r.latest_id) AS latest_id, billing.digest_sum(r.digest) AS digest,
			bool_and(r.bucket <= r.first_at AND r.first_at <= r.last_at) AS is_ordered
		FROM billing.usage_rollup r
		GROUP BY 1, 2, 3, 4, 5
	)
	SELECT 'the rollup is the sum of its events' AS invariant, coalesce(r.tenant_id, b.tenant_id) AS tenant_id,
		format('usage_rollup %s subscription %s %s %s', coalesce(r.meter, b.meter), coalesce(r.subscription_id, b.subscription_id),
			coalesce(r.level, b.level), coalesce(r.bucket, b.bucket)) AS object,
		format('events=%s/%s sum=%s/%s max=%s/%s latest=%s/%s first_at=%s/%s last_at=%s/%s digest=%s/%s', coalesce(r.events, 0),
			coalesce(b.events, 0), r.sum, b.sum, r.max, b.max, r.latest, b.latest, r.first_at, b.first_at, r.last_at, b.last_at,
			r.digest, b.digest) AS detail
	FROM rolled r
	FULL JOIN bucket b ON b.level = r.level AND b.tenant_id = r.tenant_id AND b.meter = r.meter
		AND b.subscription_id = r.subscription_id AND b.bucket = r.bucket
	WHERE (r.events, r.sum, r.max, r.first_at, r.last_at, r.latest, r.latest_id, r.digest)
		IS DISTINCT FROM (b.events, b.sum, b.max, b.first_at, b.last_at, b.latest, b.latest_id, b.digest)
	   OR NOT r.is_ordered
	UNION ALL
	-- Each period holds the hours that start in it.
	SELECT 'a period is the sum of its events', p.tenant_id,
		format('usage_period %s subscription %s %s', p.meter, p.subscription_id, p.starts_at),
		format('events=%s/%s sum=%s/%s max=%s/%s last_at=%s/%s next=%s digest=%s/%s', p.events, coalesce(h.events, 0), p.sum, h.sum,
			p.max, h.max, p.last_at, h.last_at, p.next, p.digest, h.digest)
	FROM (
		SELECT p.*, lead(p.starts_at) OVER (PARTITION BY p.tenant_id, p.subscription_id, p.meter ORDER BY p.starts_at) AS next
		FROM billing.usage_period p
	) p
	LEFT JOIN LATERAL (
		SELECT sum(h.events)::bigint AS events, sum(h.sum) AS sum, max(h.max) AS max, max(h.last_at) AS last_at,
			billing.digest_sum(h.digest) AS digest
		FROM billing.usage_rollup h
		WHERE h.tenant_id = p.tenant_id AND h.meter = p.meter AND h.subscription_id = p.subscription_id AND h.level = 'h'
		  AND h.bucket >= p.starts_at AND (p.next IS NULL OR h.bucket < p.next)
	) h ON true
	WHERE (p.events, p.sum, p.max, p.last_at, p.digest) IS DISTINCT FROM (h.events, h.sum, h.max, h.last_at, h.digest)
	   OR p.last_at >= p.next
	UNION ALL
	SELECT 'every hour is in a period', h.tenant_id,
		format('usage_rollup %s subscription %s %s %s', h.meter, h.subscription_id, h.level, h.bucket), NULL
	FROM billing.usage_rollup h
	WHERE h.level = 'h' AND NOT EXISTS (SELECT FROM billing.usage_period p
		WHERE p.tenant_id = h.tenant_id AND p.meter = h.meter AND p.subscription_id = h.subscription_id AND p.starts_at <= h.bucket)
	UNION ALL
	SELECT 'what the floor covers is in the rollup', e.tenant_id, format('usage_event %s', e.event_id), format('xid=%s', e.xid)
	FROM billing.usage_floor f
	CROSS JOIN billing.usage_event e
	LEFT JOIN billing.usage_horizon h ON h.tenant_id = e.tenant_id
	WHERE pg_visible_in_snapshot(e.xid, f.snapshot)
	  AND NOT coalesce(billing.usage_is_compacted(e.xid, e.cmin, h.snapshot, h.own_xid, h.own_cid), false)
	UNION ALL
	SELECT 'a horizon is of this cluster', h.tenant_id, 'usage_horizon', format('snapshot=%s present=%s', h.snapshot, pg_current_snapshot())
	FROM billing.usage_horizon h
	WHERE pg_snapshot_xmin(h.snapshot) > pg_snapshot_xmax(pg_current_snapshot())
	UNION ALL
	SELECT 'what was corrected is in a rollup without it', e.tenant_id, format('usage_correction %s', e.event_id), format('xid=%s', e.xid)
	FROM billing.usage_correction c
	JOIN billing.usage_horizon h ON h.tenant_id = c.tenant_id
	JOIN billing.usage_event e ON e.tenant_id = c.tenant_id AND e.event_id = c.event_id
	WHERE NOT billing.usage_is_compacted(e.xid, e.cmin, h.snapshot, h.own_xid, h.own_cid)
	UNION ALL
	SELECT 'an event supersedes those of its meter and subscription', c.tenant_id, format('usage_correction %s', c.event_id),
		format('superseded_by=%s meter=%s/%s subscription_id=%s/%s', c.superseded_by, e.meter, n.meter, e.subscription_id, n.subscription_id)
	FROM billing.usage_correction c
	JOIN billing.usage_event e ON e.tenant_id = c.tenant_id AND e.event_id = c.event_id
	JOIN billing.usage_event n ON n.tenant_id = c.tenant_id AND n.event_id = c.superseded_by
	WHERE (n.meter, n.subscription_id) IS DISTINCT FROM (e.meter, e.subscription_id)
	UNION ALL
	SELECT 'a late correction is there', l.tenant_id, format('usage_late %s', l.event_id), format('invoice_id=%s', l.invoice_id)
	FROM billing.usage_late l
	WHERE l.is_correction
	  AND NOT EXISTS (SELECT FROM billing.usage_correction c WHERE c.tenant_id = l.tenant_id AND c.event_id = l.event_id)
	UNION ALL
	SELECT 'late usage is of a billed period, and booked by an invoice of its subscription', l.tenant_id,
		format('usage_late %s', l.event_id), format('subscription_id=%s at=%s billed_to=%s event=%s invoice_id=%s status=%s',
			l.subscription_id, l.at, s.billed_to, CASE WHEN e.event_id IS NULL THEN 'none' ELSE format('%s %s', e.meter, e.at) END,
			l.invoice_id, v.status)
	FROM billing.usage_late l
	LEFT JOIN billing.usage_event e ON e.tenant_id = l.tenant_id AND e.event_id = l.event_id
	LEFT JOIN billing.subscription s ON s.tenant_id = l.tenant_id AND s.subscription_id = l.subscription_id
	LEFT JOIN billing.invoice v ON v.tenant_id = l.tenant_id AND v.invoice_id = l.invoice_id AND v.subscription_id = l.subscription_id
	WHERE (e.meter, e.at) IS DISTINCT FROM (l.meter, l.at) OR NOT coalesce(e.subscription_id = l.subscription_id, true)
	   OR NOT coalesce(l.at < greatest(s.billed_to, (SELECT c.cut_at FROM billing.subscription_threshold c
		WHERE c.tenant_id = s.tenant_id AND c.subscription_id = s.subscription_id)), false)
	   OR l.invoice_id IS NOT NULL AND coalesce(v.status, 'void') = 'void';
COMMENT ON VIEW billing.audit_usage
	IS 'broken invariants of usage: rollup and events, the floor, horizons, corrections, late usage and who booked it';

-- Of what has begun it does not matter when, so both sides begin no sooner than now.
CREATE VIEW billing.audit_entitlement WITH (security_invoker) AS
	SELECT 'a tenant has what its subscriptions and overrides give' AS invariant, coalesce(e.tenant_id, w.tenant_id) AS tenant_id,
		format('feature %s', coalesce(e.feature, w.feature)) AS object,
		format('from=%s has=%s should=%s', coalesce(e.starts_at, w.starts_at), coalesce('to ' || e.ends_at, 'not'),
			coalesce('to ' || w.ends_at, 'not')) AS detail
	FROM (
		SELECT e.tenant_id, e.feature, greatest(e.starts_at, billing.now()) AS starts_at, e.ends_at
		FROM billing.entitlement e
		WHERE e.ends_at > billing.now()
	) e
	FULL JOIN (
		SELECT w.tenant_id, w.feature, greatest(w.starts_at, billing.now()) AS starts_at, w.ends_at
		FROM billing.entitlement_wanted(ARRAY(SELECT t.tenant_id FROM billing.tenant t)) w
	) w ON w.tenant_id = e.tenant_id AND w.feature = e.feature AND w.starts_at = e.starts_at
	WHERE e.ends_at IS DISTINCT FROM w.ends_at
	UNION ALL
	SELECT 'a tenant has what its subscriptions and overrides give', coalesce(l.tenant_id, w.tenant_id),
		format('limit %s per %s', coalesce(l.meter, w.meter), coalesce(l.per, w.per)),
		format('from=%s has=%s should=%s', coalesce(l.starts_at, w.starts_at), coalesce(l.text, 'none'), coalesce(w.text, 'none'))
	FROM (
		SELECT l.tenant_id, l.meter, l.per, greatest(l.starts_at, billing.now()) AS starts_at, l.subscription_id,
			format('%s %s to %s', l.kind, coalesce(l.quantity::text, 'unlimited'), l.ends_at) AS text
		FROM billing.entitlement_limit l
		WHERE l.ends_at > billing.now()
	) l
	FULL JOIN (
		SELECT w.tenant_id, w.meter, w.per, greatest(w.starts_at, billing.now()) AS starts_at, w.subscription_id,
			format('%s %s to %s', w.kind, coalesce(w.quantity::text, 'unlimited'), w.ends_at) AS text
		FROM billing.limit_wanted(ARRAY(SELECT t.tenant_id FROM billing.tenant t)) w
	) w ON w.tenant_id = l.tenant_id AND w.meter = l.meter AND w.per = l.per AND w.starts_at = l.starts_at
	WHERE (l.text, l.subscription_id) IS DISTINCT FROM (w.text, w.subscription_id);
COMMENT ON VIEW billing.audit_entitlement
	IS 'broken invariants of entitlements: what is kept of features and limits is what a refresh would make; billing.refresh_entitlements() mends it';

-- Tables of one coupon that tenants share are seen by whoever sees all.
CREATE VIEW billing.audit_coupon WITH (security_invoker) AS
	SELECT 'the discount of an invoice is what its coupons took off' AS invariant, v.tenant_id, format('invoice %s', v.invoice_id) AS object,
		format('discount=%s coupons=%s', v.discount, coalesce(r.text, 'none')) AS detail
	FROM billing.invoice v
	LEFT JOIN (
		SELECT r.tenant_id, r.invoice_id, sum(billing.minor_units(r.discount)) AS sum, count(DISTINCT billing.currency(r.discount)) AS currencies,
			min(billing.currency(r.discount)) AS currency, string_agg(r.coupon || '=' || r.discount::text, ' ' ORDER BY r.step) AS text
		FROM billing.coupon_redemption r
		GROUP BY r.tenant_id, r.invoice_id
	) r ON r.tenant_id = v.tenant_id AND r.invoice_id = v.invoice_id
	WHERE billing.minor_units(v.discount) <> coalesce(r.sum, 0) OR r.currencies > 1 OR r.currency <> v.currency
	UNION ALL
	SELECT 'what is left of a coupon is what it had less what it took off', u.tenant_id, format('coupon_use %s', u.use_id),
		format('coupon=%s amount_left=%s periods_left=%s invoices=%s taken=%s', u.coupon, u.amount_left, u.periods_left,
			coalesce(r.invoices, 0), coalesce(r.taken, 0))
	FROM billing.coupon_use u
	JOIN billing.coupon c ON c.code = u.coupon
	LEFT JOIN (
		SELECT r.tenant_id, r.use_id, count(*) AS invoices, sum(billing.minor_units(r.discount)) AS taken
		FROM billing.coupon_redemption r
		JOIN billing.invoice v ON v.tenant_id = r.tenant_id AND v.invoice_id = r.invoice_id AND v.status <> 'void'
		GROUP BY r.tenant_id, r.use_id
	) r ON r.tenant_id = u.tenant_id AND r.use_id = u.use_id
	WHERE billing.minor_units(u.amount_left) IS DISTINCT FROM CASE WHEN c.kind = 'fixed' AND (u.invoice_id IS NOT NULL OR c.duration = 'once')
			THEN billing.minor_units(billing.amount(c.value, c.currency)) - coalesce(r.taken, 0) END
	   OR u.periods_left IS DISTINCT FROM CASE WHEN u.invoice_id IS NOT NULL OR (c.duration = 'once' AND c.kind = 'percentage') THEN 1
			WHEN c.duration = 'repeating' THEN c.periods END - coalesce(r.invoices, 0)
	UNION ALL
	SELECT 'a coupon is released when no invoice has it', u.tenant_id, format('coupon_use %s', u.use_id),
		format('coupon=%s ended_at=%s released_at=%s invoices=%s', u.coupon, u.ended_at, u.released_at, r.invoices)
	FROM billing.coupon_use u
	CROSS JOIN LATERAL (
		SELECT count(*) AS invoices
		FROM billing.coupon_redemption r
		JOIN billing.invoice v ON v.tenant_id = r.tenant_id AND v.invoice_id = r.invoice_id AND v.status <> 'void'
		WHERE r.tenant_id = u.tenant_id AND r.use_id = u.use_id
	) r
	WHERE (u.released_at IS NOT NULL) <> (u.ended_at IS NOT NULL AND r.invoices = 0)
	UNION ALL
	SELECT 'a subscription names a coupon that it has', s.tenant_id, format('subscription %s', s.subscription_id),
		format('coupon=%s has=%s', s.coupon, l.coupon)
	FROM billing.subscription s
	LEFT JOIN LATERAL (
		SELECT l.coupon FROM billing.live_coupons(s.tenant_id, s.subscription_id, NULL) l ORDER BY l.use_id DESC LIMIT 1
	) l ON true
	WHERE s.coupon IS DISTINCT FROM l.coupon
	UNION ALL
	SELECT 'a slot is of the use that has it', coalesce(s.taken_by, u.tenant_id), format('coupon_slot %s/%s', coalesce(s.coupon, u.coupon),
			coalesce(s.slot_no, u.slot_no)), format('slot: use_id=%s, use: use_id=%s', s.use_id, u.use_id)
	FROM (SELECT * FROM billing.coupon_slot s WHERE s.use_id IS NOT NULL) s
	FULL JOIN (SELECT * FROM billing.coupon_use u WHERE u.slot_no IS NOT NULL) u
		ON u.tenant_id = s.taken_by AND u.use_id = s.use_id AND u.coupon = s.coupon AND u.slot_no = s.slot_no
	WHERE s.use_id IS NULL OR u.use_id IS NULL
	UNION ALL
	SELECT 'a use of a coupon with a limit has a slot', u.tenant_id, format('coupon_use %s', u.use_id), format('coupon=%s', u.coupon)
	FROM billing.coupon_use u
	JOIN billing.coupon c ON c.code = u.coupon
	WHERE c.redemption_limit IS NOT NULL AND u.released_at IS NULL AND u.slot_no IS NULL
	UNION ALL
	SELECT 'a coupon counts its slots', NULL, format('coupon %s', c.code), format('slot_count=%s slots=%s', c.slot_count, s.slots)
	FROM billing.coupon c
	CROSS JOIN LATERAL (SELECT count(*) AS slots FROM billing.coupon_slot s WHERE s.coupon = c.code) s
	WHERE c.slot_count <> s.slots;
COMMENT ON VIEW billing.audit_coupon
	IS 'broken invariants of coupons: discounts of invoices, what is left of each use, slots, flags of subscriptions';

-- The keys whose check is set-wise or off, and those of all else that triggers could
-- have been off for.
CREATE VIEW billing.audit_event WITH (security_invoker) AS
	SELECT 'a payload tells of its event' AS invariant, e.tenant_id, format('event %s', e.event_id) AS object,
		format('type=%s/%s event_id=%s tenant_id=%s timestamp=%s/%s', e.type, e.payload ->> 'type', e.payload ->> 'event_id', e.payload ->> 'tenant_id',
			billing.event_instant(e.created_at), e.payload ->> 'timestamp') AS detail
	FROM billing.event e
	WHERE (e.payload ->> 'type', e.payload ->> 'event_id', e.payload ->> 'tenant_id', e.payload ->> 'timestamp')
		IS DISTINCT FROM (e.type, e.event_id::text, e.tenant_id::text, billing.event_instant(e.created_at))
	   OR jsonb_typeof(e.payload #> '{data,object}') IS DISTINCT FROM 'object'
	UNION ALL
	SELECT 'an event is of a type that there is', e.tenant_id, format('event %s', e.event_id), format('type=%s', e.type)
	FROM billing.event e
	WHERE e.type NOT IN (SELECT t.type FROM billing.event_type t);
COMMENT ON VIEW billing.audit_event
	IS 'broken invariants of events: a payload is of its row, a type is one of the catalogue';

CREATE VIEW billing.audit_reference WITH (security_invoker) AS
	SELECT 'a row refers to one that exists' AS invariant, o.tenant_id, o.object, o.detail
	FROM (
		SELECT i.tenant_id, format('invoice_item %s/%s', i.invoice_id, i.line) AS object, format('invoice_id=%s', i.invoice_id) AS detail
		FROM billing.invoice_item i
		WHERE NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id)
		UNION ALL
		SELECT i.tenant_id, format('invoice_item %s/%s', i.invoice_id, i.line),
			format('adjusts_invoice_id=%s adjusts_line=%s', i.adjusts_invoice_id, i.adjusts_line)
		FROM billing.invoice_item i
		WHERE i.adjusts_invoice_id IS NOT NULL AND NOT EXISTS (SELECT FROM billing.invoice_item a
			WHERE a.tenant_id = i.tenant_id AND a.invoice_id = i.adjusts_invoice_id AND a.line = i.adjusts_line)
		UNION ALL
		SELECT i.tenant_id, format('invoice_item %s/%s', i.invoice_id, i.line), format('plan_id=%s', i.plan_id)
		FROM billing.invoice_item i
		WHERE i.plan_id IS NOT NULL AND NOT EXISTS (SELECT FROM billing.plan p WHERE p.plan_id = i.plan_id)
		UNION ALL
		SELECT t.tenant_id, format('invoice_tax %s/%s', t.invoice_id, t.line_no), format('invoice_id=%s tax_rate=%s', t.invoice_id, t.tax_rate)
		FROM billing.invoice_tax t
		WHERE NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = t.tenant_id AND v.invoice_id = t.invoice_id)
		   OR t.tax_rate IS NOT NULL AND NOT EXISTS (SELECT FROM billing.tax_rate r WHERE r.code = t.tax_rate)
		UNION ALL
		SELECT l.tenant_id, format('calculation_log %s', l.invoice_id), format('invoice_id=%s', l.invoice_id)
		FROM billing.calculation_log l
		WHERE NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = l.tenant_id AND v.invoice_id = l.invoice_id)
		UNION ALL
		SELECT x.tenant_id, format('transaction %s', x.transaction_id), format('invoice_id=%s', x.invoice_id)
		FROM billing.transaction x
		WHERE x.invoice_id IS NOT NULL
		  AND NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = x.tenant_id AND v.invoice_id = x.invoice_id)
		UNION ALL
		SELECT x.tenant_id, format('transaction %s', x.transaction_id), format('payment_id=%s', x.payment_id)
		FROM billing.transaction x
		WHERE x.payment_id IS NOT NULL
		  AND NOT EXISTS (SELECT FROM billing.payment p WHERE p.tenant_id = x.tenant_id AND p.payment_id = x.payment_id)
		UNION ALL
		SELECT p.tenant_id, format('payment %s', p.payment_id), format('invoice_id=%s', p.invoice_id)
		FROM billing.payment p
		WHERE p.invoice_id IS NOT NULL
		  AND NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = p.tenant_id AND v.invoice_id = p.invoice_id)
		UNION ALL
		SELECT a.tenant_id, format('collection_attempt %s/%s/%s', a.invoice_id, a.attempt_no, a.retry_no), format('invoice_id=%s', a.invoice_id)
		FROM billing.collection_attempt a
		WHERE NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = a.tenant_id AND v.invoice_id = a.invoice_id)
		UNION ALL
		SELECT d.tenant_id, format('invoice_dunning %s', d.invoice_id), format('invoice_id=%s', d.invoice_id)
		FROM billing.invoice_dunning d
		WHERE NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = d.tenant_id AND v.invoice_id = d.invoice_id)
		UNION ALL
		SELECT n.tenant_id, format('credit_note %s', n.credit_note_id), format('invoice_id=%s to_invoice_id=%s grant_id=%s promotional_grant_id=%s',
			n.invoice_id, n.to_invoice_id, n.grant_id, n.promotional_grant_id)
		FROM billing.credit_note n
		WHERE NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = n.tenant_id AND v.invoice_id = n.invoice_id)
		   OR n.to_invoice_id IS NOT NULL
			AND NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = n.tenant_id AND v.invoice_id = n.to_invoice_id)
		   OR n.grant_id IS NOT NULL
			AND NOT EXISTS (SELECT FROM billing.credit_grant g WHERE g.tenant_id = n.tenant_id AND g.grant_id = n.grant_id)
		   OR n.promotional_grant_id IS NOT NULL
			AND NOT EXISTS (SELECT FROM billing.credit_grant g WHERE g.tenant_id = n.tenant_id AND g.grant_id = n.promotional_grant_id)
		UNION ALL
		SELECT c.tenant_id, format('credit_note_item %s/%s', c.credit_note_id, c.line), format('credit_note_id=%s', c.credit_note_id)
		FROM billing.credit_note_item c
		WHERE NOT EXISTS (SELECT FROM billing.credit_note n WHERE n.tenant_id = c.tenant_id AND n.credit_note_id = c.credit_note_id)
		UNION ALL
		SELECT c.tenant_id, format('credit_note_item %s/%s', c.credit_note_id, c.line),
			format('invoice_id=%s invoice_line=%s', c.invoice_id, c.invoice_line)
		FROM billing.credit_note_item c
		WHERE NOT EXISTS (SELECT FROM billing.invoice_item i
			WHERE i.tenant_id = c.tenant_id AND i.invoice_id = c.invoice_id AND i.line = c.invoice_line)
		UNION ALL
		SELECT t.tenant_id, format('credit_note_tax %s/%s', t.credit_note_id, t.line_no),
			format('credit_note_id=%s invoice_id=%s invoice_line_no=%s', t.credit_note_id, t.invoice_id, t.invoice_line_no)
		FROM billing.credit_note_tax t
		WHERE NOT EXISTS (SELECT FROM billing.credit_note n WHERE n.tenant_id = t.tenant_id AND n.credit_note_id = t.credit_note_id)
		   OR NOT EXISTS (SELECT FROM billing.invoice_tax i
			WHERE i.tenant_id = t.tenant_id AND i.invoice_id = t.invoice_id AND i.line_no = t.invoice_line_no)
		UNION ALL
		SELECT n.tenant_id, format('notification %s', n.notification_id), format('kind=%s object_id=%s', n.kind, n.object_id)
		FROM billing.notification n
		WHERE CASE
			WHEN n.kind IN ('invoice', 'invoice_due') THEN
				NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = n.tenant_id AND v.invoice_id = n.object_id)
			WHEN n.kind = 'receipt' THEN
				NOT EXISTS (SELECT FROM billing.payment p WHERE p.tenant_id = n.tenant_id AND p.payment_id = n.object_id)
			WHEN n.kind IN ('trial_ending', 'renewal_reminder', 'expiry_reminder') THEN
				NOT EXISTS (SELECT FROM billing.subscription s WHERE s.tenant_id = n.tenant_id AND s.subscription_id = n.object_id)
			END
		UNION ALL
		SELECT r.tenant_id, format('refund %s', r.refund_id), format('invoice_id=%s payment_id=%s credit_note_id=%s grant_id=%s',
			r.invoice_id, r.payment_id, r.credit_note_id, r.grant_id)
		FROM billing.refund r
		WHERE r.invoice_id IS NOT NULL
			AND NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = r.tenant_id AND v.invoice_id = r.invoice_id)
		   OR NOT EXISTS (SELECT FROM billing.payment p WHERE p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id)
		   OR r.credit_note_id IS NOT NULL
			AND NOT EXISTS (SELECT FROM billing.credit_note n WHERE n.tenant_id = r.tenant_id AND n.credit_note_id = r.credit_note_id)
		   OR r.grant_id IS NOT NULL
			AND NOT EXISTS (SELECT FROM billing.credit_grant g WHERE g.tenant_id = r.tenant_id AND g.grant_id = r.grant_id)
		UNION ALL
		SELECT e.tenant_id, format('wallet_entry %s', e.entry_id), format('grant_id=%s', e.grant_id)
		FROM billing.wallet_entry e
		WHERE e.grant_id IS NOT NULL
		  AND NOT EXISTS (SELECT FROM billing.credit_grant g WHERE g.tenant_id = e.tenant_id AND g.grant_id = e.grant_id)
		UNION ALL
		SELECT e.tenant_id, format('wallet_entry %s', e.entry_id), format('invoice_id=%s', e.invoice_id)
		FROM billing.wallet_entry e
		WHERE e.invoice_id IS NOT NULL
		  AND NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = e.tenant_id AND v.invoice_id = e.invoice_id)
		UNION ALL
		SELECT g.tenant_id, format('credit_grant %s', g.grant_id), format('invoice_id=%s', g.invoice_id)
		FROM billing.credit_grant g
		WHERE g.invoice_id IS NOT NULL
		  AND NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = g.tenant_id AND v.invoice_id = g.invoice_id)
		UNION ALL
		SELECT v.tenant_id, format('invoice %s', v.invoice_id), format('subscription_id=%s', v.subscription_id)
		FROM billing.invoice v
		WHERE v.subscription_id IS NOT NULL
		  AND NOT EXISTS (SELECT FROM billing.subscription s WHERE s.tenant_id = v.tenant_id AND s.subscription_id = v.subscription_id)
		UNION ALL
		SELECT v.tenant_id, format('invoice %s', v.invoice_id), format('plan_id=%s', v.plan_id)
		FROM billing.invoice v
		WHERE v.plan_id IS NOT NULL AND NOT EXISTS (SELECT FROM billing.plan p WHERE p.plan_id = v.plan_id)
		UNION ALL
		SELECT s.tenant_id, format('subscription %s', s.subscription_id), format('plan_id=%s', s.plan_id)
		FROM billing.subscription s
		WHERE NOT EXISTS (SELECT FROM billing.plan p WHERE p.plan_id = s.plan_id)
		UNION ALL
		SELECT c.tenant_id, format('subscription_change %s/%s', c.subscription_id, c.change_no), format('subscription_id=%s', c.subscription_id)
		FROM billing.subscription_change c
		WHERE NOT EXISTS (SELECT FROM billing.subscription s WHERE s.tenant_id = c.tenant_id AND s.subscription_id = c.subscription_id)
		UNION ALL
		SELECT e.tenant_id, format('usage_event %s', e.event_id), format('meter=%s', e.meter)
		FROM billing.usage_event e
		WHERE NOT EXISTS (SELECT FROM billing.meter m WHERE m.code = e.meter)
		UNION ALL
		SELECT e.tenant_id, format('usage_event %s', e.event_id), format('subscription_id=%s', e.subscription_id)
		FROM billing.usage_event e
		WHERE e.subscription_id IS NOT NULL
		  AND NOT EXISTS (SELECT FROM billing.subscription s WHERE s.tenant_id = e.tenant_id AND s.subscription_id = e.subscription_id)
		UNION ALL
		SELECT c.tenant_id, c.relation || ' of tenant', format('tenant_id=%s', c.tenant_id)
		FROM (
			SELECT DISTINCT 'subscription' AS relation, s.tenant_id FROM billing.subscription s
			UNION ALL SELECT DISTINCT 'invoice', v.tenant_id FROM billing.invoice v
			UNION ALL SELECT DISTINCT 'payment', p.tenant_id FROM billing.payment p
			UNION ALL SELECT DISTINCT 'transaction', x.tenant_id FROM billing.transaction x
			UNION ALL SELECT DISTINCT 'credit_note', n.tenant_id FROM billing.credit_note n
			UNION ALL SELECT DISTINCT 'refund', r.tenant_id FROM billing.refund r
			UNION ALL SELECT DISTINCT 'usage_event', e.tenant_id FROM billing.usage_event e
			UNION ALL SELECT k.relation, k.tenant_id FROM (SELECT 'counter' AS relation, c.tenant_id FROM billing.counter c) k
			UNION ALL SELECT DISTINCT 'event', e.tenant_id FROM billing.event e
			UNION ALL SELECT DISTINCT 'notification', n.tenant_id FROM billing.notification n
			UNION ALL SELECT DISTINCT 'entitlement', e.tenant_id FROM billing.entitlement e
			UNION ALL SELECT DISTINCT 'entitlement_limit', l.tenant_id FROM billing.entitlement_limit l
			UNION ALL SELECT DISTINCT 'entitlement_override', o.tenant_id FROM billing.entitlement_override o
		) c
		WHERE NOT EXISTS (SELECT FROM billing.tenant t WHERE t.tenant_id = c.tenant_id)
		UNION ALL
		SELECT NULL, format('price %s/%s', p.plan_id, p.code), format('meter=%s plan_id=%s', p.meter, p.plan_id)
		FROM billing.price p
		WHERE NOT EXISTS (SELECT FROM billing.plan f WHERE f.plan_id = p.plan_id)
		   OR p.meter IS NOT NULL AND NOT EXISTS (SELECT FROM billing.meter m WHERE m.code = p.meter)
	) o
	UNION ALL
	SELECT 'foreign keys of bulk tables are checked once a statement', NULL, format('table %s', r.table_name),
		format('is_checked=%s is_setwise=%s remedy=%s', r.is_checked, r.is_setwise, r.remedy)
	FROM billing.reference_check r
	WHERE NOT r.is_checked OR NOT r.is_setwise
	UNION ALL
	SELECT 'guards are on', NULL, format('table %s', c.relname), format('trigger=%s tgenabled=%s', t.tgname, t.tgenabled)
	FROM pg_catalog.pg_trigger t
	JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
	WHERE c.relnamespace = 'billing'::regnamespace AND NOT t.tgisinternal AND t.tgenabled NOT IN ('O', 'A')
	UNION ALL
	SELECT 'guards are on', NULL, format('table %s', c.relname), format('constraint=%s is not valid', n.conname)
	FROM pg_catalog.pg_constraint n
	JOIN pg_catalog.pg_class c ON c.oid = n.conrelid
	WHERE n.connamespace = 'billing'::regnamespace AND NOT n.convalidated
	UNION ALL
	SELECT 'guards are on', NULL, format('table %s', c.relname), 'row security is off'
	FROM pg_catalog.pg_policy p
	JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
	WHERE c.relnamespace = 'billing'::regnamespace AND NOT c.relrowsecurity;
COMMENT ON VIEW billing.audit_reference
	IS 'rows that refer to nothing, and guards (triggers, constraints, row security, set-wise foreign keys) that are off';

CREATE VIEW billing.audit_finding WITH (security_invoker) AS
	SELECT i.invariant, i.tenant_id, i.object, i.detail FROM billing.audit_invoice i
	UNION ALL
	SELECT p.invariant, p.tenant_id, p.object, p.detail FROM billing.audit_rerate p
	UNION ALL
	SELECT h.invariant, h.tenant_id, h.object, h.detail FROM billing.audit_threshold h
	UNION ALL
	SELECT c.invariant, c.tenant_id, c.object, c.detail FROM billing.audit_calculation c
	UNION ALL
	SELECT p.invariant, p.tenant_id, p.object, p.detail FROM billing.audit_payment p
	UNION ALL
	SELECT m.invariant, m.tenant_id, m.object, m.detail FROM billing.audit_payment_method m
	UNION ALL
	SELECT m.invariant, m.tenant_id, m.object, m.detail FROM billing.audit_mirrored_subscription m
	UNION ALL
	SELECT c.invariant, c.tenant_id, c.object, c.detail FROM billing.audit_credit_note c
	UNION ALL
	SELECT r.invariant, r.tenant_id, r.object, r.detail FROM billing.audit_refund r
	UNION ALL
	SELECT s.invariant, s.tenant_id, s.object, s.detail FROM billing.audit_settlement s
	UNION ALL
	SELECT l.invariant, l.tenant_id, l.object, l.detail FROM billing.audit_ledger l
	UNION ALL
	SELECT w.invariant, w.tenant_id, w.object, w.detail FROM billing.audit_wallet w
	UNION ALL
	SELECT s.invariant, s.tenant_id, s.object, s.detail FROM billing.audit_subscription s
	UNION ALL
	SELECT d.invariant, d.tenant_id, d.object, d.detail FROM billing.audit_dunning d
	UNION ALL
	SELECT c.invariant, c.tenant_id, c.object, c.detail FROM billing.audit_change c
	UNION ALL
	SELECT u.invariant, u.tenant_id, u.object, u.detail FROM billing.audit_usage u
	UNION ALL
	SELECT e.invariant, e.tenant_id, e.object, e.detail FROM billing.audit_entitlement e
	UNION ALL
	SELECT c.invariant, c.tenant_id, c.object, c.detail FROM billing.audit_coupon c
	UNION ALL
	SELECT e.invariant, e.tenant_id, e.object, e.detail FROM billing.audit_event e
	UNION ALL
	SELECT r.invariant, r.tenant_id, r.object, r.detail FROM billing.audit_reference r;
COMMENT ON VIEW billing.audit_finding
	IS 'every broken invariant, as billing.audit() returns them';

CREATE FUNCTION billing.audit(tenant_id bigint DEFAULT NULL, OUT invariant text, OUT tenant_id bigint, OUT object text, OUT detail text)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 1
AS 'MODULE_PATHNAME', 'billing_audit';
COMMENT ON FUNCTION billing.audit(bigint)
	IS 'every broken invariant of a tenant (NULL: of all, and of what no tenant owns): no row on a healthy database, else which, whose (tenant_id), in which object and how; reads everything once; billing.verify_all() answers whether the invoices are right; YB001 no such tenant';
