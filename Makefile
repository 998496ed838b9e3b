# billing - in-database subscription billing

EXTENSION   = billing
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)
PGFILEDESC  = "billing - in-database subscription billing"

# C: one object per noun; each group only uses the groups before it.
base   = guc encoding spi result store row attempt trigger lock clock id reference guard restore address http registry wake progress
values = decimal exact currency amount_parse amount amount_aggregate allocate format tariff_parse tariff charge charge_events strategy keyring sealed sign hash calculation measure template mime card_number card_guard
gateways = gateway/pairs gateway/form gateway/document gateway/crypto gateway/crypto_chain gateway/instant gateway/settlement gateway/manual gateway/alipay gateway/alipay_callback gateway/wechat gateway/wechat_callback gateway/paypal gateway/paypal_callback gateway/stripe gateway/stripe_object gateway/stripe_read gateway/stripe_callback gateway/drivers
rules  = merchant_no period proration tax commitment discount composition grant state boundary ledger limit stated manual_line credit credit_line json event_object notice_kind notice_template
flows  = \
	event \
	webhook \
	redeliver \
	retention \
	invoice_guard \
	invoice \
	one_off \
	gateway_account \
	gateway_order \
	gateway_ask \
	gateway_request \
	gateway_certificate \
	gateway_callback \
	mirrored_subscription \
	gateway_retention \
	default_method \
	payment_method_row \
	payment_method_news \
	payment_method_expiry \
	payment_method \
	payment \
	payment_settle \
	payment_order \
	payment_news \
	dispute \
	credit_tax \
	credit_note \
	refund \
	refund_payment \
	reconcile \
	wallet \
	wallet_book \
	draw \
	consume \
	consume_row \
	aside \
	flow \
	setting \
	catalog \
	plan \
	tenant \
	access \
	usage \
	compaction \
	entitlement \
	override \
	freeze \
	check_limit \
	enforce_limit \
	spend \
	usage_record \
	usage_correct \
	usage_read \
	tax_rate \
	coupon_terms \
	coupon \
	coupon_slot \
	coupon_use \
	coupon_due \
	due \
	made \
	bill \
	bill_run \
	build \
	draft \
	draft_batch \
	late \
	threshold \
	rerate \
	due_part \
	change \
	change_preview \
	move \
	tailor \
	pause \
	overdue \
	collect \
	collect_payment \
	dunning \
	notice \
	statement \
	verify \
	subscription \
	subscribe \
	subscription_read
worker = job status run_due target delivery mail notice_send gateway_send process sender worker helper launcher init
MODULE_big  = $(EXTENSION)
OBJS        = $(patsubst %,src/%.o,$(base) $(values) $(gateways) $(rules) $(flows) $(worker))
SHLIB_LINK  = -lcurl -lcrypto -licui18n -licuuc
PG_CPPFLAGS = -DBILLING_VERSION='"$(EXTVERSION)"'
PG_CFLAGS   = -std=gnu99 -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare $(WERROR)

# SQL: the install script is these modules, in this order.
SQL_MODULES = \
	header \
	schema \
	clock \
	guard \
	reference \
	amount \
	discount \
	tariff \
	strategy \
	sealed \
	card_number \
	period \
	proration \
	state \
	boundary \
	calculation \
	policy \
	setting \
	request \
	meter \
	plan \
	tax \
	catalog \
	tenant \
	gateway \
	subscription \
	due_part \
	usage \
	composition \
	invoice \
	payment_method \
	payment \
	ledger \
	grant \
	coupon \
	credit_note \
	dispute \
	refund \
	gateway_request \
	gateway_event \
	mirrored_subscription \
	transaction_report \
	reconcile \
	wallet \
	statement \
	aside \
	bill \
	threshold \
	rerate \
	change \
	commitment \
	usage_read \
	entitlement \
	dunning \
	overdue \
	event \
	webhook \
	notice \
	preview \
	explain \
	draft \
	late \
	verify \
	audit \
	access \
	restore \
	job \
	worker \
	status \
	grants
INSTALL_SQL = sql/$(EXTENSION)--$(EXTVERSION).sql
DATA        = $(wildcard sql/updates/$(EXTENSION)--*.sql)
DATA_built  = $(INSTALL_SQL)

# Tests: inputs under test/, expected output in expected/.
stems        = $(sort $(basename $(notdir $(wildcard $(1)))))
REGRESS      = $(call stems,test/sql/*.sql)
REGRESS_OPTS = --inputdir=test --load-extension=$(EXTENSION)
ISOLATION    = $(call stems,test/specs/*.spec)
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=$(EXTENSION)
TAP_TESTS    = 1
PROVE_TESTS  = test/tap/*.pl

# pg_regress tries ./sql before test/sql, and both suites share expected/:
# a name used twice would silently run the wrong file.
CLASH := $(filter $(REGRESS),$(SQL_MODULES) $(ISOLATION))
ifneq ($(CLASH),)
$(error test names used twice: $(CLASH))
endif

EXTRA_CLEAN = results output_iso log tmp_check regression.diffs regression.out

# These need no PGXS, and some run before there is a PostgreSQL to ask for it.
HOUSE = demo test bench fuzz valgrind check-warnings indent dist

ifneq ($(filter-out $(HOUSE),$(or $(MAKECMDGOALS),all)),)
PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(INSTALL_SQL): $(SQL_MODULES:%=sql/%.sql) $(EXTENSION).control Makefile
	cat $(filter %.sql,$^) > $@

$(OBJS): $(wildcard src/*.h src/*.inc src/gateway/*.h)

.PHONY: lint
lint: all
	test/lint
endif

.PHONY: $(HOUSE)

# On a fresh Debian, as root: install what is missing, then everything happens
# in a temporary folder beside a private server.  USAGE names files of usage to bill
# instead of the month that the demo makes up.
demo:
	@test/install_packages demo
	@BILLING_FILES='$(USAGE)' test/private_server test/demo

test:
	@test/install_packages test
	@test/private_server test/run

# On a server that keeps what it commits, as one in use does.
bench:
	@test/install_packages demo
	@BILLING_CONF="$${BILLING_CONF:-fsync = on}" test/private_server test/bench/run

# Each parser against random input, for FUZZ_SECONDS each.
fuzz:
	@test/install_packages fuzz
	@test/fuzz/run

# The regression tests, and rounds of the worker, in a server under valgrind; PARTS names one of them.
valgrind:
	@test/install_packages valgrind
	@test/private_server test/valgrind $(PARTS)

# Build with gcc and with clang, where a warning is an error.
check-warnings:
	@test/install_packages test
	@test/warnings

indent:
	@command -v pgindent pg_bsd_indent >/dev/null || \
		{ echo "pgindent not found; Debian's postgresql-server-dev-18 has it in /usr/lib/postgresql/18/bin" >&2; exit 2; }
	pgindent --typedefs=src/typedefs.list src

# What PGXN takes.
dist:
	git archive --format=zip --prefix=$(EXTENSION)-$(EXTVERSION)/ --output=$(EXTENSION)-$(EXTVERSION).zip HEAD
