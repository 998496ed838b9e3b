
-- explain: an invoice for a person -----------------------------------------------------

-- An instant as people of a time zone write it.
CREATE FUNCTION billing.local_text(at timestamptz, timezone text)
RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN to_char(at AT TIME ZONE timezone, CASE WHEN extract(second FROM at) = 0 THEN 'YYYY-MM-DD HH24:MI' ELSE 'YYYY-MM-DD HH24:MI:SS.US' END);
COMMENT ON FUNCTION billing.local_text(timestamptz, text)
	IS 'an instant in the wall clock of a time zone, as 2026-01-31 05:00; raises 22023 for an unknown time zone';

-- One row per tier that a quantity falls in, in words.
CREATE FUNCTION billing.charge_explanation(tariff billing.tariff, quantity numeric, events bigint)
RETURNS TABLE (step integer, explanation text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT row_number() OVER ()::integer,
		CASE WHEN e.tier IS NOT NULL AND (e.from_quantity <> 0 OR e.to_quantity IS NOT NULL)
			THEN format('tier %s, %s: ', e.tier, CASE WHEN e.to_quantity IS NULL THEN format('over %s', trim_scale(e.from_quantity))
				ELSE format('%s to %s', trim_scale(e.from_quantity), trim_scale(e.to_quantity)) END) ELSE '' END
		|| CASE WHEN e.note LIKE '%to the %' THEN format('%s: %s', e.note, trim_scale(e.subtotal))
			WHEN e.note = 'free units' THEN format('%s%s free units', trim_scale(e.units),
				CASE WHEN f.free_units <> e.units THEN format(' of %s', trim_scale(f.free_units)) ELSE '' END)
			WHEN e.unit_amount = 0 AND e.flat_amount <> 0 THEN format('flat %s', trim_scale(e.flat_amount))
			ELSE format('%s%s x %s%s = %s', trim_scale(e.units), coalesce(' ' || e.note, ''), trim_scale(e.unit_amount),
				CASE WHEN e.flat_amount <> 0 THEN format(' + %s', trim_scale(e.flat_amount)) ELSE '' END, trim_scale(e.subtotal)) END
	FROM billing.explain_charge(charge_explanation.tariff, charge_explanation.quantity, charge_explanation.events) e
	CROSS JOIN (SELECT (charge_explanation.tariff::jsonb ->> 'free_units')::numeric AS free_units) f;
END;
COMMENT ON FUNCTION billing.charge_explanation(billing.tariff, numeric, bigint)
	IS 'billing.explain_charge in words, a row per tier, free units, events and bound; raises as it';

-- The lines of an invoice with all that says why their amounts are what they are.
CREATE FUNCTION billing.explained_items(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (item billing.invoice_item, timezone text, number text, adjusts_number text, currency text, proration text,
	price billing.price, aggregation text, unit text, events text, known numeric, before billing.amount, whole tstzrange,
	correction billing.price_correction, minimum billing.amount, maximum billing.amount, used_to timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT n, coalesce(l.timezone, t.timezone), i.number, coalesce(a.number, a.biz_key), i.currency, f.proration, p,
		m.aggregation, coalesce(m.unit, 'units'),
		format(CASE n.usage_events WHEN 1 THEN '%s event' ELSE '%s events' END, n.usage_events),
		n.quantity + coalesce(b.quantity, 0),
		b.amount - coalesce(billing.line_unused(n.tenant_id, n.adjusts_invoice_id, n.adjusts_line, u.used_to), b.amount - b.amount),
		CASE WHEN (n.kind = 'true_up' OR p.meter IS NULL) AND p.is_prorated IS NOT FALSE THEN coalesce((SELECT w.whole FROM billing.line_whole(
				i.tenant_id, coalesce(n.adjusts_invoice_id, i.invoice_id), coalesce(a.plan_id, i.plan_id), n.plan_id,
				tstzrange(n.period_start, n.period_end)) w),
			CASE WHEN u.used_to IS NOT NULL THEN tstzrange(n.period_start, n.period_end) END) END, c,
		CASE WHEN n.kind = 'true_up' THEN CASE WHEN n.price_code IS NULL THEN f.minimum ELSE p.minimum END END,
		CASE WHEN n.kind = 'true_up' THEN CASE WHEN n.price_code IS NULL THEN f.maximum ELSE p.maximum END END,
		u.used_to
	FROM billing.invoice i
	JOIN billing.invoice_item n ON n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id
	JOIN billing.tenant t ON t.tenant_id = i.tenant_id
	LEFT JOIN billing.calculation_log l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
	LEFT JOIN billing.invoice a ON a.tenant_id = n.tenant_id AND a.invoice_id = n.adjusts_invoice_id
	LEFT JOIN billing.plan f ON f.plan_id = coalesce(n.plan_id, a.plan_id, i.plan_id)
	LEFT JOIN billing.price p ON p.plan_id = f.plan_id AND p.code = n.price_code AND n.kind NOT IN ('manual', 'interim_credit')
	LEFT JOIN billing.meter m ON m.code = n.meter
	LEFT JOIN LATERAL billing.line_correction(n.tenant_id, n.adjusts_invoice_id, n.adjusts_line, n.invoice_id) c ON true
	LEFT JOIN LATERAL (
		SELECT min(r.used_to) AS used_to
		FROM billing.rerated_line r
		WHERE r.tenant_id = n.tenant_id AND r.adjusts_invoice_id = n.adjusts_invoice_id AND r.adjusts_line = n.adjusts_line
		  AND r.invoice_id = n.invoice_id
	) u ON true
	-- What was booked for the period before, as billing.invoice_adjustments and billing.invoice_true_ups counted it then.
	LEFT JOIN LATERAL (
		SELECT sum(r.quantity) AS quantity, sum(r.amount) AS amount
		FROM billing.invoice v
		JOIN billing.invoice_item r ON r.tenant_id = v.tenant_id AND r.invoice_id = v.invoice_id
		LEFT JOIN billing.invoice c ON c.tenant_id = r.tenant_id AND c.invoice_id = r.adjusts_invoice_id
		WHERE n.kind IN ('adjustment', 'true_up', 'interim') AND v.tenant_id = i.tenant_id AND v.subscription_id = i.subscription_id
		  AND v.invoice_id < i.invoice_id
		  AND (v.status <> 'void' OR billing.was_valid(v.tenant_id, v.invoice_id, i.invoice_id))
		  AND CASE n.kind WHEN 'adjustment' THEN r.kind IN ('fixed', 'usage', 'adjustment') ELSE r.kind = n.kind END
		  AND r.price_code IS NOT DISTINCT FROM n.price_code
		  AND r.period_start = n.period_start AND (r.period_end = n.period_end OR n.kind = 'interim')
		  AND coalesce(r.plan_id, c.plan_id, v.plan_id) = f.plan_id
		  -- Of a fixed price there may be several lines in a period.
		  AND (n.kind <> 'adjustment' OR n.meter IS NOT NULL OR c.status = 'void'
			OR (coalesce(r.adjusts_invoice_id, r.invoice_id), coalesce(r.adjusts_line, r.line)) = (n.adjusts_invoice_id, n.adjusts_line))
	) b ON true
	WHERE i.tenant_id = explained_items.tenant_id AND i.invoice_id = explained_items.invoice_id;
END;
COMMENT ON FUNCTION billing.explained_items(bigint, bigint)
	IS 'the lines of an invoice with the prices, meters and periods that they come from; events: how many, in words; known: the quantity that is priced, of an adjustment all that was known; before: what was booked for the same before an adjustment or true_up; whole: the full period that a prorated line is a part of; correction: of the price, after that was billed; minimum, maximum: of a true_up; used_to: of an adjustment, where the service of its line had ended, and what was credited for the time after is not in before';

CREATE FUNCTION billing.item_explanation(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (line integer, step integer, explanation text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	-- what, for when, how much
	SELECT (x.item).line, 0, format('%s%s%s%s: %s', coalesce((x.item).description, (x.item).price_code),
		CASE WHEN (x.item).price_code IS NOT NULL THEN format(' (price %s%s)', (x.item).price_code,
			(SELECT format(' of plan %s version %s', p.code, p.version) FROM billing.plan p WHERE p.plan_id = (x.item).plan_id
				AND NOT EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = (x.item).tenant_id AND v.invoice_id = (x.item).invoice_id
					AND v.plan_id = p.plan_id))) ELSE '' END,
		CASE WHEN (x.item).period_start IS NOT NULL THEN format(' from %s to %s', billing.local_text((x.item).period_start, x.timezone),
			billing.local_text((x.item).period_end, x.timezone)) ELSE '' END,
		CASE WHEN (x.item).kind = 'adjustment' THEN format(', correcting line %s of %s', (x.item).adjusts_line, x.adjusts_number)
			WHEN (x.item).kind = 'interim_credit' THEN format(', billed by line %s of %s', (x.item).adjusts_line, x.adjusts_number) ELSE '' END,
		(x.item).amount)
	FROM billing.explained_items(item_explanation.tenant_id, item_explanation.invoice_id) x
	UNION ALL
	-- which quantity
	SELECT (x.item).line, 1, CASE (x.item).kind
		WHEN 'usage' THEN format('%s %s: %s of %s of meter %s in that period (%s)', trim_scale((x.item).quantity),
			x.unit, x.aggregation, x.events, (x.item).meter, x.timezone)
		WHEN 'adjustment' THEN CASE WHEN (x.item).meter IS NULL THEN format('quantity %s, as billed before', trim_scale(x.known))
			WHEN (x.item).quantity = 0 THEN format('%s %s, as billed before: %s of %s of meter %s (%s)', trim_scale(x.known), x.unit,
				x.aggregation, x.events, (x.item).meter, x.timezone)
			ELSE format('%s %s, %s %s than billed before: %s of %s of meter %s as known when this was billed (%s)',
			trim_scale(x.known), x.unit, trim_scale(abs((x.item).quantity)), CASE WHEN (x.item).quantity < 0 THEN 'fewer' ELSE 'more' END,
			x.aggregation, x.events, (x.item).meter, x.timezone) END
		WHEN 'interim' THEN format('%s %s so far: %s of %s of meter %s (%s)', trim_scale(x.known), x.unit, x.aggregation, x.events,
			(x.item).meter, x.timezone)
		WHEN 'interim_credit' THEN 'taken off, since the usage of the whole period is on this invoice'
		WHEN 'fixed' THEN format('quantity %s: %s%s', trim_scale((x.item).quantity),
			CASE WHEN (x.price).quantity_source = 'one' THEN 'this price counts once' ELSE 'that of the subscription' END,
			CASE WHEN (x.item).quantity <> 1 AND (x.price).tariff::jsonb ->> 'model' = 'flat' THEN '; a flat price is the same for any' ELSE '' END)
		WHEN 'true_up' THEN CASE WHEN (x.item).amount > (x.item).amount - (x.item).amount AND x.minimum IS NOT NULL
			THEN format('lifts what this costs in that period to its minimum of %s',
				billing.prorated_bound(x.minimum, x.whole, tstzrange((x.item).period_start, (x.item).period_end), x.proration, x.timezone))
			WHEN x.maximum IS NOT NULL AND billing.minor_units(coalesce(x.before, (x.item).amount)) < 0 THEN format('lowers what this costs in that period to its maximum of %s',
				billing.prorated_bound(x.maximum, x.whole, tstzrange((x.item).period_start, (x.item).period_end), x.proration, x.timezone))
			ELSE format('%s were missing before, %s are with what came late', x.before, x.before + (x.item).amount) END
		ELSE format('stated as %s%s', trim_scale((x.item).quantity), CASE WHEN (x.item).unit_amount IS NOT NULL
			THEN format(' x %s', trim_scale((x.item).unit_amount)) ELSE format(' for %s', (x.item).amount) END) END
	FROM billing.explained_items(item_explanation.tenant_id, item_explanation.invoice_id) x
	UNION ALL
	-- which price
	SELECT (x.item).line, 2, CASE
		WHEN (x.correction).correction_id IS NOT NULL THEN format('at the price as it was corrected%s: %s',
			coalesce(' (' || (x.correction).reason || ')', ''), (x.correction).tariff)
		WHEN (x.price).strategy IS NOT NULL THEN format('priced by strategy %s', (x.price).strategy)
		ELSE format('each event is priced on its own, in the order of time: %s', (x.price).tariff) END
	FROM billing.explained_items(item_explanation.tenant_id, item_explanation.invoice_id) x
	WHERE ((x.price).strategy IS NOT NULL OR (x.price).is_per_event OR (x.correction).correction_id IS NOT NULL)
	  AND (x.item).kind <> 'true_up'
	UNION ALL
	-- which tiers
	SELECT (x.item).line, 10 + e.step, e.explanation
	FROM billing.explained_items(item_explanation.tenant_id, item_explanation.invoice_id) x
	CROSS JOIN LATERAL (SELECT coalesce((x.correction).tariff, (x.price).tariff) AS tariff,
		coalesce((x.correction).is_per_event, (x.price).is_per_event) AS is_per_event OFFSET 0) t
	CROSS JOIN LATERAL billing.charge_explanation(t.tariff, x.known, coalesce((x.item).usage_events, 0)) e
	WHERE t.tariff IS NOT NULL AND NOT t.is_per_event AND (x.item).kind <> 'true_up'
	UNION ALL
	-- which rounding
	SELECT (x.item).line, 1000, format('%s rounded once, half away from zero, to %s', trim_scale(c.exact), billing.amount(c.exact, x.currency))
	FROM billing.explained_items(item_explanation.tenant_id, item_explanation.invoice_id) x
	CROSS JOIN LATERAL (SELECT CASE WHEN (x.item).kind = 'manual' THEN (x.item).quantity * (x.item).unit_amount
		WHEN (x.correction).correction_id IS NOT NULL
			THEN CASE WHEN NOT (x.correction).is_per_event
				THEN billing.charge_exact((x.correction).tariff, x.known, coalesce((x.item).usage_events, 0)) END
		WHEN (x.price).tariff IS NOT NULL AND NOT (x.price).is_per_event AND (x.item).kind <> 'true_up'
			THEN billing.charge_exact((x.price).tariff, x.known, coalesce((x.item).usage_events, 0)) END AS exact) c
	WHERE c.exact <> billing.amount(c.exact, x.currency)::numeric
	UNION ALL
	-- which correction
	SELECT (x.item).line, 1002, format(CASE WHEN x.used_to IS NULL THEN '%s, less %s billed before'
		ELSE '%s, less %s billed before and not credited' END, x.before + (x.item).amount, x.before)
	FROM billing.explained_items(item_explanation.tenant_id, item_explanation.invoice_id) x
	WHERE (x.item).kind = 'adjustment' OR (x.item).kind = 'interim' AND x.before IS NOT NULL
	UNION ALL
	-- which proration
	SELECT (x.item).line, 1001, format('prorated by the %s: %s of %s from %s to %s (%s), %s', x.proration,
		CASE x.proration WHEN 'day' THEN format('%s of %s days', d.part, d.whole) ELSE format('%s of %s seconds', trim_scale(d.part_seconds), trim_scale(d.whole_seconds)) END,
		CASE WHEN (x.item).kind = 'true_up' THEN coalesce(x.minimum, x.maximum)
			ELSE billing.charge(coalesce((x.correction).tariff, (x.price).tariff), x.known) END,
		billing.local_text(lower(x.whole), x.timezone), billing.local_text(upper(x.whole), x.timezone), x.timezone,
		CASE WHEN (x.item).kind = 'true_up' THEN billing.prorated_bound(coalesce(x.minimum, x.maximum), x.whole,
			tstzrange((x.item).period_start, (x.item).period_end), x.proration, x.timezone)
			ELSE coalesce(x.before + (x.item).amount, (x.item).amount) END)
	FROM billing.explained_items(item_explanation.tenant_id, item_explanation.invoice_id) x
	CROSS JOIN LATERAL (SELECT
		(coalesce(x.used_to, (x.item).period_end) AT TIME ZONE x.timezone)::date - ((x.item).period_start AT TIME ZONE x.timezone)::date AS part,
		(upper(x.whole) AT TIME ZONE x.timezone)::date - (lower(x.whole) AT TIME ZONE x.timezone)::date AS whole,
		extract(epoch FROM coalesce(x.used_to, (x.item).period_end) - (x.item).period_start) AS part_seconds,
		extract(epoch FROM upper(x.whole) - lower(x.whole)) AS whole_seconds) d
	WHERE x.whole IS NOT NULL AND x.proration <> 'none' AND ((x.price).tariff IS NOT NULL OR (x.item).kind = 'true_up')
	ORDER BY 1, 2;
END;
COMMENT ON FUNCTION billing.item_explanation(bigint, bigint)
	IS 'why each line of an invoice costs what it does: which quantity, price, tiers, rounding and proration, in the order of line and step';

CREATE FUNCTION billing.invoice_explanation(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (line integer, explanation text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT e.line, e.explanation
	FROM (
		SELECT NULL::integer AS line, 0 AS step, 0 AS section, format('invoice %s of %s, %s%s', coalesce(i.number, i.biz_key),
			coalesce(i.billing_name, t.name), CASE WHEN i.issued_at IS NULL OR i.status = 'draft' THEN 'a draft'
			ELSE format('%s%s, issued %s, due %s (%s)', i.status,
				CASE WHEN i.status IN ('void', 'uncollectible') THEN coalesce(' (' || i.status_reason || ')', '') ELSE '' END,
				billing.local_text(i.issued_at, t.timezone), billing.local_text(i.due_at, t.timezone), t.timezone) END,
			CASE WHEN p.plan_id IS NOT NULL THEN format(', for subscription %s on plan %s version %s', i.subscription_id, p.code, p.version) ELSE '' END) AS explanation
		FROM billing.invoice i
		JOIN billing.tenant t ON t.tenant_id = i.tenant_id
		LEFT JOIN billing.plan p ON p.plan_id = i.plan_id
		WHERE i.tenant_id = invoice_explanation.tenant_id AND i.invoice_id = invoice_explanation.invoice_id
		UNION ALL
		SELECT n.line, n.step, 1, n.explanation
		FROM billing.item_explanation(invoice_explanation.tenant_id, invoice_explanation.invoice_id) n
		UNION ALL
		SELECT NULL, 1000 * s.step, 2, s.explanation
		FROM billing.invoice i
		CROSS JOIN LATERAL (
			SELECT string_agg(n.number, ', ' ORDER BY n.credit_note_id) AS numbers,
				sum(CASE n.invoice_id WHEN i.invoice_id THEN n.credited ELSE n.applied END) AS amount
			FROM billing.credit_note n
			WHERE n.tenant_id = i.tenant_id AND (n.invoice_id = i.invoice_id AND billing.minor_units(n.credited) <> 0
				OR n.to_invoice_id = i.invoice_id AND billing.minor_units(n.applied) <> 0)
		) c
		CROSS JOIN LATERAL (VALUES
			(1, format('subtotal, the sum of the rounded lines: %s', i.subtotal), true),
			(2, format('discount: %s', i.discount), billing.minor_units(i.discount) <> 0),
			(4, format('credit: what would make the total negative is kept as credit: %s', i.excess), billing.minor_units(i.excess) <> 0),
			(5, format('total: %s', i.total), true),
			(6, format('credited: %s%s', i.credited, CASE WHEN c.numbers IS NULL THEN ' from what credit notes had left for invoices'
				ELSE format(' by %s%s', c.numbers, CASE WHEN c.amount <> i.credited THEN ', the rest from what others had left for invoices' ELSE '' END) END),
				billing.minor_units(i.credited) <> 0),
			(7, format('from the wallet: %s', i.wallet_applied), billing.minor_units(i.wallet_applied) <> 0),
			(8, format('paid: %s', i.paid), billing.minor_units(i.paid) <> 0),
			(9, format('due: %s', CASE i.status WHEN 'void' THEN 'nothing, the invoice is void' ELSE i.amount_due::text END), true),
			(10, format('taken back beyond what was due: %s by %s', (SELECT sum(n.total - n.credited) FROM billing.credit_note n
				WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id), (SELECT string_agg(n.number, ', ' ORDER BY n.credit_note_id)
				FROM billing.credit_note n WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id AND n.total <> n.credited)),
				EXISTS (SELECT FROM billing.credit_note n WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id AND n.total <> n.credited))
		) s (step, explanation, applies)
		WHERE i.tenant_id = invoice_explanation.tenant_id AND i.invoice_id = invoice_explanation.invoice_id AND s.applies
		UNION ALL
		SELECT NULL, 1000 + r.step, 2, format('coupon %s%s: %s%s%s%s: %s', r.coupon, coalesce(' (' || c.name || ')', ''),
			CASE WHEN c.kind = 'percentage' THEN format('%s %%', trim_scale(c.value)) ELSE format('up to %s', r.amount) END,
			coalesce(' of prices ' || array_to_string(c.prices, ', '), ''), coalesce(' of plans ' || array_to_string(c.plans, ', '), ''),
			concat(', at most ' || c.max_discount::text, CASE WHEN c.kind = 'percentage' THEN ', rounded once' END), r.discount)
		FROM billing.coupon_redemption r
		JOIN billing.coupon c ON c.code = r.coupon
		WHERE r.tenant_id = invoice_explanation.tenant_id AND r.invoice_id = invoice_explanation.invoice_id
		UNION ALL
		SELECT NULL, 3000 + t.line_no, 2, format('tax%s: %s', CASE WHEN r.name IS NOT NULL THEN format(' %s (%s)', r.name, t.tax_rate) ELSE '' END,
			CASE WHEN t.note IS NOT NULL THEN format('none of %s: %s', t.base, t.note)
				ELSE format('%s %% of %s%s%s, rounded once: %s', trim_scale(t.percent), t.base,
					CASE WHEN t.lines IS NOT NULL THEN format(', lines %s', array_to_string(t.lines, ', ')) ELSE '' END,
					CASE WHEN t.is_inclusive THEN ', which they contain' ELSE '' END, t.amount) END)
		FROM billing.invoice_tax t
		LEFT JOIN billing.tax_rate r ON r.code = t.tax_rate
		WHERE t.tenant_id = invoice_explanation.tenant_id AND t.invoice_id = invoice_explanation.invoice_id
	) e
	ORDER BY e.section, e.line, e.step;
END;
COMMENT ON FUNCTION billing.invoice_explanation(bigint, bigint)
	IS 'what billing.explain_invoice shows, no row for an unknown invoice';

CREATE FUNCTION billing.explain_invoice(tenant_id bigint, invoice_id bigint, OUT line integer, OUT explanation text)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL SAFE ROWS 20
AS 'MODULE_PATHNAME', 'billing_explain_invoice';
COMMENT ON FUNCTION billing.explain_invoice(bigint, bigint)
	IS 'an invoice for a person: each line with its price, tiers, usage, proration and rounding, then (line NULL) subtotal, coupons, tax, total, what is paid and due; instants in the tenant''s time zone, amounts of tiers in major units before rounding; with the rights of the caller; raises YB001, 22004';

-- A credit note for a person.

CREATE FUNCTION billing.credit_note_explanation(tenant_id bigint, credit_note_id bigint)
RETURNS TABLE (line integer, explanation text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT e.line, e.explanation
	FROM (
		SELECT NULL::integer AS line, 0 AS step, 0 AS section, format('credit note %s of %s, issued %s (%s), for invoice %s of %s%s',
			n.number, coalesce(n.billing_name, t.name), billing.local_text(n.issued_at, t.timezone), t.timezone, i.number, i.total,
			coalesce(': ' || n.reason, '')) AS explanation
		FROM billing.credit_note n
		JOIN billing.tenant t ON t.tenant_id = n.tenant_id
		JOIN billing.invoice i ON i.tenant_id = n.tenant_id AND i.invoice_id = n.invoice_id
		WHERE n.tenant_id = credit_note_explanation.tenant_id AND n.credit_note_id = credit_note_explanation.credit_note_id
		UNION ALL
		SELECT c.line, s.step, 1, s.explanation
		FROM billing.credit_note_item c
		JOIN billing.tenant t ON t.tenant_id = c.tenant_id
		JOIN billing.credited_lines(credit_note_explanation.tenant_id, c.invoice_id) l ON l.line = c.invoice_line
		CROSS JOIN LATERAL (VALUES
			(0, format('%s (line %s)%s: %s of %s', coalesce(c.description, c.price_code), c.invoice_line,
				CASE WHEN c.period_start IS NOT NULL THEN format(' from %s to %s', billing.local_text(c.period_start, t.timezone),
					billing.local_text(c.period_end, t.timezone)) ELSE '' END, c.amount, l.amount), true),
			(1, format('%s of it had been taken back before', c.credited_before), billing.minor_units(c.credited_before) <> 0),
			(2, format('less its part of the discount of %s: %s', l.discount, c.discount), billing.minor_units(l.discount) <> 0),
			(3, format('with its part of the tax of %s: %s%s', l.tax, c.tax, CASE WHEN billing.minor_units(l.tax_included) <> 0
				THEN format(', of which %s is contained in it', c.tax_included) ELSE '' END), billing.minor_units(l.tax) <> 0)
		) s (step, explanation, applies)
		WHERE c.tenant_id = credit_note_explanation.tenant_id AND c.credit_note_id = credit_note_explanation.credit_note_id AND s.applies
		UNION ALL
		SELECT NULL, 1000 * s.step, 2, s.explanation
		FROM billing.credit_note n
		JOIN billing.invoice i ON i.tenant_id = n.tenant_id AND i.invoice_id = n.invoice_id
		LEFT JOIN billing.invoice o ON o.tenant_id = n.tenant_id AND o.invoice_id = n.to_invoice_id
		CROSS JOIN LATERAL (VALUES
			(1, format('subtotal, the sum of its items: %s', n.subtotal), true),
			(2, format('discount: %s', n.discount), billing.minor_units(n.discount) <> 0),
			(4, format('total: %s', n.total), true),
			(5, format('lowers what is due of invoice %s: %s', i.number, n.credited), billing.minor_units(n.credited) <> 0),
			(6, format('pays invoice %s: %s', o.number, n.applied), billing.minor_units(n.applied) <> 0),
			(7, format('to the %s: %s', CASE n.destination WHEN 'balance' THEN 'balance that invoices draw first' ELSE 'wallet' END, n.granted),
				billing.minor_units(n.granted) <> 0),
			(8, format('of that, lines that lower invoice %s had paid: %s', i.number, n.offset_by_lines), billing.minor_units(n.offset_by_lines) <> 0),
			(9, format('promotional credit, to the wallet again: %s', n.promotional), billing.minor_units(n.promotional) <> 0),
			(10, format('goes back to where it was paid from: %s', n.refunded), billing.minor_units(n.refunded) <> 0)
		) s (step, explanation, applies)
		WHERE n.tenant_id = credit_note_explanation.tenant_id AND n.credit_note_id = credit_note_explanation.credit_note_id AND s.applies
		UNION ALL
		SELECT NULL, 3000 + x.line_no, 2, format('tax%s: %s', CASE WHEN r.name IS NOT NULL THEN format(' %s (%s)', r.name, x.tax_rate) ELSE '' END,
			CASE WHEN x.note IS NOT NULL THEN format('none of %s: %s', x.base, x.note)
				ELSE format('%s %% of %s%s: %s, of %s of the invoice', trim_scale(x.percent), x.base,
					CASE WHEN x.is_inclusive THEN ', which they contain' ELSE '' END, x.amount, i.amount) END)
		FROM billing.credit_note_tax x
		JOIN billing.invoice_tax i ON i.tenant_id = x.tenant_id AND i.invoice_id = x.invoice_id AND i.line_no = x.invoice_line_no
		LEFT JOIN billing.tax_rate r ON r.code = x.tax_rate
		WHERE x.tenant_id = credit_note_explanation.tenant_id AND x.credit_note_id = credit_note_explanation.credit_note_id
	) e
	ORDER BY e.section, e.line, e.step;
END;
COMMENT ON FUNCTION billing.credit_note_explanation(bigint, bigint)
	IS 'what billing.explain_credit_note shows, no row for an unknown one';

CREATE FUNCTION billing.explain_credit_note(tenant_id bigint, credit_note_id bigint, OUT line integer, OUT explanation text)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'billing_explain_credit_note';
COMMENT ON FUNCTION billing.explain_credit_note(bigint, bigint)
	IS 'a credit note for a person: which lines it takes back how much of, with their discount and tax, and (line NULL) its taxes, its total and where that went; instants in the tenant''s time zone; with the rights of the caller; raises YB001, 22004';
