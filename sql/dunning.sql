
-- dunning: how often money that does not come is asked for ----------------------------------

CREATE TRIGGER dunning_policy_audit
AFTER UPDATE OR DELETE ON billing.dunning_policy
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('code');

-- collection: attempts to get money, and what became of them -------------------------------

CREATE VIEW billing.decline_code_default WITH (security_invoker) AS
	SELECT d.gateway, d.code, d.class, d.next_attempt, d.description,
		(d.gateway, d.code) IN (('stripe', 'expired_card'), ('stripe', 'incorrect_number'), ('stripe', 'invalid_account'), ('stripe', 'invalid_expiry_month'),
			('stripe', 'invalid_expiry_year'), ('stripe', 'invalid_number'), ('stripe', 'lost_card'), ('stripe', 'new_account_information_available'),
			('stripe', 'pickup_card'), ('stripe', 'revocation_of_all_authorizations'), ('stripe', 'revocation_of_authorization'), ('stripe', 'stolen_card'),
			('paypal', 'AGREEMENT_ALREADY_CANCELLED'), ('paypal', 'PAYER_ACCOUNT_LOCKED_OR_CLOSED'), ('alipay', 'ACQ.AGREEMENT_INVALID'),
			('alipay', 'ACQ.AGREEMENT_NOT_EXIST'), ('wechat', 'CONTRACT_NOT_EXIST'), ('wechat', 'CONTRACTERROR')) AS ends_method
	FROM (VALUES
		('any', 'no_payment_method', 'action', NULL::interval, 'there is nothing to collect with'),
		('any', 'authentication_required', 'action', NULL, 'the customer has to confirm it'),
		('any', 'timeout', 'soft', '1 hour', 'nobody answered within pending_timeout'),
		('any', 'error', 'soft', '1 hour', 'it could not be tried'),
		('stripe', 'approve_with_id', 'soft', '1 hour', 'the payment could not be authorized'),
		('stripe', 'authentication_required', 'action', NULL, 'the customer has to confirm it'),
		('stripe', 'call_issuer', 'soft', NULL, 'declined for an unknown reason'),
		('stripe', 'card_not_supported', 'hard', NULL, 'the card does not take this kind of purchase'),
		('stripe', 'card_velocity_exceeded', 'soft', '1 day', 'the card is over its limit'),
		('stripe', 'currency_not_supported', 'hard', NULL, 'the card does not take this currency'),
		('stripe', 'do_not_honor', 'soft', NULL, 'declined for an unknown reason'),
		('stripe', 'do_not_try_again', 'hard', NULL, 'declined, and not to be tried again'),
		('stripe', 'duplicate_transaction', 'soft', '1 day', 'the same amount was charged very recently'),
		('stripe', 'expired_card', 'hard', NULL, 'the card has expired'),
		('stripe', 'fraudulent', 'hard', NULL, 'suspected of fraud'),
		('stripe', 'generic_decline', 'soft', NULL, 'declined for an unknown reason'),
		('stripe', 'incorrect_cvc', 'hard', NULL, 'the CVC is wrong'),
		('stripe', 'incorrect_number', 'hard', NULL, 'the card number is wrong'),
		('stripe', 'incorrect_zip', 'hard', NULL, 'the postal code is wrong'),
		('stripe', 'insufficient_funds', 'soft', '2 days', 'there is not enough money'),
		('stripe', 'invalid_account', 'hard', NULL, 'the card or its account is invalid'),
		('stripe', 'invalid_amount', 'hard', NULL, 'the amount is invalid or beyond what is allowed'),
		('stripe', 'invalid_cvc', 'hard', NULL, 'the CVC is wrong'),
		('stripe', 'invalid_expiry_month', 'hard', NULL, 'the expiry date is wrong'),
		('stripe', 'invalid_expiry_year', 'hard', NULL, 'the expiry date is wrong'),
		('stripe', 'invalid_number', 'hard', NULL, 'the card number is wrong'),
		('stripe', 'issuer_not_available', 'soft', '1 hour', 'the issuer cannot be reached'),
		('stripe', 'lost_card', 'hard', NULL, 'the card was reported lost'),
		('stripe', 'merchant_blacklist', 'hard', NULL, 'blocked by a list of the seller'),
		('stripe', 'new_account_information_available', 'hard', NULL, 'the card or its account is invalid'),
		('stripe', 'no_action_taken', 'soft', NULL, 'declined for an unknown reason'),
		('stripe', 'not_permitted', 'hard', NULL, 'the payment is not permitted'),
		('stripe', 'offline_pin_required', 'action', NULL, 'a PIN is needed'),
		('stripe', 'online_or_offline_pin_required', 'action', NULL, 'a PIN is needed'),
		('stripe', 'pickup_card', 'hard', NULL, 'the card was reported lost or stolen'),
		('stripe', 'pin_try_exceeded', 'hard', NULL, 'too many wrong PINs'),
		('stripe', 'processing_error', 'soft', '1 hour', 'an error while it was processed'),
		('stripe', 'reenter_transaction', 'soft', '1 hour', 'could not be processed for an unknown reason'),
		('stripe', 'restricted_card', 'hard', NULL, 'the card is restricted'),
		('stripe', 'revocation_of_all_authorizations', 'hard', NULL, 'the customer has withdrawn the authorization'),
		('stripe', 'revocation_of_authorization', 'hard', NULL, 'the customer has withdrawn the authorization'),
		('stripe', 'security_violation', 'soft', NULL, 'declined for an unknown reason'),
		('stripe', 'service_not_allowed', 'soft', NULL, 'declined for an unknown reason'),
		('stripe', 'stolen_card', 'hard', NULL, 'the card was reported stolen'),
		('stripe', 'stop_payment_order', 'hard', NULL, 'the customer has stopped the payment'),
		('stripe', 'testmode_decline', 'hard', NULL, 'a test card'),
		('stripe', 'transaction_not_allowed', 'soft', NULL, 'declined for an unknown reason'),
		('stripe', 'try_again_later', 'soft', '1 hour', 'declined for an unknown reason, to be tried again'),
		('stripe', 'withdrawal_count_limit_exceeded', 'soft', '1 day', 'the card is over its limit'),
		('paypal', 'AGREEMENT_ALREADY_CANCELLED', 'hard', NULL, 'the billing agreement was canceled'),
		('paypal', 'INSTRUMENT_DECLINED', 'soft', NULL, 'declined by the processor or the bank'),
		('paypal', 'INTERNAL_SERVER_ERROR', 'soft', '1 hour', 'an error of the gateway'),
		('paypal', 'INTERNAL_SERVICE_ERROR', 'soft', '1 hour', 'an error of the gateway'),
		('paypal', 'MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED', 'hard', NULL, 'too many attempts'),
		('paypal', 'PAYEE_BLOCKED_TRANSACTION', 'hard', NULL, 'blocked by settings of the seller'),
		('paypal', 'PAYER_ACCOUNT_LOCKED_OR_CLOSED', 'hard', NULL, 'the payer''s account is locked or closed'),
		('paypal', 'PAYER_ACCOUNT_RESTRICTED', 'hard', NULL, 'the payer''s account is restricted'),
		('paypal', 'PAYER_ACTION_REQUIRED', 'action', NULL, 'the payer has to confirm it'),
		('paypal', 'PAYER_CANNOT_PAY', 'soft', NULL, 'the payer cannot pay for this'),
		('paypal', 'RATE_LIMIT_REACHED', 'soft', '1 hour', 'too many requests'),
		('paypal', 'TRANSACTION_REFUSED', 'soft', NULL, 'refused'),
		('alipay', 'ACQ.AGREEMENT_INVALID', 'hard', NULL, 'the agreement is not valid any more'),
		('alipay', 'ACQ.AGREEMENT_NOT_EXIST', 'hard', NULL, 'there is no such agreement'),
		('alipay', 'ACQ.BUYER_BALANCE_NOT_ENOUGH', 'soft', '1 day', 'there is not enough money'),
		('alipay', 'ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH', 'soft', '1 day', 'there is not enough money on the card'),
		('alipay', 'ACQ.BUYER_ENABLE_STATUS_FORBID', 'hard', NULL, 'the payer''s account is not in a state to pay'),
		('alipay', 'ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR', 'soft', '1 day', 'over the limit of the day'),
		('alipay', 'ACQ.BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR', 'soft', NULL, 'over the limit of the month'),
		('alipay', 'ACQ.ERROR_BALANCE_PAYMENT_DISABLE', 'action', NULL, 'the payer has turned payment by balance off'),
		('alipay', 'ACQ.ERROR_BUYER_CERTIFY_LEVEL_LIMIT', 'action', NULL, 'the payer has to identify himself'),
		('alipay', 'ACQ.PAYMENT_REQUEST_HAS_RISK', 'hard', NULL, 'suspected of fraud'),
		('alipay', 'ACQ.PULL_MOBILE_CASHIER_FAIL', 'soft', '1 hour', 'the payer could not be asked'),
		('alipay', 'ACQ.SYSTEM_ERROR', 'soft', '1 hour', 'an error of the gateway'),
		('alipay', 'ACQ.USER_FACE_PAYMENT_SWITCH_OFF', 'action', NULL, 'the payer has turned this payment off'),
		('wechat', 'ACCOUNTERROR', 'hard', NULL, 'the payer''s account is not in a state to pay'),
		('wechat', 'BANKERROR', 'soft', '1 hour', 'an error of the bank'),
		('wechat', 'CONTRACT_NOT_EXIST', 'hard', NULL, 'there is no such contract'),
		('wechat', 'CONTRACTERROR', 'hard', NULL, 'the contract is not valid any more'),
		('wechat', 'FREQUENCY_LIMITED', 'soft', '1 hour', 'too many requests'),
		('wechat', 'NOTENOUGH', 'soft', '1 day', 'there is not enough money'),
		('wechat', 'RULELIMIT', 'soft', '1 day', 'over a limit, or suspected of a risk'),
		('wechat', 'SYSTEMERROR', 'soft', '1 hour', 'an error of the gateway'),
		('wechat', 'USER_ACCOUNT_ABNORMAL', 'hard', NULL, 'the payer''s account is not in a state to pay')
	) AS d (gateway, code, class, next_attempt, description);
