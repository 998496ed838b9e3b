
-- access: what a role of the user's may do ---------------------------------------

-- What reads no table gives nothing away, nor what reads as whoever calls it: every
-- reader may call the immutable functions, the aggregates, and the stable ones in SQL
-- that have no owner's rights.  All else is named here, or is the admin's alone.
CREATE VIEW billing.access_privilege WITH (security_invoker) AS
	WITH member AS (
		SELECT d.classid, d.objid
		FROM pg_catalog.pg_depend d
			JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
		WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'billing'
	), routine AS (
		SELECT p.oid, n.nspname, p.proname, p.provolatile = 'i' OR p.prokind = 'a'
				OR (p.provolatile = 's' AND NOT p.prosecdef AND l.lanname = 'sql') AS is_open,
			format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS signature
		FROM member m
			JOIN pg_catalog.pg_proc p ON p.oid = m.objid
			JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
			JOIN pg_catalog.pg_language l ON l.oid = p.prolang
		WHERE m.classid = 'pg_catalog.pg_proc'::regclass AND (p.prorettype <> 'trigger'::regtype OR p.proname = 'enforce_limit')
	), named (level, kind, privileges, names) AS (
		VALUES ('reader', 'schema', 'USAGE', '{billing}'::text[]),
			('reader', 'type', 'USAGE', '{amount,sealed,tariff}'),
			('reader', 'table', 'SELECT', '{audit_log,calculation_log,counter,credit_grant,feature,invoice,invoice_item,invoice_tax,meter,payment,plan,
				price,price_correction,request,rerated_line,setting,strategy,subscription,subscription_change,subscription_threshold,tax_rate,tenant,transaction,usage_correction,usage_event,usage_floor,
				usage_horizon,usage_late,usage_period,usage_rollup}'),
			('reader', 'table', 'SELECT', '{gateway_customer,payment_method,payment_method_change,payment_method_list}'),
			('reader', 'table', 'SELECT', '{coupon,coupon_redemption,coupon_usage,coupon_use}'),
			('reader', 'table', 'SELECT', '{credit_note,credit_note_item,credit_note_tax,dispute,refund}'),
			('reader', 'table', 'SELECT', '{gateway_event,gateway_request}'),
			('reader', 'table', 'SELECT', '{mirrored_subscription}'),
			('reader', 'table', 'SELECT', '{gateway_movement,settlement_line,unposted_fee}'),
			('reader', 'table', 'SELECT', '{wallet_entry,wallet_history}'),
			('reader', 'table', 'SELECT', '{entitlement,entitlement_limit,entitlement_override}'),
			('reader', 'table', 'SELECT', '{due_part,set_aside}'),
			('reader', 'table', 'SELECT', '{event,event_type,webhook_delivery}'),
			('reader', 'table', 'SELECT', '{notice_kind,notice_letter,notice_template,notice_template_default,notice_text,notification,reminder,reminder_due,reminder_lead}'),
			('reader', 'table', 'SELECT', '{collection_attempt,decline_code,decline_code_default,due_attempt,due_freeze,due_retry,dunning_next,
				dunning_policy,dunning_timeline,invoice_dunning,next_attempt,overdue_invoice,overdue_subscription,waiting_subscription}'),
			('reader', 'table', 'SELECT', '{access_privilege,ledger_entry,setting_default,state_transition,usage_status}'),
			('reader', 'table', 'SELECT', '{payment_figures,transaction_history,trial_balance}'),
			('reader', 'routine', 'EXECUTE', '{charge_strategy,effective_setting,format,format_date,is_locale,now}'),
			('reader', 'routine', 'EXECUTE', '{daily_usage,usage,usage_timezone}'),
			('reader', 'routine', 'EXECUTE', '{days_remaining,get_active_subscription,is_expired,is_trial,next_billing_date}'),
			('reader', 'routine', 'EXECUTE', '{choose_taxes,explain_invoice,find_invoice,find_payment,manual_lines,pending_invoices,preview_invoice,verify_invoice}'),
			('reader', 'routine', 'EXECUTE', '{creditable_lines,explain_credit_note,invoice_funds,tenant_statement}'),
			('reader', 'routine', 'EXECUTE', '{validate_coupon}'),
			('reader', 'routine', 'EXECUTE', '{last4,require_gateway}'),
			('reader', 'routine', 'EXECUTE', '{wallet_balance}'),
			('reader', 'routine', 'EXECUTE', '{check_limit,feature_limit,has_feature,spend}'),
			('app', 'parameter', 'SET', '{billing.tenant_id}'),
			-- When it was recorded is for us to say: at may not be far ahead of it, and it tells what came late.
			('app', 'table', 'INSERT (tenant_id, event_id, meter, quantity, at, properties, subscription_id)', '{usage_event}'),
			('app', 'routine', 'EXECUTE', '{next_id,seal}'),
			('app', 'routine', 'EXECUTE', '{close_tenant,create_tenant,update_tenant}'),
			('app', 'routine', 'EXECUTE', '{cancel_subscription,extend_subscription,reactivate_subscription,renew_subscription,
				set_usage_thresholds,subscribe,update_subscription}'),
			('app', 'routine', 'EXECUTE', '{add_addon,cancel_scheduled_change,change_plan,pause_subscription,preview_change,
				remove_addon,resume_subscription}'),
			('app', 'routine', 'EXECUTE', '{cancel_usage,correct_usage,record_usage}'),
			('app', 'routine', 'EXECUTE', '{add_item,build_invoice,create_invoice,finalize_invoice,mark_uncollectible,rebuild_invoice,
				record_payment,void_invoice}'),
			('app', 'routine', 'EXECUTE', '{cancel_payment,confirm_payment,create_payment,fail_payment,pay_invoice,payment_client_secret,resync_payment}'),
			('app', 'routine', 'EXECUTE', '{receive_callback,verify_callback}'),
			('app', 'routine', 'EXECUTE', '{resync_subscription}'),
			('app', 'routine', 'EXECUTE', '{add_payment_method,remove_payment_method,set_default_payment_method,update_payment_method}'),
			('app', 'routine', 'EXECUTE', '{apply_coupon,remove_coupon}'),
			('app', 'routine', 'EXECUTE', '{resend_notice}'),
			('app', 'routine', 'EXECUTE', '{redeliver}'),
			('app', 'routine', 'EXECUTE', '{cancel_refund,fail_refund,issue_credit_note,record_refund,refund_payment,retry_refund}'),
			('app', 'routine', 'EXECUTE', '{enforce_expiration,enforce_limit,fail_attempt,freeze_tenant,override_entitlement,refresh_entitlements,remove_override,retry_payment,unfreeze_tenant}'),
			('app', 'routine', 'EXECUTE', '{consume,grant_credit,top_up,use_first_free,use_service,void_grant}'),
			('admin', 'table', 'INSERT', '{usage_event}'),
			('admin', 'table', 'INSERT, UPDATE, DELETE', '{coupon,webhook_endpoint}'),
			('admin', 'table', 'INSERT, UPDATE, DELETE', '{notice_template}'),
			('admin', 'table', 'INSERT, UPDATE, DELETE', '{job}'),
			('admin', 'table', 'INSERT, UPDATE, DELETE', '{decline_code,dunning_policy}'),
			('admin', 'table', 'DELETE', '{set_aside,settlement_line}'),
			('admin', 'table', 'INSERT, UPDATE, DELETE', '{feature,meter,plan,price,setting,tax_rate}')
	)
	SELECT n.level, n.kind, o.name AS object, n.privileges, NULL::oid AS object_oid
	FROM named n
		CROSS JOIN unnest(n.names) AS o (name)
	WHERE n.kind IN ('schema', 'parameter')
	UNION ALL
	SELECT n.level, n.kind, format('billing.%I', o.name), n.privileges, c.oid
	FROM named n
		CROSS JOIN unnest(n.names) AS o (name)
		JOIN pg_catalog.pg_class c ON c.relname = o.name AND c.relnamespace = 'billing'::regnamespace
	WHERE n.kind = 'table'
	UNION ALL
	SELECT 'admin', 'table', format('billing.%I', c.relname), 'SELECT', c.oid
	FROM member m
		JOIN pg_catalog.pg_class c ON c.oid = m.objid
	WHERE m.classid = 'pg_catalog.pg_class'::regclass AND c.relkind IN ('r', 'v')
	UNION ALL
	SELECT n.level, n.kind, format('billing.%I', o.name), n.privileges, t.oid
	FROM named n
		CROSS JOIN unnest(n.names) AS o (name)
		JOIN pg_catalog.pg_type t ON t.typname = o.name AND t.typnamespace = 'billing'::regnamespace
	WHERE n.kind = 'type'
	UNION ALL
	SELECT coalesce(CASE WHEN r.is_open THEN 'reader' END, n.level, 'admin'), 'routine', r.signature, 'EXECUTE', r.oid
	FROM routine r
		LEFT JOIN (named n CROSS JOIN unnest(n.names) AS o (name))
		ON n.kind = 'routine' AND o.name = r.proname AND r.nspname = 'billing';
COMMENT ON VIEW billing.access_privilege
	IS 'what grant_access gives: level (reader, app or admin; each has what those before it have), kind of object (schema, type, table, routine, parameter), its name and the privileges';

CREATE FUNCTION billing.grant_access(role text, level text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_grant_access';
COMMENT ON FUNCTION billing.grant_access(text, text)
	IS 'gives an existing role what access_privilege lists for a level: reader sees, app also calls what acts, both for the one tenant that setting billing.tenant_id names; admin, which only a superuser gives, is exempt from row security and writes the global tables; to lower a level, revoke_access first; raises 42704 unknown role, 22023 unknown level, 42501, 22004';

CREATE FUNCTION billing.revoke_access(role text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_revoke_access';
COMMENT ON FUNCTION billing.revoke_access(text)
	IS 'takes from a role all that grant_access gives at any level, and from one that bypasses row security that too, which only a superuser may; raises 42704 unknown role, 42501, 22004';
