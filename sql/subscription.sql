
-- subscription: a tenant on a plan -------------------------------------------

-- Every boundary up to billed_to has been billed; due_at is the next one.
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
	CONSTRAINT subscription_ended_is_not_due CHECK (ended_at IS NULL OR due_at IS NULL),
	CONSTRAINT subscription_end_has_instant CHECK ((status IN ('canceled', 'expired')) = (ended_at IS NOT NULL))
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.subscription
	IS 'a tenant on a plan: period_start and period_end are the current period of the plan''s cycle, half-open; every boundary up to billed_to has been billed, due_at is the next one; timezone is the one its next boundary was computed in; written by subscribe and the functions of its name';
SELECT pg_catalog.pg_extension_config_dump('billing.subscription', '');

CREATE TRIGGER lock_references BEFORE DELETE OR UPDATE OF tenant_id, subscription_id ON billing.subscription
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('usage_event');

CREATE INDEX subscription_due ON billing.subscription (due_at, tenant_id, subscription_id) WHERE due_at IS NOT NULL;

ALTER TABLE billing.subscription ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.subscription
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

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
SELECT pg_catalog.pg_extension_config_dump('billing.subscription_change', '');

ALTER TABLE billing.subscription_change ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.subscription_change
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);
