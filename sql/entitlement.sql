
-- entitlement: what a tenant may use now -----------------------------------------------

-- What subscriptions and overrides give is kept as segments of time, from starts_at up
-- to ends_at, as far as they are known: so that an end is reached by the clock alone,
-- whether or not a bill run has come to it.  Derived: billing.refresh_entitlements()
-- makes them anew, and every flow that changes a subscription does.
CREATE TABLE billing.entitlement (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	feature			text COLLATE "C" NOT NULL,
	starts_at		timestamptz NOT NULL,
	ends_at			timestamptz NOT NULL DEFAULT 'infinity',
	PRIMARY KEY (tenant_id, feature, starts_at),
	CONSTRAINT entitlement_is_forward CHECK (ends_at > starts_at)
);
COMMENT ON TABLE billing.entitlement
	IS 'the features that a tenant has, and when: what its subscriptions and overrides give, in segments of time; read by has_feature, which also asks whether the tenant is frozen';
COMMENT ON COLUMN billing.entitlement.tenant_id IS 'whose';
COMMENT ON COLUMN billing.entitlement.feature IS 'a key of plan.features, or of an override';
COMMENT ON COLUMN billing.entitlement.starts_at IS 'from then on it has it';
COMMENT ON COLUMN billing.entitlement.ends_at IS 'from then on it has not; infinity: as far as is known, it stays';
SELECT pg_catalog.pg_extension_config_dump('billing.entitlement', '');

ALTER TABLE billing.entitlement ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.entitlement
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE TABLE billing.entitlement_limit (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	meter			text COLLATE "C" NOT NULL,
	per				text COLLATE "C" NOT NULL
					CONSTRAINT entitlement_limit_per_is_known CHECK (per IN ('period', 'hour', 'day', 'week', 'month', 'year', 'total')),
	starts_at		timestamptz NOT NULL,
	ends_at			timestamptz NOT NULL DEFAULT 'infinity',
	quantity		numeric CONSTRAINT entitlement_limit_is_not_negative CHECK (quantity >= 0),
	kind			text COLLATE "C" NOT NULL
					CONSTRAINT entitlement_limit_kind_is_known CHECK (kind IN ('hard', 'soft', 'overage')),
	subscription_id	bigint,
	PRIMARY KEY (tenant_id, meter, per, starts_at),
	CONSTRAINT entitlement_limit_is_forward CHECK (ends_at > starts_at)
);
COMMENT ON TABLE billing.entitlement_limit
	IS 'how much of a meter, or of anything else that plan.limits names, a tenant may use in a time, and when that holds: the sum of what its subscriptions give, or what an override says, in segments of time; read by feature_limit, check_limit, usage_status and enforce_limit';
COMMENT ON COLUMN billing.entitlement_limit.tenant_id IS 'whose';
COMMENT ON COLUMN billing.entitlement_limit.meter IS 'of what: a meter, or a name of your own';
COMMENT ON COLUMN billing.entitlement_limit.per IS 'in what time it is counted: period (of the subscription), hour, day, week, month, year (of the tenant''s calendar) or total';
COMMENT ON COLUMN billing.entitlement_limit.starts_at IS 'from then on it holds';
COMMENT ON COLUMN billing.entitlement_limit.ends_at IS 'from then on it does not';
COMMENT ON COLUMN billing.entitlement_limit.quantity IS 'how much; NULL: as much as there is';
COMMENT ON COLUMN billing.entitlement_limit.kind IS 'what happens beyond it: hard, soft or overage';
COMMENT ON COLUMN billing.entitlement_limit.subscription_id IS 'whose period counts: the first that gives it; NULL: only an override does';
SELECT pg_catalog.pg_extension_config_dump('billing.entitlement_limit', '');

