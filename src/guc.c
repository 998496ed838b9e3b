/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  Every setting of the extension, in alphabetical order.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "clock.h"
#include "guc.h"
#include "id.h"
#include "mail.h"
#include "mime.h"

char	   *billing_ca_file;
char	   *billing_databases;
int			billing_gateway_timeout = 30000;
int			billing_http_connect_timeout = 5000;
int			billing_http_max_in_flight = 256;
char	   *billing_key_file;
int			billing_max_workers = 1;
int			billing_node;
char	   *billing_smtp_from;
int			billing_smtp_max_in_flight = 10;
char	   *billing_smtp_password;
int			billing_smtp_timeout = 60000;
int			billing_smtp_tls = BILLING_MAIL_TLS_REQUIRED;
char	   *billing_smtp_url;
char	   *billing_smtp_user;
char	   *billing_tenant_id;
char	   *billing_test_clock;
bool		billing_webhook_allow_private = false;
int			billing_webhook_max_per_endpoint = 32;
int			billing_webhook_timeout = 20000;

static const struct config_enum_entry smtp_tls_options[] = {
	{"required", BILLING_MAIL_TLS_REQUIRED, false},
	{"optional", BILLING_MAIL_TLS_OPTIONAL, false},
	{"off", BILLING_MAIL_TLS_OFF, false},
	{NULL, 0, false}
};

static void define_mail_settings(void);
static void define_session_settings(void);
static void define_webhook_settings(void);
static void check_not_too_late(void);
static bool check_smtp_from(char **newval, void **extra, GucSource source);
static bool check_smtp_password(char **newval, void **extra, GucSource source);
static bool check_smtp_url(char **newval, void **extra, GucSource source);
static bool check_databases(char **newval, void **extra, GucSource source);
static bool check_tenant_id(char **newval, void **extra, GucSource source);