COMMENT ON VIEW billing.decline_code_default
	IS 'what gateways answer when they do not pay, and what it means where billing.decline_code says nothing else: class soft (it may go well another time), hard (it will not with this means of payment: nothing is tried any more) or action (the customer has to do something: the timetable goes on); next_attempt, after which it is worth trying again, NULL: at the next attempt of the timetable; gateway any: of all; ends_method: the payment method is gone for good, and fails with it';

CREATE TABLE billing.decline_code (
	gateway		text COLLATE "C" NOT NULL
				CONSTRAINT decline_code_gateway_is_name CHECK (gateway ~ '^[a-z][a-z0-9_]{0,62}$'),
	code		text COLLATE "C" NOT NULL
				CONSTRAINT decline_code_is_sound CHECK (code <> '' AND octet_length(code) <= 255),
	class		text COLLATE "C" NOT NULL
				CONSTRAINT decline_code_class_is_known CHECK (class IN ('soft', 'hard', 'action')),
	next_attempt interval
				CONSTRAINT decline_code_next_attempt_is_in_range CHECK (next_attempt BETWEEN '1 minute' AND '30 days')
				CONSTRAINT decline_code_next_attempt_is_soft CHECK (next_attempt IS NULL OR class = 'soft'),
	description	text,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user,
	ends_method	boolean NOT NULL DEFAULT false
				CONSTRAINT decline_code_that_ends_method_is_hard CHECK (class = 'hard' OR NOT ends_method),
	PRIMARY KEY (gateway, code)
);
COMMENT ON TABLE billing.decline_code
	IS 'what answers of gateways mean that are not, or other than, in billing.decline_code_default';
