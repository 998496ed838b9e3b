
-- subscription: a tenant on a plan -------------------------------------------

-- Every boundary up to billed_to has been billed; due_at is the next one.  lapses:
-- between its start and its end, the time from an expiry to a renewal that did not go
-- on from there; usage in it is not this subscription's, nor is that of pauses.
--
-- A change within a period keeps that period: changed_at is where what it is now
-- began, and billing.due_part has what the plan before owes.
CREATE TABLE billing.subscription (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	subscription_id	bigint NOT NULL DEFAULT billing.next_id(),
	plan_id			bigint NOT NULL REFERENCES billing.plan,
	quantity		integer NOT NULL DEFAULT 1
					CONSTRAINT subscription_quantity_is_positive CHECK (quantity > 0),
	status			text COLLATE "C" NOT NULL
					CONSTRAINT subscription_status_is_known CHECK (status IN
						('pending', 'trialing', 'active', 'past_due', 'suspended', 'paused', 'expired', 'canceled')),
	currency		text COLLATE "C" NOT NULL,
	billing			text COLLATE "C" NOT NULL DEFAULT 'anniversary'
					CONSTRAINT subscription_billing_is_known CHECK (billing IN ('anniversary', 'calendar')),
	activate		text COLLATE "C" NOT NULL DEFAULT 'now'
					CONSTRAINT subscription_activate_is_known CHECK (activate IN ('now', 'on_payment')),
	anchor			timestamptz NOT NULL,
	timezone		text COLLATE "C" NOT NULL,
	started_at		timestamptz NOT NULL,
	trial_end		timestamptz,
	period_start	timestamptz,
	period_end		timestamptz,
	billed_to		timestamptz,
	due_at			timestamptz,
	cancel_at		timestamptz,
	canceled_at		timestamptz,
	cancel_reason	text,
	ended_at		timestamptz,
	lapses			tstzmultirange NOT NULL DEFAULT '{}',
	changed_at		timestamptz,
	anew_at			timestamptz,
	next_plan_id	bigint REFERENCES billing.plan,
	next_quantity	integer
					CONSTRAINT subscription_next_quantity_is_positive CHECK (next_quantity > 0),
	free_from		timestamptz,
	whole_from		timestamptz,
	paused_at		timestamptz,
	pauses			tstzmultirange,
	auto_renew		boolean NOT NULL DEFAULT true,
	payment_method_id bigint,
	coupon			text COLLATE "C",
	metadata		jsonb NOT NULL DEFAULT '{}',
	version			integer NOT NULL DEFAULT 1,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, subscription_id),
	CONSTRAINT subscription_instants_are_finite CHECK (isfinite(anchor) AND isfinite(started_at)
		AND coalesce(isfinite(trial_end), true) AND coalesce(isfinite(period_end), true) AND coalesce(isfinite(cancel_at), true)),
	CONSTRAINT subscription_trial_follows_start CHECK (trial_end >= started_at),
	CONSTRAINT subscription_period_is_forward CHECK (period_end >= period_start),
	CONSTRAINT subscription_due_is_ahead CHECK (due_at >= billed_to),
	CONSTRAINT subscription_pause_has_instant CHECK (status <> 'paused' OR paused_at IS NOT NULL),
	CONSTRAINT subscription_ended_is_not_due CHECK (ended_at IS NULL OR due_at IS NULL),
	CONSTRAINT subscription_end_has_instant CHECK ((status IN ('canceled', 'expired')) = (ended_at IS NOT NULL)),
	CONSTRAINT subscription_has_no_card CHECK (billing.has_no_card(cancel_reason) AND billing.has_no_card(metadata))
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.subscription
	IS 'a tenant on a plan: period_start and period_end are the current period of the plan''s cycle, half-open; every boundary up to billed_to has been billed, due_at is the next one; timezone is the one its next boundary was computed in; it was in force from started_at to ended_at but for lapses; written by subscribe and the functions of its name';