ALTER TABLE billing.entitlement_limit ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.entitlement_limit
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE TABLE billing.entitlement_override (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	feature			text COLLATE "C" NOT NULL
					CONSTRAINT entitlement_override_feature_is_name CHECK (octet_length(feature) BETWEEN 1 AND 63),
	per				text COLLATE "C" NOT NULL DEFAULT ''
					CONSTRAINT entitlement_override_per_is_known
					CHECK (per IN ('', 'period', 'hour', 'day', 'week', 'month', 'year', 'total')),
	is_granted		boolean,
	quantity		numeric CONSTRAINT entitlement_override_is_not_negative CHECK (quantity >= 0),
	kind			text COLLATE "C"
					CONSTRAINT entitlement_override_kind_is_known CHECK (kind IN ('hard', 'soft', 'overage')),
	starts_at		timestamptz NOT NULL DEFAULT billing.now(),
	expires_at		timestamptz NOT NULL DEFAULT 'infinity',
	reason			text,
	PRIMARY KEY (tenant_id, feature, per),
	CONSTRAINT entitlement_override_is_one_thing CHECK ((per = '') = (is_granted IS NOT NULL)
		AND (per <> '' OR (quantity IS NULL AND kind IS NULL))),
	CONSTRAINT entitlement_override_is_forward CHECK (expires_at > starts_at),
	CONSTRAINT entitlement_override_has_no_card CHECK (billing.has_no_card(reason))
);
COMMENT ON TABLE billing.entitlement_override
	IS 'what one tenant has whatever its plans say, until it expires: a feature on or off (per is empty), or a limit; written by override_entitlement and remove_override';
COMMENT ON COLUMN billing.entitlement_override.tenant_id IS 'whose';
COMMENT ON COLUMN billing.entitlement_override.feature IS 'of which feature, or of the limit of which meter';
COMMENT ON COLUMN billing.entitlement_override.per IS 'in what time a limit is counted; empty: this is of the feature itself';
COMMENT ON COLUMN billing.entitlement_override.is_granted IS 'whether the tenant has the feature; NULL: this is a limit';
COMMENT ON COLUMN billing.entitlement_override.quantity IS 'the limit; NULL: none';
COMMENT ON COLUMN billing.entitlement_override.kind IS 'what happens beyond it; NULL: what the plans say, else hard';
COMMENT ON COLUMN billing.entitlement_override.starts_at IS 'from then on it holds';
COMMENT ON COLUMN billing.entitlement_override.expires_at IS 'from then on the plans count again';
COMMENT ON COLUMN billing.entitlement_override.reason IS 'why';
SELECT pg_catalog.pg_extension_config_dump('billing.entitlement_override', '');

ALTER TABLE billing.entitlement_override ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.entitlement_override
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.after_grace(at timestamptz, timezone text, grace_days integer)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (at AT TIME ZONE timezone + make_interval(days => grace_days)) AT TIME ZONE timezone;
COMMENT ON FUNCTION billing.after_grace(timestamptz, text, integer)
	IS 'the instant some days after another, on a wall clock; inlined';

-- An end that is certain counts before the bill run has come to it, as does a start.
CREATE FUNCTION billing.entitled_during(subscription billing.subscription, timezone text, grace_days integer)
RETURNS tstzrange
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
	WHEN subscription.status IN ('paused', 'suspended') OR subscription.paused_at IS NOT NULL
		OR (subscription.status = 'pending' AND subscription.activate = 'on_payment')
		OR (subscription.ended_at IS NOT NULL AND subscription.billed_to IS NULL) THEN 'empty'::tstzrange
	ELSE tstzrange(subscription.started_at, greatest(subscription.started_at, CASE subscription.status
		WHEN 'canceled' THEN subscription.ended_at
		WHEN 'expired' THEN billing.after_grace(subscription.ended_at, timezone, grace_days)
		ELSE least(subscription.cancel_at, 'infinity', CASE
			WHEN NOT subscription.auto_renew AND subscription.status NOT IN ('pending', 'trialing')
			THEN billing.after_grace(subscription.period_end, timezone, grace_days) END) END)) END;
COMMENT ON FUNCTION billing.entitled_during(billing.subscription, text, integer)
	IS 'when a subscription gives its tenant what its plan has: from its start up to its cancellation, or up to the end of the grace (days of the tenant''s wall clock) after a period that it does not renew; never while it is paused, suspended or waits for its first payment, nor if it ended so';

