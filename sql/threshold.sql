
-- threshold: usage that is billed before its period ends -------------------------------

CREATE FUNCTION billing.interim_amount(price billing.price, subscription_id bigint, tenant_id bigint, period_start timestamptz,
	period_end timestamptz, quantity numeric, events bigint, amount billing.amount, with_tail boolean, known_to bigint)
RETURNS billing.amount
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	-- A minimum is that of the whole period: the invoice that ends it has it.
	SELECT CASE WHEN interim_amount.events = 0 THEN interim_amount.amount - interim_amount.amount
		WHEN NOT coalesce((price).tariff::jsonb ? 'minimum', false) THEN interim_amount.amount
		WHEN (price).is_per_event
			THEN billing.usage_charge(interim_amount.tenant_id, (price).meter, interim_amount.subscription_id, interim_amount.period_start,
				interim_amount.period_end, billing.tariff((price).tariff::jsonb - 'minimum'), interim_amount.with_tail,
				interim_amount.known_to)
		ELSE billing.charge(billing.tariff((price).tariff::jsonb - 'minimum'), interim_amount.quantity, interim_amount.events) END;
END;
COMMENT ON FUNCTION billing.interim_amount(billing.price, bigint, bigint, timestamptz, timestamptz, numeric, bigint, billing.amount,
	boolean, bigint)
	IS 'what usage of a part of a period costs so far: as the line of it says, but nothing without an event, and without the minimum of the tariff';

-- The running total is rated, and what earlier cuts of the same period billed taken off.
-- Whether one of them was void by then, the void in the ledger tells.
CREATE FUNCTION billing.interim_lines(tenant_id bigint, subscription_id bigint, plan_id bigint, plan_cycle interval, currency text,
	streams bigint[], arrears tstzrange, step_arrears tstzrange, with_tail boolean, known_to bigint)
RETURNS TABLE (kind text, price_code text, meter text, description text, quantity numeric, unit_amount numeric,
	amount billing.amount, period_start timestamptz, period_end timestamptz, usage_events bigint, usage_digest bigint,
	formula bytea, tax_category text)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT 'interim', m.price_code, m.meter, m.description, m.quantity - coalesce(a.quantity, 0), NULL::numeric,
		n.amount - coalesce(a.amount, n.amount - n.amount), m.period_start, m.period_end, m.usage_events, m.usage_digest, m.formula,
		m.tax_category
	FROM billing.invoice_lines(interim_lines.tenant_id, interim_lines.subscription_id, interim_lines.plan_id, interim_lines.plan_cycle,
		interim_lines.currency, 1, 'none', 'UTC', interim_lines.streams, interim_lines.arrears, NULL, NULL, NULL,
		interim_lines.step_arrears, NULL, NULL, NULL, interim_lines.with_tail, interim_lines.known_to) m
	JOIN billing.price p ON p.plan_id = interim_lines.plan_id AND p.code = m.price_code
	CROSS JOIN LATERAL (
		SELECT billing.interim_amount(p, interim_lines.subscription_id, interim_lines.tenant_id, m.period_start, m.period_end, m.quantity,
			m.usage_events, m.amount, interim_lines.with_tail, interim_lines.known_to) AS amount
		OFFSET 0
	) n
	LEFT JOIN LATERAL (
		SELECT sum(i.quantity) AS quantity, sum(i.amount) AS amount
		FROM billing.invoice v
		JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
		WHERE v.tenant_id = interim_lines.tenant_id AND v.subscription_id = interim_lines.subscription_id AND v.kind = 'threshold'
		  AND v.plan_id = interim_lines.plan_id
		  AND (v.status <> 'void' OR billing.was_valid(v.tenant_id, v.invoice_id, interim_lines.known_to))
		  AND (interim_lines.known_to IS NULL OR v.invoice_id < interim_lines.known_to)
		  AND i.kind = 'interim' AND i.price_code = m.price_code AND i.period_start = m.period_start
	) a ON true
	WHERE m.kind = 'usage' AND n.amount <> coalesce(a.amount, n.amount - n.amount);
END;
COMMENT ON FUNCTION billing.interim_lines(bigint, bigint, bigint, interval, text, bigint[], tstzrange, tstzrange, boolean, bigint)
	IS 'the lines of an interim invoice: what the usage of a part of the period costs so far (arrears; step_arrears of prices on a cycle of their own) less what earlier interim invoices of the period billed; known_to: as that invoice had it; with_tail and known_to as in billing.invoice_lines';