COMMENT ON COLUMN billing.decline_code.gateway IS 'whose answer; any: of every gateway that has none of its own';
COMMENT ON COLUMN billing.decline_code.code IS 'the answer, as the gateway writes it';
COMMENT ON COLUMN billing.decline_code.class IS 'soft: it may go well another time; hard: nothing is tried any more; action: the customer has to do something';
COMMENT ON COLUMN billing.decline_code.next_attempt IS 'after which it is tried again; NULL: at the next attempt of the timetable';
COMMENT ON COLUMN billing.decline_code.description IS 'for people';
COMMENT ON COLUMN billing.decline_code.ends_method IS 'whether the payment method is gone for good: it fails, and another one takes its place';
SELECT pg_catalog.pg_extension_config_dump('billing.decline_code', '');

CREATE TRIGGER decline_code_audit
AFTER UPDATE OR DELETE ON billing.decline_code
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('gateway', 'code');

CREATE FUNCTION billing.find_decline_code(gateway text, code text, OUT class text, OUT next_attempt interval, OUT ends_method boolean)
RETURNS record
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT d.class, d.next_attempt, d.ends_method
	FROM (
		SELECT CASE c.gateway WHEN 'any' THEN 3 ELSE 1 END AS rank, c.class, c.next_attempt, c.ends_method
		FROM billing.decline_code c
		WHERE c.gateway IN (find_decline_code.gateway, 'any') AND c.code = find_decline_code.code
		UNION ALL
		SELECT CASE c.gateway WHEN 'any' THEN 4 ELSE 2 END, c.class, c.next_attempt, c.ends_method
		FROM billing.decline_code_default c
		WHERE c.gateway IN (find_decline_code.gateway, 'any') AND c.code = find_decline_code.code
		UNION ALL
		SELECT 5, 'soft', NULL, false
	) d
	ORDER BY d.rank
	LIMIT 1;