COMMENT ON COLUMN billing.subscription.tenant_id IS 'whose';
COMMENT ON COLUMN billing.subscription.subscription_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.subscription.plan_id IS 'the plan version it is on';
COMMENT ON COLUMN billing.subscription.quantity IS 'of prices whose quantity is the subscription''s';
COMMENT ON COLUMN billing.subscription.status IS 'pending, trialing, active, past_due, suspended, paused, expired or canceled';
COMMENT ON COLUMN billing.subscription.currency IS 'of its invoices';
COMMENT ON COLUMN billing.subscription.billing IS 'anniversary or calendar';
COMMENT ON COLUMN billing.subscription.activate IS 'now, or on_payment: it starts when its first invoice is paid';
COMMENT ON COLUMN billing.subscription.anchor IS 'what periods are counted from';
COMMENT ON COLUMN billing.subscription.timezone IS 'the one in which due_at was computed';
COMMENT ON COLUMN billing.subscription.started_at IS 'when it begins or began';
COMMENT ON COLUMN billing.subscription.trial_end IS 'when its trial ends; NULL: none';
COMMENT ON COLUMN billing.subscription.period_start IS 'of the period of the plan''s cycle that runs; NULL: none has begun';
COMMENT ON COLUMN billing.subscription.period_end IS 'where that ends; NULL: a lifetime';
COMMENT ON COLUMN billing.subscription.billed_to IS 'the last boundary processed; NULL: none';
COMMENT ON COLUMN billing.subscription.due_at IS 'the next boundary, when bill_due() has something to do; NULL: nothing any more';
COMMENT ON COLUMN billing.subscription.cancel_at IS 'when it ends by cancellation; NULL: not canceled';
COMMENT ON COLUMN billing.subscription.canceled_at IS 'when that was asked for';
COMMENT ON COLUMN billing.subscription.cancel_reason IS 'why';
COMMENT ON COLUMN billing.subscription.ended_at IS 'when it ended; NULL: it goes on';
COMMENT ON COLUMN billing.subscription.lapses IS 'time between start and end in which it was not in force';
COMMENT ON COLUMN billing.subscription.changed_at IS 'since when its plan and quantity are what they are; NULL: from its start';
COMMENT ON COLUMN billing.subscription.anew_at IS 'where a change of cycle, or from free to paid, began to count its periods anew; NULL: none has';
COMMENT ON COLUMN billing.subscription.next_plan_id IS 'the plan version it changes to where its period ends; NULL: it stays on its own';
COMMENT ON COLUMN billing.subscription.next_quantity IS 'the quantity it changes to there; NULL: it stays';
COMMENT ON COLUMN billing.subscription.free_from IS 'where the period would have ended that was extended last: from there to its end it is free';
COMMENT ON COLUMN billing.subscription.whole_from IS 'where the full period began that ended at free_from';
COMMENT ON COLUMN billing.subscription.paused_at IS 'when the pause or suspension began that lasts; NULL: it is neither paused nor suspended';
COMMENT ON COLUMN billing.subscription.pauses IS 'time in which it was paused or suspended, but for what lasts; NULL: none';
COMMENT ON COLUMN billing.subscription.auto_renew IS 'false: it expires at the end of its period';
COMMENT ON COLUMN billing.subscription.payment_method_id IS 'the payment method that it is paid by while that is usable; NULL: the tenant''s default at the time';
COMMENT ON COLUMN billing.subscription.coupon IS 'the last applied of its coupons that something is left of; NULL: none';
COMMENT ON COLUMN billing.subscription.metadata IS 'whatever you want to keep';
COMMENT ON COLUMN billing.subscription.version IS 'counts the changes, also those of the bill run';
SELECT pg_catalog.pg_extension_config_dump('billing.subscription', '');

CREATE TRIGGER lock_references BEFORE DELETE OR UPDATE OF tenant_id, subscription_id ON billing.subscription
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('usage_event', 'invoice');

CREATE INDEX subscription_due ON billing.subscription (due_at, tenant_id, subscription_id) WHERE due_at IS NOT NULL;

-- There are few among many, and what reminds of their end asks for the next.
CREATE INDEX subscription_trial ON billing.subscription (due_at) WHERE status = 'trialing';

ALTER TABLE billing.subscription ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.subscription
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- When a subscription is or was in force, as far as is known: up to an end that is
-- certain even where the bill run has not come to it, and from a start that is.  So it does not
-- matter in which order two subscriptions of a tenant are billed.
CREATE FUNCTION billing.in_force(subscription billing.subscription)
RETURNS tstzmultirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN subscription.billed_to IS NULL AND (subscription.due_at IS NULL OR subscription.activate = 'on_payment')
	THEN tstzmultirange()
	ELSE tstzmultirange(tstzrange(subscription.started_at, coalesce(subscription.ended_at, least(subscription.cancel_at,
		CASE WHEN NOT subscription.auto_renew AND subscription.status NOT IN ('pending', 'trialing') THEN subscription.period_end END))))
		- subscription.lapses - coalesce(subscription.pauses, '{}')
		- CASE WHEN subscription.paused_at IS NULL THEN tstzmultirange() ELSE tstzmultirange(tstzrange(subscription.paused_at, NULL)) END
	END;