CREATE FUNCTION billing.interim_credits(tenant_id bigint, subscription_id bigint, plan_id bigint, plan_cycle interval, arrears tstzrange,
	step_arrears tstzrange, known_to bigint)
RETURNS TABLE (kind text, price_code text, meter text, description text, quantity numeric, unit_amount numeric,
	amount billing.amount, period_start timestamptz, period_end timestamptz, usage_events bigint, usage_digest bigint,
	formula bytea, adjusts_invoice_id bigint, adjusts_line integer, tax_category text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT 'interim_credit', i.price_code, i.meter, i.description, -i.quantity, NULL::numeric, -i.amount, i.period_start, i.period_end,
		NULL::bigint, NULL::bigint, CASE WHEN p.strategy IS NOT NULL THEN billing.strategy_digest(p.strategy) ELSE p.digest END,
		i.invoice_id, i.line, i.tax_category
	FROM billing.invoice v
	JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
	JOIN billing.price p ON p.plan_id = v.plan_id AND p.code = i.price_code
	WHERE v.tenant_id = interim_credits.tenant_id AND v.subscription_id = interim_credits.subscription_id AND v.kind = 'threshold'
	  AND v.plan_id = interim_credits.plan_id
	  AND (v.status <> 'void' OR billing.was_valid(v.tenant_id, v.invoice_id, interim_credits.known_to))
	  AND (interim_credits.known_to IS NULL OR v.invoice_id < interim_credits.known_to)
	  AND i.kind = 'interim' AND i.period_start = lower(CASE WHEN p.cycle IS NOT NULL AND p.cycle IS DISTINCT FROM interim_credits.plan_cycle
		THEN interim_credits.step_arrears ELSE interim_credits.arrears END)
	ORDER BY v.invoice_id, i.line;
END;
COMMENT ON FUNCTION billing.interim_credits(bigint, bigint, bigint, interval, tstzrange, tstzrange, bigint)
	IS 'what interim invoices billed of a period that ends, line by line, to be taken off what that costs; known_to: as that invoice had it, NULL: at present';

CREATE FUNCTION billing.threshold_state(tenant_id bigint, subscription_id bigint, at timestamptz, with_tail boolean)
RETURNS TABLE (plan_id bigint, currency text, quantity integer, timezone text, is_passed boolean, amount numeric, open_amount numeric,
	arrears tstzrange, step_arrears tstzrange)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT s.plan_id, s.currency, s.quantity, t.timezone,
		billing.threshold_level(h.thresholds, h.step, b.amount + o.amount)
			> billing.threshold_level(h.thresholds, h.step, greatest(b.amount, c.cut_amount)),
		b.amount + o.amount, o.amount, (n.next).arrears, (n.next).step_arrears
	FROM billing.subscription s
	JOIN billing.plan p ON p.plan_id = s.plan_id
	JOIN billing.tenant t ON t.tenant_id = s.tenant_id
	LEFT JOIN billing.subscription_threshold c ON c.tenant_id = s.tenant_id AND c.subscription_id = s.subscription_id
	CROSS JOIN LATERAL (
		SELECT CASE WHEN c.is_own THEN c.usage_thresholds ELSE p.usage_thresholds END AS thresholds,
			CASE WHEN c.is_own THEN c.usage_threshold_step ELSE p.usage_threshold_step END AS step
	) h
	-- As if it were canceled then.
	CROSS JOIN LATERAL (
		SELECT billing.next_boundary(s.anchor, p.cycle,
			(SELECT q.cycle FROM billing.price q
			 WHERE q.plan_id = p.plan_id AND q.cycle IS NOT NULL AND q.cycle IS DISTINCT FROM p.cycle LIMIT 1),
			s.billing, greatest(s.started_at, upper(s.lapses), s.anew_at), s.trial_end, s.period_start, s.period_end, s.billed_to,
			threshold_state.at, threshold_state.at, s.auto_renew, s.timezone, t.timezone, s.changed_at) AS next
		OFFSET 0
	) n
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(i.amount)::numeric, 0) AS amount
		FROM billing.invoice v
		JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
		WHERE v.tenant_id = s.tenant_id AND v.subscription_id = s.subscription_id AND v.status <> 'void'
		  AND i.kind IN ('usage', 'adjustment', 'interim', 'interim_credit') AND i.meter IS NOT NULL
	) b
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(l.amount)::numeric, 0) AS amount
		FROM billing.interim_lines(s.tenant_id, s.subscription_id, s.plan_id, p.cycle, s.currency,
			billing.usage_streams(s.tenant_id, s.subscription_id),
			(n.next).arrears, (n.next).step_arrears, threshold_state.with_tail, NULL) l
	) o
	WHERE s.tenant_id = threshold_state.tenant_id AND s.subscription_id = threshold_state.subscription_id
	  AND s.due_at > threshold_state.at AND s.ended_at IS NULL AND threshold_state.at > greatest(s.period_start, s.changed_at, c.cut_at)
	  AND num_nonnulls(h.thresholds, h.step) > 0;