END;
COMMENT ON FUNCTION billing.find_decline_code(text, text)
	IS 'what an answer of a gateway means: the row of billing.decline_code, else of billing.decline_code_default, of that gateway, else of gateway any; what nobody knows is soft';

-- One row for each attempt of the timetable, and for each time that it is tried again
-- before the next one (retry_no): who claims it has written it, so none is made twice.
CREATE TABLE billing.collection_attempt (
	tenant_id	bigint NOT NULL,
	invoice_id	bigint NOT NULL,
	attempt_no	integer NOT NULL CONSTRAINT collection_attempt_no_is_not_negative CHECK (attempt_no >= 0),
	retry_no	integer NOT NULL DEFAULT 0 CONSTRAINT collection_attempt_retry_no_is_not_negative CHECK (retry_no >= 0),
	status		text COLLATE "C" NOT NULL
				CONSTRAINT collection_attempt_status_is_known CHECK (status IN ('pending', 'succeeded', 'failed', 'missed')),
	due_at		timestamptz NOT NULL,
	amount		billing.amount NOT NULL CONSTRAINT collection_attempt_amount_is_positive CHECK (billing.minor_units(amount) > 0),
	gateway		text COLLATE "C",
	code		text COLLATE "C",
	class		text COLLATE "C" CONSTRAINT collection_attempt_class_is_known CHECK (class IN ('soft', 'hard', 'action')),
	message		text,
	retry_at	timestamptz,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	settled_at	timestamptz,
	payment_method_id bigint,
	PRIMARY KEY (tenant_id, invoice_id, attempt_no, retry_no),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	FOREIGN KEY (tenant_id, payment_method_id) REFERENCES billing.payment_method,
	CONSTRAINT collection_attempt_settled_has_instant CHECK ((status IN ('succeeded', 'failed')) = (settled_at IS NOT NULL)),
	CONSTRAINT collection_attempt_failed_has_code CHECK ((status = 'failed') = (code IS NOT NULL AND class IS NOT NULL)),
	CONSTRAINT collection_attempt_only_failed_is_retried CHECK (retry_at IS NULL OR status = 'failed')
);
COMMENT ON TABLE billing.collection_attempt
	IS 'attempts to collect an invoice: attempt_no 0 at its due date, the others on the days of its dunning policy; retry_no counts how often each was tried again because of its decline code; written by dunning, retry_payments, enforce_expiration and fail_attempt';
COMMENT ON COLUMN billing.collection_attempt.tenant_id IS 'whose';
COMMENT ON COLUMN billing.collection_attempt.invoice_id IS 'which invoice';
COMMENT ON COLUMN billing.collection_attempt.attempt_no IS 'of the timetable, from 0';
COMMENT ON COLUMN billing.collection_attempt.retry_no IS '0: the attempt itself; else how often it was tried again';
COMMENT ON COLUMN billing.collection_attempt.status IS 'pending: under way; succeeded; failed; missed: nobody was there when it was due, and a later one was due too';
COMMENT ON COLUMN billing.collection_attempt.due_at IS 'when it was to be made; created_at: when it was';
COMMENT ON COLUMN billing.collection_attempt.amount IS 'what was due of the invoice then';
COMMENT ON COLUMN billing.collection_attempt.gateway IS 'who tried; NULL: nobody';
COMMENT ON COLUMN billing.collection_attempt.code IS 'of a failed one: why, in the words of the gateway';
COMMENT ON COLUMN billing.collection_attempt.class IS 'and what that means: soft, hard or action, see billing.decline_code';
COMMENT ON COLUMN billing.collection_attempt.message IS 'and what the gateway says to that';
COMMENT ON COLUMN billing.collection_attempt.retry_at IS 'when it is tried again; NULL: not, or that was';
COMMENT ON COLUMN billing.collection_attempt.settled_at IS 'when it succeeded or failed';
COMMENT ON COLUMN billing.collection_attempt.payment_method_id IS 'what it was made with; NULL: there was none';
SELECT pg_catalog.pg_extension_config_dump('billing.collection_attempt', '');

CREATE INDEX collection_attempt_retry ON billing.collection_attempt (retry_at, tenant_id) WHERE retry_at IS NOT NULL;

CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, invoice_id, attempt_no, retry_no, due_at, amount ON billing.collection_attempt
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('What was tried stays: another attempt is another row.');
CREATE TRIGGER refuse_delete BEFORE DELETE OR TRUNCATE ON billing.collection_attempt
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('What was tried stays.');

