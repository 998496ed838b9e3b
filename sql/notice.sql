
-- notice: what a tenant is told by mail ----------------------------------------------------

CREATE FUNCTION billing.fill_template(template text, variables jsonb, form text DEFAULT 'text')
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_fill_template';
COMMENT ON FUNCTION billing.fill_template(text, jsonb, text)
	IS 'a template with the members of variables in the places of their names, as {{due_date}}; what variables has not is empty; form is text, html (a value''s & < > " and '' are escaped) or header (a control character of a value is a blank, so that it adds no line); 22023 unknown form';

CREATE FUNCTION billing.is_notice_on(kind text, notices text)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_notice_on';
COMMENT ON FUNCTION billing.is_notice_on(text, text)
	IS 'whether a value of the setting notices (all, none, or kinds with a comma between them) names a kind';

CREATE FUNCTION billing.is_notice_template(kind text, template text, is_header boolean DEFAULT false)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_notice_template';
COMMENT ON FUNCTION billing.is_notice_template(text, text, boolean)
	IS 'true of a text that notices of a kind may have: each placeholder is one that they fill, and a header has one line; raises 22023 of anything else';

CREATE FUNCTION billing.notice_kinds(OUT kind text, OUT object text, OUT event text, OUT placeholders text, OUT description text)
RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 7
AS 'MODULE_PATHNAME', 'billing_notice_kinds';
COMMENT ON FUNCTION billing.notice_kinds()
	IS 'every kind of notice there is: one row each, as the view notice_kind shows them';

CREATE VIEW billing.notice_kind WITH (security_invoker) AS
	SELECT kind, object, event, placeholders, description
	FROM billing.notice_kinds();
COMMENT ON VIEW billing.notice_kind
	IS 'every kind of notice there is: the table its object is of, the event that tells applications the same, the names that a template of it may have in {{}}, and when it is written';

