
-- statement: what a tenant owes, and what was earned -------------------------------------

-- What a tenant owes is what is receivable, also of what was given up, less its credit.
CREATE FUNCTION billing.statement_entries(tenant_id bigint, period tstzrange, currency text)
RETURNS TABLE (at timestamptz, kind text, document text, description text, amount billing.amount, balance billing.amount)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH movement AS (
		SELECT t.transaction_id, t.kind, t.at, t.invoice_id, t.payment_id, m.currency, m.amount,
			statement_entries.period IS NULL OR t.at <@ statement_entries.period AS is_shown
		FROM billing.transaction t
		CROSS JOIN LATERAL (
			SELECT billing.currency(e.amount) AS currency, sum(e.amount) AS amount
			FROM ROWS FROM (unnest(t.accounts), unnest(t.amounts)) AS e (account, amount)
			WHERE e.account IN ('receivable', 'bad_debt', 'customer_credit')
			GROUP BY 1
		) m
		WHERE t.tenant_id = statement_entries.tenant_id AND billing.minor_units(m.amount) <> 0
		  AND (statement_entries.period IS NULL OR NOT tstzrange(t.at, t.at, '[]') >> statement_entries.period)
		  AND (statement_entries.currency IS NULL OR m.currency = upper(statement_entries.currency))
	), entry AS (
		SELECT m.currency, lower(statement_entries.period) AS at, 0::bigint AS transaction_id, 'opening' AS kind,
			coalesce(sum(m.amount) FILTER (WHERE NOT m.is_shown), billing.from_minor_units(0, m.currency)) AS amount,
			NULL::bigint AS invoice_id, NULL::bigint AS payment_id
		FROM movement m
		WHERE lower(statement_entries.period) IS NOT NULL
		GROUP BY m.currency
		UNION ALL
		SELECT m.currency, m.at, m.transaction_id, m.kind, m.amount, m.invoice_id, m.payment_id
		FROM movement m
		WHERE m.is_shown
	)
	SELECT e.at, e.kind, coalesce(n.number, r.refund_no, p.pay_no, i.number),
		CASE WHEN e.kind = 'opening' THEN 'balance brought forward'
			WHEN n.credit_note_id IS NOT NULL THEN format('credit note for %s%s', i.number, coalesce(': ' || n.reason, ''))
			WHEN e.kind = 'refund' THEN format('refund for %s', coalesce(i.number, p.pay_no))
			WHEN e.kind = 'top_up' THEN format('credit topped up%s', coalesce(': ' || p.reference, ''))
			WHEN e.kind = 'consume' THEN 'credit consumed'
			WHEN e.kind = 'expire' THEN 'credit expired'
			WHEN e.kind = 'adjustment' THEN CASE WHEN billing.minor_units(e.amount) < 0 THEN 'credit granted' ELSE 'credit taken back' END
			WHEN e.kind = 'draw' THEN format('credit for %s', i.number)
			WHEN e.kind IN ('payment', 'recovery') THEN format('payment%s%s', coalesce(' of ' || i.number, ' of more than was due'), coalesce(', ' || p.reference, ''))
			WHEN e.kind = 'reversal' THEN format('payment%s taken back', coalesce(' of ' || i.number, ''))
			WHEN e.kind = 'void' THEN format('%s is void%s', i.number, coalesce(': ' || i.status_reason, ''))
			WHEN e.kind = 'invoice' THEN format('invoice%s', CASE WHEN i.period_start < i.period_end
				THEN format(' of %s to %s', (i.period_start AT TIME ZONE t.timezone)::date, (i.period_end AT TIME ZONE t.timezone)::date) ELSE '' END) END,
		e.amount, sum(e.amount) OVER (PARTITION BY e.currency ORDER BY e.at, e.transaction_id)
	FROM entry e
	JOIN billing.tenant t ON t.tenant_id = statement_entries.tenant_id
	LEFT JOIN billing.invoice i ON i.tenant_id = t.tenant_id AND i.invoice_id = e.invoice_id
	LEFT JOIN billing.payment p ON p.tenant_id = t.tenant_id AND p.payment_id = e.payment_id
	LEFT JOIN billing.credit_note n ON n.tenant_id = t.tenant_id AND n.credit_note_id = e.transaction_id AND e.kind = 'credit_note'
	LEFT JOIN billing.refund r ON r.tenant_id = t.tenant_id AND r.refund_id = e.transaction_id AND e.kind = 'refund'
	ORDER BY e.currency, e.at, e.transaction_id;
END;
COMMENT ON FUNCTION billing.statement_entries(bigint, tstzrange, text)
	IS 'the rows of billing.tenant_statement(), of an unknown tenant none';

CREATE FUNCTION billing.tenant_statement(tenant_id bigint, period tstzrange DEFAULT NULL, currency text DEFAULT NULL)
RETURNS TABLE (at timestamptz, kind text, document text, description text, amount billing.amount, balance billing.amount)
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tenant_statement';
COMMENT ON FUNCTION billing.tenant_statement(bigint, tstzrange, text)
	IS 'what moved what a tenant owes, in the order of time: invoices, payments, credit notes, refunds, what was voided, with the balance behind each; positive: the tenant owes more, a negative balance is its credit; period NULL: ever, else a row opening with the balance before, for each currency (NULL: all); an invoice that was given up is still owed; raises YB001 no such tenant, 22004 tenant_id is NULL';