CREATE FUNCTION billing.entitlement_source(tenant_ids bigint[])
RETURNS TABLE (tenant_id bigint, subscription_id bigint, quantity integer, features jsonb, limits jsonb, during tstzrange)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT s.tenant_id, s.subscription_id, s.quantity, p.features, p.limits, d.during
	FROM (SELECT DISTINCT unnest(entitlement_source.tenant_ids)) a (tenant_id)
	JOIN billing.tenant t ON t.tenant_id = a.tenant_id
	JOIN billing.subscription s ON s.tenant_id = t.tenant_id
	JOIN billing.plan p ON p.plan_id = s.plan_id
	CROSS JOIN LATERAL (
		SELECT billing.entitled_during(s, t.timezone,
			billing.effective_setting('grace_days', t.settings, p.settings)::integer) AS during
		OFFSET 0
	) d
	WHERE (p.features <> '{}' OR p.limits <> '[]') AND upper(d.during) > billing.now();
END;
COMMENT ON FUNCTION billing.entitlement_source(bigint[])
	IS 'the subscriptions of tenants that give them something now or later, what, and when';

CREATE FUNCTION billing.entitlement_wanted(tenant_ids bigint[])
RETURNS TABLE (tenant_id bigint, feature text, starts_at timestamptz, ends_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH planned AS (
		SELECT s.tenant_id, f.key COLLATE "C" AS feature, range_agg(s.during) AS during
		FROM billing.entitlement_source(entitlement_wanted.tenant_ids) s
		CROSS JOIN LATERAL jsonb_each(s.features) f
		WHERE f.value NOT IN ('false', 'null', '0')
		GROUP BY s.tenant_id, f.key COLLATE "C"
	), override AS (
		SELECT o.tenant_id, o.feature, o.is_granted, tstzmultirange(tstzrange(o.starts_at, o.expires_at)) AS during
		FROM billing.entitlement_override o
		WHERE o.tenant_id = ANY (entitlement_wanted.tenant_ids) AND o.per = '' AND o.expires_at > billing.now()
	)
	SELECT w.tenant_id, w.feature, lower(r.during), upper(r.during)
	FROM (
		SELECT coalesce(p.tenant_id, o.tenant_id) AS tenant_id, coalesce(p.feature, o.feature) AS feature,
			CASE WHEN o.is_granted THEN coalesce(p.during, '{}') + o.during
				WHEN NOT o.is_granted THEN coalesce(p.during, '{}') - o.during
				ELSE p.during END AS during
		FROM planned p
		FULL JOIN override o ON o.tenant_id = p.tenant_id AND o.feature = p.feature
	) w
	CROSS JOIN LATERAL unnest(w.during) r (during)
	WHERE upper(r.during) > billing.now();
END;
COMMENT ON FUNCTION billing.entitlement_wanted(bigint[])
	IS 'what billing.entitlement holds of tenants after a refresh: a feature that any subscription gives, unless an override says otherwise, now and later';

-- Limits of several subscriptions add up while all of them run, so each start and end
-- of one begins a segment.
CREATE FUNCTION billing.limit_wanted(tenant_ids bigint[])
RETURNS TABLE (tenant_id bigint, meter text, per text, starts_at timestamptz, ends_at timestamptz, quantity numeric, kind text,
	subscription_id bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH source AS MATERIALIZED (
		SELECT s.tenant_id, l.meter COLLATE "C" AS meter, l.per COLLATE "C" AS per, lower(s.during) AS low, upper(s.during) AS high,
			l.quantity, l.kind, s.subscription_id, false AS is_override
		FROM billing.entitlement_source(limit_wanted.tenant_ids) s
		CROSS JOIN LATERAL (
			SELECT l.meter, l.per, l.quantity * CASE WHEN l.is_per_unit THEN s.quantity ELSE 1 END AS quantity, l.kind
			FROM billing.plan_limits(s.limits) l
			UNION ALL
			SELECT f.key, 'total', CASE WHEN f.value >= '0' THEN f.value::numeric END, 'hard'
			FROM jsonb_each(s.features) f
			WHERE jsonb_typeof(f.value) = 'number') l
		UNION ALL
		SELECT o.tenant_id, o.feature, o.per, o.starts_at, o.expires_at, o.quantity, o.kind, NULL, true
		FROM billing.entitlement_override o
		WHERE o.tenant_id = ANY (limit_wanted.tenant_ids) AND o.per <> '' AND o.expires_at > billing.now()
	), segment AS (
		SELECT b.tenant_id, b.meter, b.per, b.at AS low,
			lead(b.at) OVER (PARTITION BY b.tenant_id, b.meter, b.per ORDER BY b.at) AS high
		FROM (
			SELECT s.tenant_id, s.meter, s.per, s.low AS at FROM source s
			UNION
			SELECT s.tenant_id, s.meter, s.per, s.high FROM source s
		) b
	)
	SELECT g.tenant_id, g.meter, g.per, g.low, g.high,
		CASE WHEN bool_or(s.is_override) THEN max(s.quantity) FILTER (WHERE s.is_override)
			WHEN NOT bool_or(s.quantity IS NULL) THEN sum(s.quantity) END,
		coalesce(max(s.kind) FILTER (WHERE s.is_override), CASE WHEN bool_or(s.kind = 'overage') THEN 'overage'
			WHEN bool_or(s.kind = 'soft') THEN 'soft' ELSE 'hard' END),
		min(s.subscription_id)
	FROM segment g
	JOIN source s ON s.tenant_id = g.tenant_id AND s.meter = g.meter AND s.per = g.per AND s.low <= g.low AND s.high >= g.high
	WHERE g.high > billing.now()
	GROUP BY g.tenant_id, g.meter, g.per, g.low, g.high;
END;
COMMENT ON FUNCTION billing.limit_wanted(bigint[])
	IS 'what billing.entitlement_limit holds of tenants after a refresh: the sum of what subscriptions give, none if one of them gives as much as there is, and the most lenient of their kinds (overage before soft before hard), unless an override says otherwise, now and later';

CREATE FUNCTION billing.refresh_entitlements(tenant_id bigint)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_refresh_entitlements';
COMMENT ON FUNCTION billing.refresh_entitlements(bigint)
	IS 'makes a tenant''s entitlements anew from its subscriptions and overrides; returns how many segments were added, changed or removed: 0 if all was as it should be; flows do it by themselves, so it is for after rows were loaded, or setting grace_days was changed; raises 22004, YB001, YB015';

CREATE FUNCTION billing.has_feature(tenant_id bigint, feature text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_has_feature';
COMMENT ON FUNCTION billing.has_feature(bigint, text)
	IS 'whether a tenant has a feature at billing.now(): any of its subscriptions gives it, or an override does, and it is neither frozen nor closed; false for a feature that nobody heard of; costs little more than a look-up by primary key; sees what the caller''s row security lets it; raises 22004, YB001';

CREATE FUNCTION billing.feature_limit(tenant_id bigint, feature text, per text DEFAULT NULL)
RETURNS numeric
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_feature_limit';
COMMENT ON FUNCTION billing.feature_limit(bigint, text, text)
	IS 'how much of a meter, or of anything that plan.limits or a number of plan.features names, a tenant may use at billing.now(): the least of its limits, or that per period, hour, day, week, month, year or in total; NULL: as much as there is; 0 if it is frozen or closed, or no subscription gives it anything; raises 22004, 22023, YB001';

CREATE FUNCTION billing.is_served(tenant_id bigint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT EXISTS (
		SELECT FROM billing.subscription s
		JOIN billing.tenant t ON t.tenant_id = s.tenant_id
		JOIN billing.plan p ON p.plan_id = s.plan_id
		WHERE s.tenant_id = is_served.tenant_id AND t.status = 'active'
		  AND billing.entitled_during(s, t.timezone, billing.effective_setting('grace_days', t.settings, p.settings)::integer)
			@> billing.now());
END;
COMMENT ON FUNCTION billing.is_served(bigint)
	IS 'whether a subscription gives a tenant what its plan has at billing.now(), and the tenant is neither frozen nor closed';

CREATE FUNCTION billing.override_entitlement(tenant_id bigint, feature text, value jsonb, expires_at timestamptz DEFAULT NULL,
	reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.entitlement_override
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_override_entitlement';
COMMENT ON FUNCTION billing.override_entitlement(bigint, text, jsonb, timestamptz, text, text)
	IS 'gives a tenant a feature (value true), takes it (false), or sets a limit of it (a number, or an object {limit, per, kind} as in plan.limits; limit null: none), whatever its plans say, from now until expires_at (NULL: until removed); takes the place of an earlier override of the same; a number is per what the tenant''s one limit of it is, else period; returns the override; raises 22004, 22023 for another value, an expiry that is not to come, or a limit that there are several of, YB001, YB006, YB015';

CREATE FUNCTION billing.remove_override(tenant_id bigint, feature text, request_id text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_remove_override';
COMMENT ON FUNCTION billing.remove_override(bigint, text, text)
	IS 'takes back what override_entitlement said of a feature or its limits; returns how many overrides there were; raises 22004, YB001, YB006, YB015';

CREATE FUNCTION billing.freeze_tenant(tenant_id bigint, reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.tenant
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_freeze_tenant';
COMMENT ON FUNCTION billing.freeze_tenant(bigint, text, text)
	IS 'freezes a tenant from now on and returns its row: has_feature is false, record_usage answers YB010 to usage at or after frozen_at, and nobody subscribes it; its rows stay, and its subscriptions are billed on; freezing a frozen tenant changes nothing, unless it is frozen because it did not pay (is_unpaid): then no payment thaws it any more; raises YB004 if it is closed, YB001, YB006, YB015, 22004';

CREATE FUNCTION billing.unfreeze_tenant(tenant_id bigint, reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.tenant
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_unfreeze_tenant';
COMMENT ON FUNCTION billing.unfreeze_tenant(bigint, text, text)
	IS 'lets a frozen tenant use again what its subscriptions give, and returns its row; one that is active is returned as it is; a suspended subscription stays so until it is paid, and the tenant is not frozen again for it; raises YB004 if it is closed, YB001, YB006, YB015, 22004';

CREATE FUNCTION billing.limit_window(per text, timezone text, subscription billing.subscription, cycle interval, at timestamptz)
RETURNS tstzrange
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
	WHEN per = 'total' THEN tstzrange('0001-01-01Z', at + interval '24 hours 1 microsecond')
	WHEN per = 'hour' THEN tstzrange(date_trunc('hour', at, timezone), date_trunc('hour', at, timezone) + interval '1 hour')
	WHEN per = 'period' AND subscription.period_start <= at AND coalesce(subscription.period_end > at, true)
	THEN tstzrange(subscription.period_start, coalesce(subscription.period_end, at + interval '24 hours 1 microsecond'))
	WHEN per = 'period' AND cycle IS NOT NULL
	THEN billing.period_at(subscription.anchor, cycle, at, subscription.timezone)
	WHEN per = 'period' AND subscription.started_at IS NOT NULL
	THEN tstzrange(subscription.started_at, greatest(subscription.started_at, at + interval '24 hours 1 microsecond'))
	ELSE tstzrange(date_trunc(replace(per, 'period', 'month'), at AT TIME ZONE timezone) AT TIME ZONE timezone,
		(date_trunc(replace(per, 'period', 'month'), at AT TIME ZONE timezone) + ('1 ' || replace(per, 'period', 'month'))::interval)
			AT TIME ZONE timezone) END;
COMMENT ON FUNCTION billing.limit_window(text, text, billing.subscription, interval, timestamptz)
	IS 'the time that holds at, in which a limit is counted: of the tenant''s calendar, or the period of the subscription that gives it (the calendar month, if none does), reached by the clock also where the bill run has not come to it; what never begins anew ends after the last usage that can be recorded';

-- A step that a change began goes on as part of the one in which the change was.
CREATE FUNCTION billing.spend_step(subscription billing.subscription, step_cycle interval, period tstzrange, at timestamptz)
RETURNS tstzrange
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
	WHEN step_cycle IS NULL THEN NULL
	WHEN subscription.billed_to IS DISTINCT FROM subscription.changed_at
		AND greatest(subscription.period_start, subscription.billed_to) <= at AND least(subscription.period_end, subscription.due_at) > at
	THEN tstzrange(greatest(subscription.period_start, subscription.billed_to), least(subscription.period_end, subscription.due_at))
	ELSE billing.period_at(subscription.anchor, step_cycle, at, subscription.timezone) * period END;
COMMENT ON FUNCTION billing.spend_step(billing.subscription, interval, tstzrange, timestamptz)
	IS 'the step (the period of prices whose cycle is step_cycle) of a subscription that holds at, in its period that does; NULL: there are no steps';

-- Each plan version prices what was used while it was in force, as the parts of a period that a
-- change cut are billed: so it does not matter which of them, or how much of one, is in an invoice yet.
CREATE FUNCTION billing.spend_lines(tenant_id bigint, at timestamptz, currency text)
RETURNS TABLE (subscription_id bigint, plan_id bigint, price_code text, meter text, quantity numeric, amount billing.amount,
	period_start timestamptz, period_end timestamptz)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT s.subscription_id, g.plan_id, l.price_code, l.meter, l.quantity, l.amount, l.period_start, l.period_end
	FROM billing.subscription s
	JOIN billing.tenant t ON t.tenant_id = s.tenant_id
	JOIN billing.plan p ON p.plan_id = s.plan_id
	CROSS JOIN LATERAL (
		SELECT billing.usage_streams(s.tenant_id, s.subscription_id) AS streams,
			billing.limit_window('period', t.timezone, s, p.cycle, spend_lines.at) AS period
		OFFSET 0
	) w
	CROSS JOIN LATERAL (
		SELECT v.plan_id, o.cycle, r.during, r.during * billing.spend_step(s, billing.step_cycle(o.plan_id, o.cycle), w.period,
			spend_lines.at) AS step
		FROM (
			SELECT s.plan_id, tstzrange(s.changed_at, NULL) AS during
			UNION ALL
			SELECT d.plan_id, tstzrange(lag(d.changed_at) OVER (ORDER BY d.part_no), d.changed_at)
			FROM billing.due_part d
			WHERE d.tenant_id = s.tenant_id AND d.subscription_id = s.subscription_id AND d.kind = 'ended'
		) v
		JOIN billing.plan o ON o.plan_id = v.plan_id
		CROSS JOIN LATERAL unnest(billing.in_force(s) * tstzmultirange(v.during * w.period * tstzrange(s.trial_end, NULL))) r (during)
		OFFSET 0
	) g
	CROSS JOIN LATERAL billing.invoice_lines(s.tenant_id, s.subscription_id, g.plan_id, g.cycle, s.currency, 1, 'none', 'UTC',
		w.streams, g.during, NULL, NULL, NULL, nullif(g.step, 'empty'), NULL, NULL, NULL, true) l
	WHERE s.tenant_id = spend_lines.tenant_id AND s.currency = spend_lines.currency AND s.ended_at IS NULL
	  AND l.kind = 'usage';
END;
COMMENT ON FUNCTION billing.spend_lines(bigint, timestamptz, text)
	IS 'what billing.spend() sums up: the lines of usage that the bill run would make for the periods of a tenant''s live subscriptions in a currency that hold at, one for each price and part of a period in which one plan version was in force, with all that was recorded by this moment; inlined';

CREATE FUNCTION billing.spend(tenant_id bigint, at timestamptz DEFAULT NULL, currency text DEFAULT NULL)
RETURNS billing.amount
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_spend';
COMMENT ON FUNCTION billing.spend(bigint, timestamptz, text)
	IS 'what the usage of a tenant''s live subscriptions costs in those of their periods that hold at (NULL: now), by what is recorded by this moment and priced as the bill run does it, whether or not a part of it was billed before the period ends; before true-ups, discounts and tax, without fixed prices, adjustments of other periods, and what is free in a trial; of the subscriptions in one currency (NULL: the tenant''s); what setting spend_limit is compared with; sees what the caller''s row security lets it; raises 22004, 22023 unknown currency, YB001';

CREATE VIEW billing.usage_status WITH (security_invoker) AS
	SELECT l.tenant_id, l.subscription_id, l.meter, m.aggregation, m.unit, l.per, lower(w.during) AS period_start,
		upper(w.during) AS period_end, u.used, l.kind, l.quantity AS limit_quantity,
		CASE WHEN l.quantity IS NOT NULL THEN greatest(l.quantity - coalesce(u.used, 0), 0) END AS remaining,
		CASE WHEN l.per <> 'total' AND NOT (l.per = 'period' AND s.subscription_id IS NOT NULL AND p.cycle IS NULL AND s.period_end IS NULL)
			THEN upper(w.during) END AS resets_at
	FROM billing.entitlement_limit l
	JOIN billing.tenant t ON t.tenant_id = l.tenant_id
	JOIN billing.meter m ON m.code = l.meter
	LEFT JOIN billing.subscription s ON s.tenant_id = l.tenant_id AND s.subscription_id = l.subscription_id
	LEFT JOIN billing.plan p ON p.plan_id = s.plan_id
	CROSS JOIN LATERAL (SELECT billing.limit_window(l.per, t.timezone, s, p.cycle, billing.now()) AS during OFFSET 0) w
	CROSS JOIN LATERAL (SELECT billing.usage(l.tenant_id, l.meter, w.during) AS used OFFSET 0) u
	WHERE l.starts_at <= billing.now() AND l.ends_at > billing.now()
	UNION ALL
	SELECT s.tenant_id, s.subscription_id, p.meter, m.aggregation, m.unit, 'period', w.period_start, w.period_end,
		billing.usage(s.tenant_id, p.meter, tstzrange(w.period_start, w.period_end), NULL, s.subscription_id), NULL, NULL, NULL,
		u.period_end
	FROM billing.subscription s
	JOIN billing.plan n ON n.plan_id = s.plan_id
	CROSS JOIN LATERAL (
		SELECT p.meter, bool_or(p.cycle IS NOT NULL AND p.cycle IS DISTINCT FROM n.cycle) AS is_step
		FROM billing.price p
		WHERE p.plan_id = s.plan_id AND p.meter IS NOT NULL
		GROUP BY p.meter) p
	JOIN billing.meter m ON m.code = p.meter
	CROSS JOIN LATERAL (
		SELECT CASE WHEN p.is_step THEN greatest(s.period_start, s.billed_to) ELSE s.period_start END AS period_start,
			CASE WHEN p.is_step THEN least(s.period_end, s.due_at) ELSE s.period_end END AS period_end) u
	CROSS JOIN LATERAL (
		SELECT u.period_start, coalesce(u.period_end, greatest(u.period_start, billing.now()) + interval '24 hours') AS period_end) w
	WHERE s.ended_at IS NULL AND w.period_start < w.period_end
	  AND NOT EXISTS (SELECT FROM billing.entitlement_limit l
		WHERE l.tenant_id = s.tenant_id AND l.meter = p.meter AND l.starts_at <= billing.now() AND l.ends_at > billing.now())
	UNION ALL
	SELECT t.tenant_id, NULL, NULL, NULL, g.currency, 'period', lower(w.during), upper(w.during), u.spent::numeric, 'hard',
		g.amount::numeric, greatest(g.amount - u.spent, g.amount - g.amount)::numeric, upper(w.during)
	FROM billing.tenant t
	CROSS JOIN LATERAL (
		SELECT n.amount, billing.currency(n.amount) AS currency
		FROM (SELECT nullif(t.settings ->> 'spend_limit', 'none')::billing.amount AS amount) n
		OFFSET 0
	) g
	CROSS JOIN LATERAL (SELECT billing.spend(t.tenant_id, NULL, g.currency) AS spent OFFSET 0) u
	-- What is the first to begin anew.
	LEFT JOIN LATERAL (
		SELECT coalesce(billing.spend_step(s, billing.step_cycle(p.plan_id, p.cycle), w.period, billing.now()), w.period) AS during
		FROM billing.subscription s
		JOIN billing.plan p ON p.plan_id = s.plan_id
		CROSS JOIN LATERAL (SELECT billing.limit_window('period', t.timezone, s, p.cycle, billing.now()) AS period OFFSET 0) w
		WHERE s.tenant_id = t.tenant_id AND s.currency = g.currency AND s.ended_at IS NULL
		  AND (p.cycle IS NOT NULL OR s.period_end IS NOT NULL) AND billing.in_force(s) && w.period
		ORDER BY upper(w.period), s.subscription_id
		LIMIT 1
	) w ON true
	WHERE coalesce(t.settings ->> 'spend_limit', 'none') <> 'none';
COMMENT ON VIEW billing.usage_status
	IS 'what tenants have used: a row for each limit of a meter (used by the whole tenant, limit_quantity, remaining, kind, resets_at), one for each live subscription and meter that its plan prices where the tenant has no limit of it, in its current period (that of the price''s own cycle, if that is shorter), and one without a meter for a tenant with setting spend_limit, in the unit of its currency, in the first period that ends';
COMMENT ON COLUMN billing.usage_status.subscription_id IS 'whose period it is, NULL: no subscription gives the limit; of a row without a limit, whose usage';
COMMENT ON COLUMN billing.usage_status.meter IS 'of what; NULL: of money, by setting spend_limit';
COMMENT ON COLUMN billing.usage_status.per IS 'in what time it is counted: period, hour, day, week, month, year or total';
COMMENT ON COLUMN billing.usage_status.period_start IS 'where the time that holds this moment starts';
COMMENT ON COLUMN billing.usage_status.period_end IS 'where it ends, exclusive';
COMMENT ON COLUMN billing.usage_status.used IS 'in that time, so far; of a limit by the whole tenant';
COMMENT ON COLUMN billing.usage_status.kind IS 'hard, soft or overage; NULL: there is no limit';
COMMENT ON COLUMN billing.usage_status.limit_quantity IS 'NULL: as much as there is';
COMMENT ON COLUMN billing.usage_status.remaining IS 'limit less used, never negative; NULL: as much as there is';
COMMENT ON COLUMN billing.usage_status.resets_at IS 'when counting begins anew; NULL: never';

CREATE FUNCTION billing.check_limit(tenant_id bigint, meter text, quantity numeric DEFAULT 1,
	OUT is_allowed boolean, OUT reason text, OUT kind text, OUT per text, OUT used numeric, OUT limit_quantity numeric,
	OUT remaining numeric, OUT resets_at timestamptz)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_check_limit';
COMMENT ON FUNCTION billing.check_limit(bigint, text, numeric)
	IS 'whether a tenant may use quantity more of a meter at billing.now(), by usage recorded up to this moment: false beyond a hard limit, true beyond a soft one or one with overage; reason: NULL within all limits, else hard_limit, soft_limit, overage_limit, frozen, closed or no_subscription; the others describe the limit that decides, the one that is passed or has the least left; of what is no meter, quantity is all that there would be; takes nothing and holds nothing: two callers may both be let through; raises 22004, 22023 for a quantity that is negative or not finite, YB001';

CREATE FUNCTION billing.enforce_limit()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_enforce_limit';
COMMENT ON FUNCTION billing.enforce_limit()
	IS 'trigger AFTER INSERT OR UPDATE FOR EACH ROW on a table of your own: no tenant has more rows in it than its hard limit says; arguments: what is limited, as plan.limits names it, and the column with the tenant''s id (tenant_id unless given; smallint, integer or bigint; rows where it is NULL do not count); whoever inserts for a tenant that is at its limit waits for who is before it; raises YB009 beyond the limit, YB010 for a frozen tenant, YB004 for a closed one, YB001 for one that does not exist, 39P01 for a trigger of another kind';