-- One row for each thing a tenant was told of: its key makes it one, whoever writes it, and
-- however often.  While it waits, next_attempt_at is when it may be sent; who takes it sets that
-- ahead, so that it comes back if the sender is gone before it could say what became of it.
CREATE TABLE billing.notification (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	notification_id	bigint NOT NULL DEFAULT billing.next_id(),
	kind			text COLLATE "C" NOT NULL
					CONSTRAINT notification_kind_is_known CHECK (kind IN ('expiry_reminder', 'invoice', 'invoice_due',
						'payment_method_expiring', 'receipt', 'renewal_reminder', 'trial_ending')),
	object_id		bigint NOT NULL,
	occasion		timestamptz NOT NULL,
	status			text COLLATE "C" NOT NULL DEFAULT 'waiting'
					CONSTRAINT notification_status_is_known CHECK (status IN ('waiting', 'sent', 'failed', 'expired', 'skipped')),
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	expires_at		timestamptz NOT NULL,
	attempts		integer NOT NULL DEFAULT 0 CONSTRAINT notification_attempts_are_not_negative CHECK (attempts >= 0),
	resends			integer NOT NULL DEFAULT 0 CONSTRAINT notification_resends_are_not_negative CHECK (resends >= 0),
	next_attempt_at	timestamptz DEFAULT billing.now(),
	recipient		text,
	locale			text COLLATE "C",
	sent_at			timestamptz,
	error			text,
	PRIMARY KEY (tenant_id, notification_id),
	CONSTRAINT notification_is_once UNIQUE (tenant_id, kind, object_id, occasion),
	CONSTRAINT notification_waiting_has_instant CHECK ((status = 'waiting') = (next_attempt_at IS NOT NULL)),
	CONSTRAINT notification_sent_has_instant CHECK (status <> 'sent' OR sent_at IS NOT NULL)
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.notification
	IS 'notices to tenants: what of (kind, object_id, occasion), and what became of the mail; one whose notice is off, or that has nobody to go to, is skipped; written by the functions that remind and by the sender';
COMMENT ON COLUMN billing.notification.tenant_id IS 'who is told';
COMMENT ON COLUMN billing.notification.notification_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.notification.kind IS 'one of billing.notice_kind';
COMMENT ON COLUMN billing.notification.object_id IS 'of which subscription, invoice, payment or payment method: billing.notice_kind says which table';
COMMENT ON COLUMN billing.notification.occasion IS 'the instant that it is about: where the period or trial ends, the invoice is due, it was issued, the payment was recorded, or the payment method expires';
COMMENT ON COLUMN billing.notification.status IS 'waiting, sent (a mail server took it), failed, expired (it came too late) or skipped';
COMMENT ON COLUMN billing.notification.expires_at IS 'from then on it is not sent any more';
COMMENT ON COLUMN billing.notification.attempts IS 'how often it was given to the sender, since resend_notice() if that was called';
COMMENT ON COLUMN billing.notification.resends IS 'how often resend_notice() was called: each is another mail, with a Message-ID of its own';
COMMENT ON COLUMN billing.notification.next_attempt_at IS 'of one that waits: when it is sent, or, if the sender has it, when that is thought to be lost';
COMMENT ON COLUMN billing.notification.recipient IS 'where it went, the last time';
COMMENT ON COLUMN billing.notification.locale IS 'how it was written, the last time';
COMMENT ON COLUMN billing.notification.sent_at IS 'when a mail server took it';
COMMENT ON COLUMN billing.notification.error IS 'why it failed, the last time, or why it was skipped; NULL: nothing went wrong';
SELECT pg_catalog.pg_extension_config_dump('billing.notification', '');

CREATE INDEX notification_waiting ON billing.notification (next_attempt_at, tenant_id, notification_id) WHERE status = 'waiting';

CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, notification_id, kind, object_id, occasion ON billing.notification
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('What a tenant was told of stays what it was.');
CREATE TRIGGER notification_state_guard BEFORE UPDATE OF status ON billing.notification
	FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION billing.state_guard('notification');

ALTER TABLE billing.notification ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.notification
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE TABLE billing.notice_template (
	kind		text COLLATE "C" NOT NULL,
	language	text COLLATE "C" NOT NULL
				CONSTRAINT notice_template_language_is_tag CHECK (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
	subject		text NOT NULL CONSTRAINT notice_template_subject_is_not_empty CHECK (subject <> ''),
	body		text NOT NULL CONSTRAINT notice_template_body_is_not_empty CHECK (body <> ''),
	html		text,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user,
	PRIMARY KEY (kind, language),
	CONSTRAINT notice_template_is_valid CHECK (billing.is_notice_template(kind, subject, true)
		AND billing.is_notice_template(kind, body) AND coalesce(billing.is_notice_template(kind, html), true))
);
COMMENT ON TABLE billing.notice_template
	IS 'templates of this installation, in the place of those of billing.notice_template_default or in other languages';
COMMENT ON COLUMN billing.notice_template.kind IS 'one of billing.notice_kind';
COMMENT ON COLUMN billing.notice_template.language IS 'BCP 47: of tenants whose locale is this or begins so; zh is also for zh-Hans-CN';
COMMENT ON COLUMN billing.notice_template.subject IS 'one line, with placeholders';
COMMENT ON COLUMN billing.notice_template.body IS 'plain text, with placeholders';
COMMENT ON COLUMN billing.notice_template.html IS 'the same in HTML; NULL: the mail has plain text alone';
SELECT pg_catalog.pg_extension_config_dump('billing.notice_template', '');

CREATE TRIGGER notice_template_audit
AFTER UPDATE OR DELETE ON billing.notice_template
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('kind', 'language');

CREATE FUNCTION billing.notice_template_defaults(OUT kind text, OUT language text, OUT subject text, OUT body text, OUT html text)
RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 14
AS 'MODULE_PATHNAME', 'billing_notice_template_defaults';
COMMENT ON FUNCTION billing.notice_template_defaults()
	IS 'the templates that come with the extension: one row each, as the view notice_template_default shows them';

CREATE VIEW billing.notice_template_default WITH (security_invoker) AS
	SELECT kind, language, subject, body, html
	FROM billing.notice_template_defaults();
COMMENT ON VIEW billing.notice_template_default
	IS 'the templates that come with the extension, in English (en) and, where the encoding of the database has its characters, Chinese (zh): what a notice says where billing.notice_template has nothing for its kind and language';

-- The language of a locale is what its tag begins with, the longest there is; where none is, English.  Not STRICT, so that it becomes
-- part of the query that calls it, and is looked up once for many.
CREATE FUNCTION billing.choose_notice_template(kind text, locale text, OUT language text, OUT subject text, OUT body text, OUT html text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
	SELECT t.language, t.subject, t.body, t.html
	FROM (
		SELECT o.language, o.subject, o.body, o.html, true AS is_own
		FROM billing.notice_template o WHERE o.kind = choose_notice_template.kind
		UNION ALL
		SELECT d.language, d.subject, d.body, d.html, false
		FROM billing.notice_template_default d WHERE d.kind = choose_notice_template.kind
	) t
	WHERE t.language = 'en' OR starts_with(lower(replace(choose_notice_template.locale, '_', '-')) || '-', lower(t.language) || '-')
	ORDER BY starts_with(lower(replace(choose_notice_template.locale, '_', '-')) || '-', lower(t.language) || '-') DESC,
		length(t.language) DESC, t.is_own DESC
	LIMIT 1;
END;
COMMENT ON FUNCTION billing.choose_notice_template(text, text)
	IS 'the template of a kind of notice for a locale (BCP 47): that whose language is the longest that the locale begins with, an own one before a default one; else the English one; no row for an unknown kind';

-- What tenants can be reminded of, as things are: occasion is the instant, due_at is in an
-- index and no later, since is where what ends then began.  An invoice that dunning has come to is due.
CREATE VIEW billing.reminder WITH (security_invoker) AS
	SELECT 'trial_ending' AS kind, s.tenant_id, s.subscription_id AS object_id, s.plan_id, s.due_at, s.trial_end AS occasion,
		NULL::timestamptz AS since
	FROM billing.subscription s
	WHERE s.status = 'trialing' AND s.due_at IS NOT NULL AND (s.cancel_at IS NULL OR s.cancel_at > s.trial_end)
	UNION ALL
	SELECT 'renewal_reminder', s.tenant_id, s.subscription_id, s.plan_id, s.due_at, s.period_end, s.period_start
	FROM billing.subscription s
	WHERE s.status IN ('active', 'past_due') AND s.due_at IS NOT NULL AND s.auto_renew AND s.cancel_at IS NULL
	UNION ALL
	SELECT 'expiry_reminder', s.tenant_id, s.subscription_id, s.plan_id, s.due_at, s.period_end, s.period_start
	FROM billing.subscription s
	WHERE s.status IN ('active', 'past_due') AND s.due_at IS NOT NULL AND NOT s.auto_renew AND s.cancel_at IS NULL
	UNION ALL
	SELECT 'invoice_due', v.tenant_id, v.invoice_id, v.plan_id, v.due_at, v.due_at, v.issued_at
	FROM billing.invoice v
	WHERE v.status = 'open' AND v.dunning_at IS NULL AND billing.minor_units(v.amount_due) > 0
	UNION ALL
	SELECT 'payment_method_expiring', m.tenant_id, m.payment_method_id, NULL, billing.month_ends_at(m.exp_year, m.exp_month, 'UTC-14'),
		billing.month_ends_at(m.exp_year, m.exp_month, t.timezone), m.created_at
	FROM billing.payment_method m
	JOIN billing.tenant t ON t.tenant_id = m.tenant_id
	WHERE m.status = 'active' AND m.exp_year IS NOT NULL;
COMMENT ON VIEW billing.reminder
	IS 'what a tenant can be reminded of: trials, subscriptions that renew or expire, open invoices, payment methods that expire; at occasion something happens, since is when what ends there began (NULL: it does not matter)';

CREATE VIEW billing.reminder_lead WITH (security_invoker) AS
	SELECT n.setting, d.days
	FROM (VALUES ('invoice_reminder_days'), ('payment_method_reminder_days'), ('renewal_reminder_days'), ('trial_reminder_days')) n (setting)
	CROSS JOIN LATERAL (
		SELECT billing.effective_setting(n.setting)::integer
		UNION
		SELECT (p.settings ->> n.setting)::integer FROM billing.plan p WHERE p.settings ? n.setting
	) d (days)
	WHERE d.days > 0;
COMMENT ON VIEW billing.reminder_lead
	IS 'how many days ahead reminders come: each number that the installation or a plan gives the setting, but 0';

-- No reminder is earlier than the longest that anybody wants: so far one index tells which there are.
CREATE FUNCTION billing.reminder_horizon()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT billing.now() + make_interval(days => 1 + max(l.days)) FROM billing.reminder_lead l;
END;
COMMENT ON FUNCTION billing.reminder_horizon()
	IS 'what happens later than this instant is no reminder''s yet: the settings invoice_reminder_days, payment_method_reminder_days, renewal_reminder_days and trial_reminder_days of the installation and of any plan, and a day for time zones, from billing.now() on; NULL: nobody wants any';

-- A reminder that would come with the beginning of what it reminds of is none: but of a trial.
CREATE VIEW billing.reminder_due WITH (security_invoker) AS
	WITH installation AS MATERIALIZED (
		SELECT billing.effective_setting('invoice_reminder_days')::integer AS invoice_days,
			billing.effective_setting('payment_method_reminder_days')::integer AS method_days,
			billing.effective_setting('renewal_reminder_days')::integer AS renewal_days,
			billing.effective_setting('trial_reminder_days')::integer AS trial_days,
			billing.effective_setting('notices') AS notices
	)
	SELECT r.kind, r.tenant_id, r.object_id, r.occasion, a.at,
		t.email IS NOT NULL AND billing.is_notice_on(r.kind, coalesce(t.settings ->> 'notices', g.notices)) AS is_mailed
	FROM billing.reminder r
	CROSS JOIN installation g
	JOIN billing.tenant t ON t.tenant_id = r.tenant_id
	LEFT JOIN billing.plan p ON p.plan_id = r.plan_id
	CROSS JOIN LATERAL (
		SELECT CASE r.kind
				WHEN 'invoice_due' THEN coalesce((p.settings ->> 'invoice_reminder_days')::integer, g.invoice_days)
				WHEN 'payment_method_expiring' THEN g.method_days
				WHEN 'trial_ending' THEN coalesce((p.settings ->> 'trial_reminder_days')::integer, g.trial_days)
				ELSE coalesce((p.settings ->> 'renewal_reminder_days')::integer, g.renewal_days) END AS days
	) d
	CROSS JOIN LATERAL (SELECT billing.after_grace(r.occasion, t.timezone, -d.days) AS at) a
	WHERE r.due_at <= (SELECT billing.reminder_horizon()) AND r.occasion > billing.now() AND t.status <> 'closed'
	  AND d.days > 0 AND a.at <= billing.now() AND (r.since < a.at OR r.since IS NULL)
	  AND NOT EXISTS (SELECT FROM billing.notification n
		WHERE n.tenant_id = r.tenant_id AND n.kind = r.kind AND n.object_id = r.object_id AND n.occasion = r.occasion);
COMMENT ON VIEW billing.reminder_due
	IS 'the reminders that are due at billing.now() and were not written: invoice_reminder_days, payment_method_reminder_days, renewal_reminder_days or trial_reminder_days (of the plan, else of the installation; 0: none; days of the tenant''s wall clock) before occasion; at: since when; is_mailed: the tenant has an address and its setting notices names the kind';

CREATE FUNCTION billing.remind(kinds text[], batch integer)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_remind';
COMMENT ON FUNCTION billing.remind(text[], integer)
	IS 'writes the notifications of some kinds that billing.reminder_due lists for the tenants of up to batch of them, each once, those of which no mail is wanted or possible as skipped; passes over tenants that somebody else has locked; returns how many: 0 when nothing is left that can be done; for admins; 22004, 22023';

CREATE FUNCTION billing.remind_renewals(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN billing.remind('{renewal_reminder,expiry_reminder}', remind_renewals.batch);
COMMENT ON FUNCTION billing.remind_renewals(integer)
	IS 'reminds of subscriptions that renew or expire within renewal_reminder_days: see billing.remind()';

CREATE FUNCTION billing.remind_trials(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN billing.remind('{trial_ending}', remind_trials.batch);
COMMENT ON FUNCTION billing.remind_trials(integer)
	IS 'reminds of trials that end within trial_reminder_days: see billing.remind()';

CREATE FUNCTION billing.remind_invoices(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN billing.remind('{invoice_due}', remind_invoices.batch);
COMMENT ON FUNCTION billing.remind_invoices(integer)
	IS 'reminds of open invoices that are due within invoice_reminder_days: see billing.remind()';

CREATE FUNCTION billing.remind_payment_methods(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN billing.remind('{payment_method_expiring}', remind_payment_methods.batch);
COMMENT ON FUNCTION billing.remind_payment_methods(integer)
	IS 'reminds of payment methods that expire within payment_method_reminder_days: see billing.remind()';

-- What is told is what is so when it is written, in the tenant's locale and on its calendar; what
-- is no longer so is not told.
CREATE VIEW billing.notice_letter WITH (security_invoker) AS
	SELECT n.tenant_id, n.notification_id, n.kind, t.email AS recipient, l.locale,
		CASE n.kind
			WHEN 'invoice' THEN v.status NOT IN ('draft', 'void')
			WHEN 'receipt' THEN p.status IN ('succeeded', 'refunded')
			ELSE EXISTS (SELECT FROM billing.reminder r
				WHERE r.tenant_id = n.tenant_id AND r.kind = n.kind AND r.object_id = n.object_id AND r.occasion = n.occasion)
		END IS TRUE AS is_current,
		jsonb_build_object(
			'tenant', coalesce(t.billing_name, t.name),
			'seller', billing.effective_setting('seller', t.settings)::jsonb ->> 'name',
			'plan', coalesce(f.name, f.code),
			'quantity', s.quantity,
			'number', v.number,
			'total', billing.format(v.total, l.locale),
			'amount_due', billing.format(v.amount_due, l.locale),
			'issue_date', billing.format_date((v.issued_at AT TIME ZONE t.timezone)::date, l.locale),
			'due_date', billing.format_date((v.due_at AT TIME ZONE t.timezone)::date, l.locale),
			'amount', billing.format(p.amount, l.locale),
			'method', CASE WHEN n.kind = 'payment_method_expiring' THEN concat_ws(' ', coalesce(m.brand, m.type), billing.last4(m.tenant_id, m.last4))
				ELSE p.method END,
			'pay_no', p.pay_no,
			'date', billing.format_date((CASE n.kind WHEN 'receipt' THEN p.received_at ELSE n.occasion END AT TIME ZONE t.timezone)::date
				- CASE n.kind WHEN 'payment_method_expiring' THEN 1 ELSE 0 END, l.locale)
		) AS variables
	FROM billing.notification n
	JOIN billing.tenant t ON t.tenant_id = n.tenant_id
	CROSS JOIN LATERAL (SELECT CASE WHEN billing.is_locale(t.locale) THEN t.locale ELSE 'en' END AS locale OFFSET 0) l
	LEFT JOIN billing.payment p ON n.kind = 'receipt' AND p.tenant_id = n.tenant_id AND p.payment_id = n.object_id
	LEFT JOIN billing.payment_method m ON n.kind = 'payment_method_expiring' AND m.tenant_id = n.tenant_id AND m.payment_method_id = n.object_id
	LEFT JOIN billing.invoice v ON v.tenant_id = n.tenant_id AND v.invoice_id = CASE WHEN n.kind = 'receipt' THEN p.invoice_id
		WHEN n.kind IN ('invoice', 'invoice_due') THEN n.object_id END
	LEFT JOIN billing.subscription s ON s.tenant_id = n.tenant_id AND s.subscription_id = CASE
		WHEN n.kind IN ('trial_ending', 'renewal_reminder', 'expiry_reminder') THEN n.object_id ELSE v.subscription_id END
	LEFT JOIN billing.plan f ON f.plan_id = coalesce(v.plan_id, s.plan_id);
COMMENT ON VIEW billing.notice_letter
	IS 'of each notification what its mail would say by now: to whom, in which locale, and what its placeholders are (variables); is_current: what it tells is still so';

CREATE VIEW billing.notice_text WITH (security_invoker) AS
	SELECT w.tenant_id, w.notification_id, w.recipient, w.locale, m.language, w.is_current, billing.fill_template(m.subject, w.variables, 'header') AS subject,
		billing.fill_template(m.body, w.variables, 'text') AS body, billing.fill_template(m.html, w.variables, 'html') AS html
	FROM billing.notice_letter w
	CROSS JOIN LATERAL billing.choose_notice_template(w.kind, w.locale) m;
COMMENT ON VIEW billing.notice_text
	IS 'of each notification its mail as it would be sent by now: see billing.show_notice()';

CREATE FUNCTION billing.show_notice(tenant_id bigint, notification_id bigint, OUT recipient text, OUT locale text, OUT language text,
	OUT is_current boolean, OUT subject text, OUT body text, OUT html text)
RETURNS SETOF record
LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 1
BEGIN ATOMIC
	SELECT x.recipient, x.locale, x.language, x.is_current, x.subject, x.body, x.html
	FROM billing.notice_text x
	WHERE x.tenant_id = show_notice.tenant_id AND x.notification_id = show_notice.notification_id;
END;
COMMENT ON FUNCTION billing.show_notice(bigint, bigint)
	IS 'a notification as its mail would be sent by now: to whom, the tenant''s locale, the language of the template, whether what it tells is still so, subject, plain text and HTML (NULL: none); no row if there is no such notification';

CREATE FUNCTION billing.mail_message(sender text, recipient text, subject text, body text, html text, message_id text, at timestamptz)
RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_mail_message';
COMMENT ON FUNCTION billing.mail_message(text, text, text, text, text, text, timestamptz)
	IS 'a mail as a mail server gets it, by RFC 5322 and MIME: sender is an address or a name and one in brackets, recipient an address, html NULL for plain text alone, message_id an identifier with a host behind an @, at the instant of its header Date; lines end with CR LF, and what is not ASCII is encoded; NULL for another argument that is NULL; 22023 no address, or a line break or another control character in what becomes a header, 22008 an instant before 1900';

CREATE FUNCTION billing.delete_old_notices(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_delete_old_notices';
COMMENT ON FUNCTION billing.delete_old_notices(integer)
	IS 'deletes notifications that could be sent until more than setting notice_retention_days ago (expires_at), batch of them at most, whatever became of them; no reminder is written again, since what it was about is past; returns how many: 0 when none is left that nobody works on; raises 22004, 22023';

CREATE FUNCTION billing.resend_notice(tenant_id bigint, notification_id bigint, request_id text DEFAULT NULL)
RETURNS billing.notification
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_resend_notice';
COMMENT ON FUNCTION billing.resend_notice(bigint, bigint, text)
	IS 'lets a notification be sent (again) at once, whether it was sent, failed, expired, was skipped or waits for its next attempt, and be tried for 30 days, as a mail of its own (another Message-ID), and returns it; what is no longer so is not told all the same; raises YB001, YB006, YB015, 22004';