ALTER TABLE billing.collection_attempt ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.collection_attempt
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- An invoice whose due date came while it was not paid, or that a subscription waits for.  What dunning did of its timetable is here and not
-- in the invoice, which is final, nor is it asked of the clock alone: it is done once.
CREATE TABLE billing.invoice_dunning (
	tenant_id	bigint NOT NULL,
	invoice_id	bigint NOT NULL,
	next_at		timestamptz,
	overdue_at	timestamptz,
	frozen_at	timestamptz,
	given_up_at	timestamptz,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, invoice_id),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice
);
COMMENT ON TABLE billing.invoice_dunning
	IS 'how far dunning has come with invoices whose due date has come while they were not paid, or that a subscription waits for; written by dunning, retry_payments, enforce_expiration and enforce_expirations, and by what issues the invoice of one that waits';
COMMENT ON COLUMN billing.invoice_dunning.tenant_id IS 'whose';
COMMENT ON COLUMN billing.invoice_dunning.invoice_id IS 'which invoice';
COMMENT ON COLUMN billing.invoice_dunning.next_at IS 'when it is looked at next: at its next step, and once a day, since settings may have changed; NULL: nothing follows';
COMMENT ON COLUMN billing.invoice_dunning.overdue_at IS 'when it was found overdue, collection having failed or none being made; NULL: not yet';
COMMENT ON COLUMN billing.invoice_dunning.frozen_at IS 'when its tenant was frozen for it, or was thawed by a person who could know of it: it is not frozen for it again; NULL: neither';
COMMENT ON COLUMN billing.invoice_dunning.given_up_at IS 'when the clock gave it up; NULL: it has not';
SELECT pg_catalog.pg_extension_config_dump('billing.invoice_dunning', '');

CREATE INDEX invoice_dunning_next ON billing.invoice_dunning (next_at, tenant_id) WHERE next_at IS NOT NULL;

ALTER TABLE billing.invoice_dunning ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.invoice_dunning
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- When what happens to an invoice that is not paid is a rule of its due date alone, by the
-- settings as they are: attempt 0 of collection is at the due date, the others are on the days of
-- the policy, and a day after the last one, or where the grace ends if that is later, whoever owes
-- it is suspended.  The installation's settings are read once, and the view is one that the
-- planner looks into: whoever joins it comes to its invoices by their key.
CREATE VIEW billing.dunning_timeline WITH (security_invoker) AS
	SELECT v.tenant_id, v.invoice_id, v.number, v.subscription_id, v.status, v.amount_due, v.due_at,
		coalesce(d.code, 'standard') AS policy, CASE WHEN s.ended_at IS NULL OR s.billed_to IS NOT NULL THEN n.collection END AS collection,
		t.timezone,
		CASE WHEN d.code IS NULL THEN n.attempts ELSE cardinality(d.days) END AS attempts,
		CASE WHEN d.code IS NULL THEN ARRAY(SELECT k * n.interval_days FROM generate_series(1, n.attempts) AS k) ELSE d.days END AS days,
		coalesce(d.retries, 3) AS retries,
		l.grace_ends_at, l.last_attempt_at,
		CASE WHEN s.status IN ('active', 'past_due', 'suspended') OR s.ended_at IS NOT NULL AND s.billed_to IS NOT NULL
			THEN l.suspend_at END AS suspend_at,
		CASE WHEN l.uncollectible_days IS NOT NULL
			THEN greatest(billing.after_grace(v.due_at, t.timezone, l.uncollectible_days), l.suspend_at) END AS give_up_at,
		l.suspend_at AS ends_at, n.pending_timeout::interval AS pending_timeout,
		EXISTS (SELECT FROM billing.collection_attempt a
			WHERE a.tenant_id = v.tenant_id AND a.invoice_id = v.invoice_id AND a.status = 'pending') AS is_pending,
		EXISTS (SELECT FROM billing.collection_attempt a
			WHERE a.tenant_id = v.tenant_id AND a.invoice_id = v.invoice_id AND a.status = 'failed') AS has_failed,
		coalesce((SELECT a.class = 'hard' FROM billing.collection_attempt a
			WHERE a.tenant_id = v.tenant_id AND a.invoice_id = v.invoice_id
			ORDER BY a.attempt_no DESC, a.retry_no DESC LIMIT 1), false) AS is_stopped,
		s.status IS NOT DISTINCT FROM 'pending' AND EXISTS (SELECT FROM billing.payment m
			WHERE m.tenant_id = v.tenant_id AND m.invoice_id = v.invoice_id AND m.payment_method_id IS NULL
			  AND m.status IN ('pending', 'processing', 'requires_action', 'unknown')) AS is_being_paid
	FROM billing.invoice v
	JOIN billing.tenant t ON t.tenant_id = v.tenant_id
	LEFT JOIN billing.subscription s ON s.tenant_id = v.tenant_id AND s.subscription_id = v.subscription_id
	LEFT JOIN billing.plan p ON p.plan_id = s.plan_id
	CROSS JOIN LATERAL (
		SELECT coalesce((t.settings ->> 'grace_days')::integer, (p.settings ->> 'grace_days')::integer,
				(SELECT billing.effective_setting('grace_days')::integer)) AS grace_days,
			coalesce(t.settings ->> 'dunning_policy', p.settings ->> 'dunning_policy', (SELECT billing.effective_setting('dunning_policy'))) AS policy,
			coalesce((t.settings ->> 'dunning_attempts')::integer, (p.settings ->> 'dunning_attempts')::integer,
				(SELECT billing.effective_setting('dunning_attempts')::integer)) AS attempts,
			coalesce((t.settings ->> 'dunning_interval_days')::integer, (p.settings ->> 'dunning_interval_days')::integer,
				(SELECT billing.effective_setting('dunning_interval_days')::integer)) AS interval_days,
			coalesce(t.settings ->> 'uncollectible_days', p.settings ->> 'uncollectible_days',
				(SELECT billing.effective_setting('uncollectible_days'))) AS uncollectible_days,
			coalesce(t.settings ->> 'collection', p.settings ->> 'collection', (SELECT billing.effective_setting('collection'))) AS collection,
			coalesce(t.settings ->> 'pending_timeout', p.settings ->> 'pending_timeout',
				(SELECT billing.effective_setting('pending_timeout'))) AS pending_timeout
	) n
	LEFT JOIN billing.dunning_policy d ON d.code = n.policy
	CROSS JOIN LATERAL (
		SELECT CASE WHEN d.code IS NULL THEN n.attempts * n.interval_days ELSE coalesce(d.days[cardinality(d.days)], 0) END AS last_day
	) m
	CROSS JOIN LATERAL (
		SELECT billing.after_grace(v.due_at, t.timezone, n.grace_days) AS grace_ends_at,
			billing.after_grace(v.due_at, t.timezone, m.last_day) AS last_attempt_at,
			greatest(billing.after_grace(v.due_at, t.timezone, n.grace_days), billing.after_grace(v.due_at, t.timezone, m.last_day + 1))
				AS suspend_at,
			coalesce(d.uncollectible_days, nullif(n.uncollectible_days, 'never')::integer) AS uncollectible_days
	) l
	WHERE v.status IN ('open', 'uncollectible');