COMMENT ON FUNCTION billing.in_force(billing.subscription)
	IS 'the time in which a subscription is in force: from its start to its end, or to the end of the period it does not renew or is canceled at, without its lapses and pauses; empty for one that never began or waits for its first payment; of subscriptions that price one meter, usage that names none belongs to the one with the lowest id that is in force';

CREATE FUNCTION billing.subscription_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_subscription_guard';
COMMENT ON FUNCTION billing.subscription_guard()
	IS 'trigger AFTER UPDATE FOR EACH ROW: refuses every row; its condition says which come to it; raises YB004';

-- AFTER, and with a condition: a BEFORE trigger locks each row a bill run moves once
-- more, and nothing is called for those that move forward.
CREATE TRIGGER subscription_state_guard
AFTER UPDATE OF status ON billing.subscription
FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
EXECUTE FUNCTION billing.state_guard('subscription');

CREATE TRIGGER subscription_guard
AFTER UPDATE OF tenant_id, subscription_id, currency, started_at, billed_to ON billing.subscription
FOR EACH ROW WHEN (NEW.tenant_id <> OLD.tenant_id OR NEW.subscription_id <> OLD.subscription_id OR NEW.currency <> OLD.currency
	OR (OLD.billed_to IS NOT NULL AND (NEW.started_at <> OLD.started_at OR NEW.billed_to < OLD.billed_to
		OR (NEW.billed_to IS NULL AND OLD.status <> 'expired'))))
EXECUTE FUNCTION billing.subscription_guard();

CREATE TABLE billing.subscription_change (
	tenant_id		bigint NOT NULL,
	subscription_id	bigint NOT NULL,
	change_no		integer NOT NULL,
	kind			text COLLATE "C" NOT NULL,
	effective_at	timestamptz NOT NULL,
	status			text COLLATE "C" NOT NULL,
	plan_id			bigint NOT NULL REFERENCES billing.plan,
	quantity		integer NOT NULL,
	anchor			timestamptz NOT NULL,
	timezone		text COLLATE "C" NOT NULL,
	period_start	timestamptz,
	period_end		timestamptz,
	reason			text,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, subscription_id, change_no),
	FOREIGN KEY (tenant_id, subscription_id) REFERENCES billing.subscription
);
COMMENT ON TABLE billing.subscription_change
	IS 'the history of a subscription in segments: what it was from effective_at on; change_no is the version of the subscription that the change made';
COMMENT ON COLUMN billing.subscription_change.tenant_id IS 'whose';
COMMENT ON COLUMN billing.subscription_change.subscription_id IS 'of which subscription';
COMMENT ON COLUMN billing.subscription_change.status IS 'state from then on';
COMMENT ON COLUMN billing.subscription_change.plan_id IS 'plan version';
COMMENT ON COLUMN billing.subscription_change.quantity IS 'how many of it';
COMMENT ON COLUMN billing.subscription_change.anchor IS 'what its periods are counted from';
COMMENT ON COLUMN billing.subscription_change.timezone IS 'in whose wall clock';
COMMENT ON COLUMN billing.subscription_change.change_no IS 'the version of the subscription that the change made';
COMMENT ON COLUMN billing.subscription_change.kind IS 'which function, or part of the bill run, made it';
COMMENT ON COLUMN billing.subscription_change.effective_at IS 'from when on the subscription was so';
COMMENT ON COLUMN billing.subscription_change.period_start IS 'the period that ran then';
COMMENT ON COLUMN billing.subscription_change.period_end IS 'its end, exclusive; NULL: none';
COMMENT ON COLUMN billing.subscription_change.reason IS 'what was said of it';
SELECT pg_catalog.pg_extension_config_dump('billing.subscription_change', '');