END;
COMMENT ON FUNCTION billing.threshold_state(bigint, bigint, timestamptz, boolean)
	IS 'how much usage of a subscription has come to (amount: since it began, of which open_amount is in no invoice) and whether that passes a threshold that what was billed, or the last interim invoice, had not; arrears and step_arrears: what an interim invoice at at would bill; no row of one that has no thresholds, or where none is possible then';

CREATE FUNCTION billing.due_thresholds(at timestamptz, batch integer, after_tenant_id bigint, after_subscription_id bigint)
RETURNS TABLE (tenant_id bigint, subscription_id bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT s.tenant_id, s.subscription_id
	FROM (
		SELECT s.tenant_id, s.subscription_id
		FROM billing.subscription s
		WHERE (SELECT EXISTS (SELECT FROM billing.plan p WHERE num_nonnulls(p.usage_thresholds, p.usage_threshold_step) > 0))
		  AND s.plan_id IN (SELECT p.plan_id FROM billing.plan p WHERE num_nonnulls(p.usage_thresholds, p.usage_threshold_step) > 0)
		  AND s.due_at > due_thresholds.at
		UNION
		SELECT c.tenant_id, c.subscription_id
		FROM billing.subscription_threshold c
		WHERE c.is_own
	) s
	CROSS JOIN LATERAL billing.threshold_state(s.tenant_id, s.subscription_id, due_thresholds.at, false) t
	WHERE (s.tenant_id, s.subscription_id) > (due_thresholds.after_tenant_id, due_thresholds.after_subscription_id)
	  AND t.is_passed
	ORDER BY s.tenant_id, s.subscription_id
	LIMIT due_thresholds.batch;
END;
COMMENT ON FUNCTION billing.due_thresholds(timestamptz, integer, bigint, bigint)
	IS 'subscriptions whose usage passes a threshold at at, as far as it is in the rollup; at most batch of them, behind the given position';

CREATE FUNCTION billing.threshold_batch(at timestamptz, batch integer, wait boolean, after_tenant_id bigint, after_subscription_id bigint,
	OUT claimed bigint, OUT tenant_id bigint, OUT subscription_id bigint)
RETURNS record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_threshold_batch';
COMMENT ON FUNCTION billing.threshold_batch(timestamptz, integer, boolean, bigint, bigint)
	IS 'makes the interim invoices of up to batch subscriptions whose usage passes a threshold at at, behind the given position in the order of tenant and subscription; wait: for tenants that somebody else has locked; returns how many there were and the position behind them; what billing.bill_due calls';

CREATE FUNCTION billing.set_usage_thresholds(tenant_id bigint, subscription_id bigint, thresholds numeric[], step numeric DEFAULT NULL,
	request_id text DEFAULT NULL)
RETURNS billing.subscription_threshold
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_set_usage_thresholds';
COMMENT ON FUNCTION billing.set_usage_thresholds(bigint, bigint, numeric[], numeric, text)
	IS 'gives a subscription usage thresholds of its own in the place of its plan''s: at most 100 amounts in major units of its currency, ascending, and a step by which they go on behind the last; an empty array and no step: none; thresholds and step NULL: the plan''s again; returns them; 22004, 22023 more than 100 thresholds or some that do not ascend from above zero or a step that is not positive, YB001, YB004 the subscription has ended, YB006, YB015';