COMMENT ON VIEW billing.dunning_timeline
	IS 'what follows when an invoice that is open, or given up (uncollectible), is not paid, by the settings as they are: its policy; collection, automatic or send_invoice, NULL of a subscription that ended before it began; days from due_at to each attempt of collection after attempt 0, which is at due_at, and how many (attempts); retries between two of them; grace_ends_at and last_attempt_at; ends_at, the later of grace_ends_at and a day after last_attempt_at; suspend_at: that, where its subscription is suspended or, if it has ended, its tenant frozen for it; give_up_at: when it becomes uncollectible; an attempt that nobody answers has failed after pending_timeout; is_pending: one is under way; has_failed; is_stopped: the last one has failed for good (class hard); is_being_paid: its subscription waits for it, and a person pays it by a payment in flight; all days are of the tenant''s wall clock';
COMMENT ON COLUMN billing.dunning_timeline.suspend_at IS 'when its subscription is suspended for it, or its tenant frozen if that has ended; NULL: neither';
COMMENT ON COLUMN billing.dunning_timeline.give_up_at IS 'when it becomes uncollectible; NULL: never by the clock';

-- Whatever became of its invoice: one that is void is paid by nobody.
CREATE VIEW billing.waiting_subscription WITH (security_invoker) AS
	SELECT s.tenant_id, s.subscription_id, greatest(s.created_at, s.started_at, v.issued_at)
			+ coalesce(t.settings ->> 'pending_timeout', p.settings ->> 'pending_timeout',
				(SELECT billing.effective_setting('pending_timeout')))::interval AS lapse_at, v.is_pending
	FROM billing.subscription s
	JOIN billing.tenant t ON t.tenant_id = s.tenant_id
	JOIN billing.plan p ON p.plan_id = s.plan_id
	CROSS JOIN LATERAL (
		SELECT max(i.issued_at) AS issued_at, coalesce(bool_or(i.status = 'draft'
				OR i.status = 'open' AND (billing.minor_units(i.paid) <> 0 OR billing.minor_units(i.credited) <> 0)
				OR EXISTS (SELECT FROM billing.payment m WHERE m.tenant_id = i.tenant_id AND m.invoice_id = i.invoice_id
					AND m.status IN ('pending', 'processing', 'requires_action', 'unknown'))
				OR EXISTS (SELECT FROM billing.collection_attempt a
					WHERE a.tenant_id = i.tenant_id AND a.invoice_id = i.invoice_id AND a.status = 'pending')), false) AS is_pending
		FROM billing.invoice i
		WHERE i.tenant_id = s.tenant_id AND i.subscription_id = s.subscription_id
	) v
	WHERE s.status = 'pending' AND s.activate = 'on_payment' AND s.due_at IS NULL;