-- Up to an instant: a line has been earned as far as its period has passed, one without
-- a period at its issue, one without an end at its start.
CREATE FUNCTION billing.earned_until(amount billing.amount, period_start timestamptz, period_end timestamptz, issued_at timestamptz, until timestamptz)
RETURNS billing.amount
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN until IS NULL THEN amount
	WHEN isfinite(period_start) AND isfinite(period_end) AND period_end > period_start THEN
		billing.prorate(amount, tstzrange(period_start, period_end), tstzrange(period_start, greatest(least(until, period_end), period_start)))
	WHEN coalesce(period_start, issued_at) < until THEN amount
	ELSE amount - amount END;
COMMENT ON FUNCTION billing.earned_until(billing.amount, timestamptz, timestamptz, timestamptz, timestamptz)
	IS 'of an amount for the service of a period what was earned before an instant (NULL: all): by the time that had passed, rounded half away from zero, so that parts of the time sum to the amount; without a period at issued_at, without an end at its start';

-- What a note takes back was earned until it was issued.  What credit and debts moved
-- beside lines is in the ledger.
CREATE FUNCTION billing.recognised_revenue(period tstzrange, tenant_id bigint DEFAULT NULL)
RETURNS TABLE (tenant_id bigint, currency text, revenue billing.amount, deferred billing.amount)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH bound AS MATERIALIZED (
		SELECT CASE WHEN lower_inf(recognised_revenue.period) THEN '-infinity' ELSE lower(recognised_revenue.period) END AS low,
			CASE WHEN upper_inf(recognised_revenue.period) THEN NULL ELSE upper(recognised_revenue.period) END AS high
		WHERE NOT isempty(recognised_revenue.period)
	), piece AS (
		SELECT i.tenant_id, i.currency, CASE WHEN n.tax_included IS NULL THEN n.amount - n.discount
				ELSE n.amount - n.discount - n.tax_included END AS net, i.issued_at, '-infinity'::timestamptz AS known_at, n.period_start, n.period_end
		FROM billing.invoice i
		JOIN billing.invoice_item n ON n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id
		WHERE i.status NOT IN ('draft', 'void')
		  AND (recognised_revenue.tenant_id IS NULL OR i.tenant_id = recognised_revenue.tenant_id)
		UNION ALL
		SELECT c.tenant_id, c.currency, n.discount + n.tax_included - n.amount, c.issued_at, c.issued_at, n.period_start, n.period_end
		FROM billing.credit_note c
		JOIN billing.credit_note_item n ON n.tenant_id = c.tenant_id AND n.credit_note_id = c.credit_note_id
		WHERE recognised_revenue.tenant_id IS NULL OR c.tenant_id = recognised_revenue.tenant_id
		UNION ALL
		SELECT c.tenant_id, c.currency, c.promotional, c.issued_at, c.issued_at, NULL, NULL
		FROM billing.credit_note c
		WHERE recognised_revenue.tenant_id IS NULL OR c.tenant_id = recognised_revenue.tenant_id
		UNION ALL
		SELECT e.tenant_id, billing.currency(e.amount), -e.amount, e.at, e.at, NULL, NULL
		FROM billing.ledger_entry e
		LEFT JOIN billing.invoice i ON i.tenant_id = e.tenant_id AND i.invoice_id = e.invoice_id
		WHERE e.account IN ('revenue', 'deferred_revenue') AND e.kind NOT IN ('invoice', 'void', 'credit_note')
		  AND i.status IS DISTINCT FROM 'void'
		  AND (recognised_revenue.tenant_id IS NULL OR e.tenant_id = recognised_revenue.tenant_id)
	)
	SELECT p.tenant_id, p.currency, sum(e.until - e.before), sum(CASE WHEN p.issued_at < b.high THEN p.net - e.until ELSE p.net - p.net END)
	FROM piece p
	CROSS JOIN bound b
	CROSS JOIN LATERAL (
		SELECT CASE WHEN p.known_at >= b.high THEN p.net - p.net ELSE billing.earned_until(p.net, p.period_start, p.period_end, p.issued_at, b.high) END AS until,
			CASE WHEN p.known_at >= b.low OR b.low = '-infinity' THEN p.net - p.net
				ELSE billing.earned_until(p.net, p.period_start, p.period_end, p.issued_at, b.low) END AS before
		OFFSET 0
	) e
	GROUP BY p.tenant_id, p.currency
	ORDER BY p.tenant_id, p.currency;
END;
COMMENT ON FUNCTION billing.recognised_revenue(tstzrange, bigint)
	IS 'what was earned in a period, per tenant (NULL: all) and currency: of each line of an invoice, net of discount and tax, what falls into it of the line''s own period, by the time; less what credit notes took back, from their issue on; and what else the ledger booked as revenue (credit that was used or lapsed); deferred: what was invoiced before the end of the period and is still to be earned then; void invoices earn nothing';
