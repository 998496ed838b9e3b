
-- grants: every GRANT and REVOKE of the extension, on one screen -----------

-- PUBLIC has nothing, whatever ALTER DEFAULT PRIVILEGES gave it.  What it gave to
-- a role by name stays: that was somebody's decision, and the role still needs
-- USAGE of the schema.

REVOKE ALL ON SCHEMA billing FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA billing FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA billing FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA billing FROM PUBLIC;
REVOKE ALL ON TYPE billing.amount, billing.tariff, billing.sealed FROM PUBLIC;
REVOKE ALL ON ROUTINE pg_catalog.sum(billing.amount), pg_catalog.avg(billing.amount),
	pg_catalog.min(billing.amount), pg_catalog.max(billing.amount) FROM PUBLIC;