COMMENT ON VIEW billing.waiting_subscription
	IS 'subscriptions that wait for their first payment, and when they lapse (lapse_at), by the settings as they are: pending_timeout after their invoice was issued; is_pending: it is a draft yet, a part of it was paid or credited, or a payment or an attempt to collect it is under way, so that they wait on';

-- Where a later attempt has been made, one before it is not made any more: the policy was another.  Who is about to pay his first
-- invoice pays it in the way he chose: what he has stored is not charged meanwhile.
CREATE VIEW billing.due_attempt WITH (security_invoker) AS
	SELECT n.tenant_id, n.invoice_id, k.attempt_no, k.due_at, n.amount_due AS amount,
		k.attempt_no = max(k.attempt_no) OVER (PARTITION BY n.tenant_id, n.invoice_id) AS is_last
	FROM billing.dunning_timeline n
	CROSS JOIN LATERAL (
		SELECT a.attempt_no, CASE a.attempt_no WHEN 0 THEN n.due_at
			ELSE billing.after_grace(n.due_at, n.timezone, n.days[a.attempt_no]) END AS due_at
		FROM generate_series(0, n.attempts) AS a (attempt_no)
	) k
	WHERE n.status = 'open' AND n.collection = 'automatic' AND n.due_at <= billing.now() AND k.due_at <= billing.now()
	  AND billing.minor_units(n.amount_due) > 0 AND NOT n.is_pending AND NOT n.is_stopped AND NOT n.is_being_paid
	  AND NOT EXISTS (SELECT FROM billing.collection_attempt a
		WHERE a.tenant_id = n.tenant_id AND a.invoice_id = n.invoice_id AND a.attempt_no >= k.attempt_no);
COMMENT ON VIEW billing.due_attempt
	IS 'attempts of collection that are due at billing.now() and were not made: of several of an invoice the last one (is_last) is made, the others were missed; none of what a person is paying (is_being_paid)';

-- The subscription's own while it is good, else the default; but what is unpaid is collected with a default that was chosen since it was
-- issued, or tried last, or that it was tried with.  What failed for good is the last thing to be tried again.
CREATE FUNCTION billing.collection_method(tenant_id bigint, invoice_id bigint, default_first boolean DEFAULT false)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN m.type <> 'bank_transfer' THEN m.payment_method_id END
	FROM billing.invoice v
	JOIN billing.tenant t ON t.tenant_id = v.tenant_id
	LEFT JOIN billing.subscription s ON s.tenant_id = v.tenant_id AND s.subscription_id = v.subscription_id
	JOIN billing.payment_method m ON m.tenant_id = v.tenant_id AND (m.is_default OR m.payment_method_id = s.payment_method_id)
	JOIN billing.gateway g ON g.code = m.gateway AND g.is_enabled
	LEFT JOIN LATERAL (
		SELECT a.created_at, a.payment_method_id
		FROM billing.collection_attempt a
		WHERE a.tenant_id = v.tenant_id AND a.invoice_id = v.invoice_id AND a.payment_method_id IS NOT NULL
		ORDER BY a.attempt_no DESC, a.retry_no DESC
		LIMIT 1
	) l ON true
	WHERE v.tenant_id = collection_method.tenant_id AND v.invoice_id = collection_method.invoice_id AND m.status = 'active'
	  AND (m.exp_year IS NULL OR billing.month_ends_at(m.exp_year, m.exp_month, t.timezone) > billing.now())
	  AND NOT EXISTS (SELECT FROM billing.payment p JOIN billing.dispute d ON d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id
			WHERE p.tenant_id = v.tenant_id AND p.invoice_id = v.invoice_id AND p.payment_method_id = m.payment_method_id AND d.status = 'lost')
	ORDER BY EXISTS (SELECT FROM billing.collection_attempt h WHERE h.tenant_id = v.tenant_id AND h.invoice_id = v.invoice_id
			AND h.payment_method_id = m.payment_method_id AND h.class = 'hard'),
		m.is_default AND (collection_method.default_first OR coalesce(m.default_at > coalesce(l.created_at, v.issued_at) OR m.payment_method_id = l.payment_method_id, false)) DESC,
		(m.payment_method_id = s.payment_method_id) IS TRUE DESC
	LIMIT 1;