void
billing_guc_init(void)
{
	check_not_too_late();

	DefineCustomStringVariable("billing.ca_file",
							   "File with the certificates of the authorities that the hosts of webhooks and mail are trusted by.",
							   "PEM; empty: the system's.",
							   &billing_ca_file,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);

	DefineCustomStringVariable("billing.databases",
							   "Databases in which the worker and the sender run.",
							   "Names separated by commas, as they are written in pg_database; empty: none.",
							   &billing_databases,
							   "",
							   PGC_SIGHUP,
							   GUC_LIST_INPUT,
							   check_databases, NULL, NULL);

	DefineCustomIntVariable("billing.gateway_timeout",
							"How long a payment gateway may take to answer.",
							"Behind it what became of the request is asked for.",
							&billing_gateway_timeout,
							30000, 1, 600 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("billing.http_connect_timeout",
							"How long finding a host, connecting to it and agreeing on TLS may take.",
							NULL,
							&billing_http_connect_timeout,
							5000, 1, 3600 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("billing.http_max_in_flight",
							"How many requests may be under way at a time.",
							"As many again may wait for hosts that are slow.",
							&billing_http_max_in_flight,
							256, 1, 10000,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomStringVariable("billing.key_file",
							   "File with the keys that billing.seal() uses.",
							   "Each line is a key id and 64 hexadecimal digits; the first line seals, all of them open.",
							   &billing_key_file,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);

	DefineCustomIntVariable("billing.max_workers",
							"How many processes a bill run may use, with its own.",
							"The others are taken from max_worker_processes.",
							&billing_max_workers,
							1, 1, BILLING_MAX_WORKERS,
							PGC_SUSET,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("billing.node",
							"Number of this node, kept in the high bits of ids.",
							"0 on one machine, so that ids count 1, 2, 3.",
							&billing_node,
							0, 0, BILLING_NODE_MAX,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);

	define_mail_settings();
	define_session_settings();
	define_webhook_settings();

	MarkGUCPrefixReserved("billing");
}

static void
define_mail_settings(void)
{
	DefineCustomStringVariable("billing.smtp_from",
							   "Who mails of notices are from.",
							   "An address, or a name and one: Example Ltd <billing@example.com>; empty: no mail is sent.",
							   &billing_smtp_from,
							   "",
							   PGC_SIGHUP,
							   0,
							   check_smtp_from, NULL, NULL);

	DefineCustomIntVariable("billing.smtp_max_in_flight",
							"How many mails may be given to the mail server at a time.",
							NULL,
							&billing_smtp_max_in_flight,
							10, 1, 1000,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);

	DefineCustomStringVariable("billing.smtp_password",
							   "Password of the mail server, sealed.",
							   "What billing.seal(0, 'smtp_password', ...) returns; empty: none.",
							   &billing_smtp_password,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY,
							   check_smtp_password, NULL, NULL);

	DefineCustomIntVariable("billing.smtp_timeout",
							"How long giving a mail to the mail server may take.",
							NULL,
							&billing_smtp_timeout,
							60000, 1000, 3600 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomEnumVariable("billing.smtp_tls",
							 "Whether a connection to the mail server is encrypted by STARTTLS.",
							 "required: or no mail is sent; optional: if the server offers it; off: never. One of smtps is always.",
							 &billing_smtp_tls,
							 BILLING_MAIL_TLS_REQUIRED, smtp_tls_options,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);

	DefineCustomStringVariable("billing.smtp_url",
							   "Mail server that notices are sent by.",
							   "smtp://mail.example.com:587 or smtps://mail.example.com; empty: no mail is sent.",
							   &billing_smtp_url,
							   "",
							   PGC_SIGHUP,
							   0,
							   check_smtp_url, NULL, NULL);

	DefineCustomStringVariable("billing.smtp_user",
							   "User of the mail server.",
							   "Empty: no login.",
							   &billing_smtp_user,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
}

static void
define_session_settings(void)
{
	DefineCustomStringVariable("billing.tenant_id",
							   "Tenant whose rows this session sees.",
							   "Empty: none, but for roles that bypass row security.",
							   &billing_tenant_id,
							   "",
							   PGC_SUSET,
							   0,
							   check_tenant_id, NULL, NULL);

	DefineCustomStringVariable("billing.test_clock",
							   "Instant that billing.now() returns, for tests.",
							   "ISO 8601 with an offset, such as 2026-01-31T00:00:00Z; empty: the real time.",
							   &billing_test_clock,
							   "",
							   PGC_SUSET,
							   0,
							   billing_clock_check, billing_clock_assign, NULL);
}

static void
define_webhook_settings(void)
{
	DefineCustomBoolVariable("billing.webhook_allow_private",
							 "Whether webhooks may go to addresses that are not public.",
							 "Loopback, private networks, the local link with the metadata of clouds.",
							 &billing_webhook_allow_private,
							 false,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);

	DefineCustomIntVariable("billing.webhook_max_per_endpoint",
							"How many requests may be under way to one webhook endpoint at a time.",
							"It begins with a few, and has more as they are answered.",
							&billing_webhook_max_per_endpoint,
							32, 1, 10000,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("billing.webhook_timeout",
							"How long an attempt to deliver a webhook may take.",
							NULL,
							&billing_webhook_timeout,
							20000, 1, 3600 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
}

/*
 * check_not_too_late
 *		Refuse to be loaded where values set before would be lost.
 *
 * While a parallel operation runs, such as an index build that is the first to
 * compare two amounts, PostgreSQL cannot give our settings the values that stood
 * for them so far, and warns only.  The session would go on without a tenant
 * and without keys.
 */
static void
check_not_too_late(void)
{
	static const char *const names[] = {
		"billing.databases", "billing.key_file", "billing.node", "billing.tenant_id", "billing.test_clock"
	};

	if (!IsInParallelMode() || IsParallelWorker())
		return;

	for (int i = 0; i < lengthof(names); i++)
	{
		if (GetConfigOption(names[i], true, false) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("billing cannot be loaded by a parallel operation"),
					 errdetail("The value of \"%s\" would be lost.", names[i]),
					 errhint("Run LOAD 'billing' first, or name it in shared_preload_libraries.")));
	}
}

/* Accept a list of names. */
static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char	   *names = pstrdup(*newval);
	List	   *list;
	bool		is_list = SplitGUCList(names, ',', &list);

	list_free(list);
	pfree(names);
	if (is_list)
		return true;
	GUC_check_errdetail("It is no list of names.");
	GUC_check_errhint("Separate names by commas; quote one that has a comma or a blank.");
	return false;
}

/*
 * check_tenant_id
 *		Accept an empty string or a bigint, as the row security policy casts it.
 */
static bool
check_tenant_id(char **newval, void **extra, GucSource source)
{
	char	   *end;

	if (**newval == '\0')
		return true;

	errno = 0;
	(void) strtoll(*newval, &end, 10);
	if (errno == 0 && *end == '\0')
		return true;

	GUC_check_errdetail("A tenant id is a whole number.");
	GUC_check_errhint("Set it to a bigint, or to the empty string for no tenant.");
	return false;
}

/* One address: two, or a line break, would be somebody else's header. */
static bool
check_smtp_from(char **newval, void **extra, GucSource source)
{
	char		address[BILLING_MIME_ADDRESS_MAX + 1];
	const char *problem = **newval == '\0' ? NULL : billing_mime_find_address(*newval, address);

	if (problem == NULL)
		return true;
	GUC_check_errdetail("%s", problem);
	GUC_check_errhint("Set it to an address, or a name and one in brackets: Example Ltd <billing@example.com>.");
	return false;
}

/* What is no ciphertext is not repeated: it may be the password. */
static bool
check_smtp_password(char **newval, void **extra, GucSource source)
{
	if (**newval == '\0' || strncmp(*newval, "sealed:", 7) == 0)
		return true;
	GUC_check_errmsg("billing.smtp_password is not sealed");
	GUC_check_errhint("Set it to what billing.seal(0, 'smtp_password', ...) returns.");
	return false;
}

static bool
check_smtp_url(char **newval, void **extra, GucSource source)
{
	if (**newval == '\0' ||
		((strncmp(*newval, "smtp://", 7) == 0 || strncmp(*newval, "smtps://", 8) == 0) && strchr(*newval, '@') == NULL))
		return true;
	GUC_check_errdetail("It is smtp:// or smtps:// and the name of a host; user and password are settings of their own.");
	GUC_check_errhint("Set it to a URL such as smtp://mail.example.com:587, or to the empty string for no mail.");
	return false;
}