ALTER TABLE billing.subscription_change ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.subscription_change
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- cut_at: usage up to there was billed by an interim invoice last, when it had come to
-- cut_amount in all; that one is not made again if it is voided.
CREATE TABLE billing.subscription_threshold (
	tenant_id			bigint NOT NULL,
	subscription_id		bigint NOT NULL,
	is_own				boolean NOT NULL DEFAULT false,
	usage_thresholds	numeric[],
	usage_threshold_step numeric,
	cut_at				timestamptz,
	cut_amount			numeric,
	PRIMARY KEY (tenant_id, subscription_id),
	FOREIGN KEY (tenant_id, subscription_id) REFERENCES billing.subscription,
	CONSTRAINT subscription_thresholds_ascend CHECK (billing.are_thresholds(usage_thresholds, usage_threshold_step)),
	CONSTRAINT subscription_threshold_is_own CHECK (is_own OR num_nonnulls(usage_thresholds, usage_threshold_step) = 0)
);
COMMENT ON TABLE billing.subscription_threshold
	IS 'usage thresholds of subscriptions that have their own (is_own) in the place of the plan''s, and up to when, and to which amount of usage since the subscription began, interim invoices have billed; written by set_usage_thresholds and bill_due';
COMMENT ON COLUMN billing.subscription_threshold.tenant_id IS 'whose';
COMMENT ON COLUMN billing.subscription_threshold.subscription_id IS 'of which subscription';
COMMENT ON COLUMN billing.subscription_threshold.is_own IS 'whether the thresholds are its own, in the place of those of its plan';
COMMENT ON COLUMN billing.subscription_threshold.usage_thresholds IS 'amounts of usage in major units, ascending';
COMMENT ON COLUMN billing.subscription_threshold.usage_threshold_step IS 'by how much they go on behind the last; NULL: they do not';
COMMENT ON COLUMN billing.subscription_threshold.cut_at IS 'up to when interim invoices have billed';
COMMENT ON COLUMN billing.subscription_threshold.cut_amount IS 'usage since the subscription began that they have billed, in major units';
SELECT pg_catalog.pg_extension_config_dump('billing.subscription_threshold', '');