END;
COMMENT ON FUNCTION billing.collection_method(bigint, bigint, boolean)
	IS 'the payment_method_id that an invoice is collected with at billing.now(): that of its subscription while it is active and has not expired, else the default; the default where default_first says so, where it was chosen since the last attempt (since the invoice was issued, if there was none), or was what that was made with; one that has failed for good (class hard) for this invoice only if there is no other, and one by which a payment of it was disputed and lost not at all; NULL: none can be charged, or it is a bank transfer, which the payer makes';

-- What was due of the timetable meanwhile goes before another retry.
CREATE VIEW billing.next_attempt WITH (security_invoker) AS
	SELECT n.tenant_id, n.invoice_id, k.attempt_no, k.retry_no, k.due_at, n.amount_due AS amount, k.is_last
	FROM billing.dunning_timeline n
	CROSS JOIN LATERAL (
		SELECT a.attempt_no, a.retry_no, a.status
		FROM billing.collection_attempt a
		WHERE a.tenant_id = n.tenant_id AND a.invoice_id = n.invoice_id
		ORDER BY a.attempt_no DESC, a.retry_no DESC
		LIMIT 1
	) a
	CROSS JOIN LATERAL (
		SELECT d.attempt_no, 0 AS retry_no, d.due_at, d.attempt_no = max(d.attempt_no) OVER () AS is_last
		FROM (
			SELECT g.no AS attempt_no, billing.after_grace(n.due_at, n.timezone, n.days[g.no]) AS due_at
			FROM generate_series(a.attempt_no + 1, n.attempts) AS g (no)
		) d
		WHERE d.due_at <= billing.now()
		UNION ALL
		SELECT a.attempt_no, a.retry_no + 1, billing.now(), true
		WHERE a.attempt_no >= n.attempts
		   OR billing.after_grace(n.due_at, n.timezone, n.days[a.attempt_no + 1]) > billing.now()
	) k
	WHERE n.status = 'open' AND n.collection = 'automatic' AND a.status = 'failed' AND billing.minor_units(n.amount_due) > 0;
COMMENT ON VIEW billing.next_attempt
	IS 'attempts of collection as billing.retry_payment makes them of an open invoice whose last one failed, for good or not: those of the timetable that are due at billing.now(), of which the last one (is_last) is made, else a retry';

CREATE FUNCTION billing.retry_at(timeline billing.dunning_timeline, attempt_no integer, retry_no integer, next_attempt interval)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN retry_no < (timeline).retries AND billing.now() + next_attempt <
	CASE WHEN attempt_no < (timeline).attempts
		THEN billing.after_grace((timeline).due_at, (timeline).timezone, (timeline).days[attempt_no + 1]) ELSE (timeline).ends_at END
	THEN billing.now() + next_attempt END;
COMMENT ON FUNCTION billing.retry_at(billing.dunning_timeline, integer, integer, interval)
	IS 'when an attempt that fails at billing.now() is tried again: next_attempt later, if that is before the next attempt of the timetable, or before its end, and the policy has retries left; NULL: not';

CREATE VIEW billing.due_retry WITH (security_invoker) AS
	SELECT a.tenant_id, a.invoice_id, a.attempt_no, a.retry_no + 1 AS retry_no, a.retry_at AS due_at, n.amount_due AS amount, true AS is_last
	FROM billing.collection_attempt a
	JOIN billing.dunning_timeline n ON n.tenant_id = a.tenant_id AND n.invoice_id = a.invoice_id
	WHERE a.retry_at <= billing.now() AND n.status = 'open' AND n.collection = 'automatic'
	  AND billing.now() < CASE WHEN a.attempt_no < n.attempts THEN billing.after_grace(n.due_at, n.timezone, n.days[a.attempt_no + 1])
		ELSE n.ends_at END
	  AND billing.minor_units(n.amount_due) > 0 AND NOT n.is_pending AND NOT n.is_stopped AND NOT n.is_being_paid
	  AND NOT EXISTS (SELECT FROM billing.waiting_subscription w
		WHERE w.tenant_id = n.tenant_id AND w.subscription_id = n.subscription_id AND w.lapse_at <= billing.now() AND NOT w.is_pending)
	  AND NOT EXISTS (SELECT FROM billing.collection_attempt o WHERE o.tenant_id = a.tenant_id AND o.invoice_id = a.invoice_id
		AND (o.attempt_no, o.retry_no) > (a.attempt_no, a.retry_no));
COMMENT ON VIEW billing.due_retry
	IS 'attempts of collection that failed and are to be tried again at or before billing.now(), as the rows that this adds to billing.collection_attempt; not where the next attempt of the timetable is due by now, what waited for its first payment is to lapse, or a person is paying it (is_being_paid)';