ALTER TABLE billing.subscription_threshold ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.subscription_threshold
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.subscribe(tenant_id bigint, plan text, quantity integer DEFAULT 1, at timestamptz DEFAULT NULL,
	cycle interval DEFAULT NULL, currency text DEFAULT NULL, coupon text DEFAULT NULL, trial_days integer DEFAULT NULL,
	anchor timestamptz DEFAULT NULL, billing text DEFAULT 'anniversary', activate text DEFAULT 'now', auto_renew boolean DEFAULT true,
	payment_method_id bigint DEFAULT NULL, metadata jsonb DEFAULT '{}', request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_subscribe';
COMMENT ON FUNCTION billing.subscribe(bigint, text, integer, timestamptz, interval, text, text, integer, timestamptz, text, text, boolean, bigint, jsonb, text)
	IS 'puts a tenant on the newest active version of a plan from at on (NULL: now): in the past, its first boundary is billed at once and bill_due catches up; in the future, it is pending until bill_due starts it; cycle NULL: the only one the plan has, 0: lifetime; currency NULL: the tenant''s; trial_days NULL: the plan''s, whose NULL means setting trial_days, once per tenant and plan code; anchor NULL: the end of the trial or the start; billing anniversary or calendar (anchor: local start of the month, year, week or day); activate now or on_payment (pending, with no trial, until its first invoice is paid, then from that instant on); coupon: its code, applied from the first invoice on; payment_method_id: what it is paid by, NULL: the tenant''s default, if there is one; request_id makes a retry harmless; returns the subscription; 22004 a NULL that is not allowed, 22023 a bad value or a cycle that must be named, YB001 no such tenant, plan, cycle or payment method, YB002 plan not in that currency, YB004 plan retired, tenant closed or payment method not active, YB007 coupon not applicable, YB010 tenant frozen, YB015 other tenant, YB006 request_id reused';

CREATE FUNCTION billing.cancel_subscription(tenant_id bigint, subscription_id bigint, effective text DEFAULT 'period_end',
	reason text DEFAULT NULL, proration text DEFAULT 'prorate', request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_cancel_subscription';
COMMENT ON FUNCTION billing.cancel_subscription(bigint, bigint, text, text, text, text)
	IS 'ends a subscription: period_end leaves it as it is until its period ends and then bills its arrears, now bills them at once and credits what was charged in advance for the time after, but with proration none; one that is paused or suspended ends at once; a change that waited for the end of the period is dropped; one that is pending ends without having begun; canceling again for period_end changes nothing; returns the subscription; YB004 it has ended, or its period has no end; 22023 bad effective or proration; 22004 a NULL that is not allowed, YB001 no such tenant or subscription, YB015 other tenant, YB006 request_id reused';

CREATE FUNCTION billing.reactivate_subscription(tenant_id bigint, subscription_id bigint, request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_reactivate_subscription';
COMMENT ON FUNCTION billing.reactivate_subscription(bigint, bigint, text)
	IS 'takes a cancellation back before cancel_at is reached; returns the subscription; YB004 it was not canceled, or that has been reached; 22004 a NULL that is not allowed, YB001 no such tenant or subscription, YB015 other tenant, YB006 request_id reused';

CREATE FUNCTION billing.renew_subscription(tenant_id bigint, subscription_id bigint, request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_renew_subscription';
COMMENT ON FUNCTION billing.renew_subscription(bigint, bigint, text)
	IS 'goes on with a subscription that has expired, for a period: from where it ended if that is not longer ago than setting grace_days (on the tenant''s wall clock) and no other subscription was billed the usage since, else from now; of one that has not expired, sets auto_renew; returns the subscription; YB004 it is canceled; YB010 tenant frozen; 22004 a NULL that is not allowed, YB001 no such tenant or subscription, YB015 other tenant, YB006 request_id reused';

CREATE FUNCTION billing.extend_subscription(tenant_id bigint, subscription_id bigint, new_end timestamptz, version integer,
	request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_extend_subscription';
COMMENT ON FUNCTION billing.extend_subscription(bigint, bigint, timestamptz, integer, text)
	IS 'lets the current period (or trial) end at new_end, later than it would and at no charge; periods are counted from new_end on; version is the one the caller has seen; returns the subscription; YB005 it has another version now, YB004 no period runs or it has no end, 22023 new_end is not after period_end; 22004 a NULL that is not allowed, YB001 no such tenant or subscription, YB015 other tenant, YB006 request_id reused';

CREATE FUNCTION billing.update_subscription(tenant_id bigint, subscription_id bigint, changes jsonb, version integer DEFAULT NULL,
	request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_update_subscription';
COMMENT ON FUNCTION billing.update_subscription(bigint, bigint, jsonb, integer, text)
	IS 'changes auto_renew, payment_method_id and metadata, those that the object changes has, where they are others; version NULL: whatever it is; returns the subscription; YB005 it has another version now, YB004 it is canceled or the payment method is not active, 22023 another key or a value of another type; 22004 a NULL that is not allowed, YB001 no such tenant, subscription or payment method, YB015 other tenant, YB006 request_id reused';

CREATE FUNCTION billing.get_active_subscription(tenant_id bigint)
RETURNS billing.subscription
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_get_active_subscription';
COMMENT ON FUNCTION billing.get_active_subscription(bigint)
	IS 'the one subscription of the tenant that is trialing, active or past due and whose end, if it has one, is to come; YB001 there is none, YB016 there are several; 22004 tenant_id is NULL';

CREATE FUNCTION billing.is_expired(tenant_id bigint, subscription_id bigint)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_expired';
COMMENT ON FUNCTION billing.is_expired(bigint, bigint)
	IS 'whether its last period has ended without renewal, also where the bill run has not got there yet; a canceled one is not expired; YB001 no such subscription; 22004 an argument is NULL';

CREATE FUNCTION billing.is_trial(tenant_id bigint, subscription_id bigint)
RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_trial';
COMMENT ON FUNCTION billing.is_trial(bigint, bigint)
	IS 'whether it is in its trial at billing.now(); YB001 no such subscription; 22004 an argument is NULL';

CREATE FUNCTION billing.days_remaining(tenant_id bigint, subscription_id bigint)
RETURNS integer
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_days_remaining';
COMMENT ON FUNCTION billing.days_remaining(bigint, bigint)
	IS 'days of the tenant''s calendar from today to the day its period ends or it is canceled, 0 or more; 0 if it has not begun or has ended; NULL for a lifetime; YB001 no such subscription; 22004 an argument is NULL';

CREATE FUNCTION billing.next_billing_date(tenant_id bigint, subscription_id bigint)
RETURNS date
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_next_billing_date';
COMMENT ON FUNCTION billing.next_billing_date(bigint, bigint)
	IS 'the day, on the tenant''s calendar, of the next boundary at which something is to be billed (column due_at is its instant); NULL if nothing is; YB001 no such subscription; 22004 an argument is NULL';
