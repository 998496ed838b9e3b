# billing - in-database subscription billing

EXTENSION   = billing
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)
PGFILEDESC  = "billing - in-database subscription billing"

# C: one object per noun; each group only uses the groups before it.
base   = guc spi clock id init
values = currency amount format
rules  =
MODULE_big  = $(EXTENSION)
OBJS        = $(patsubst %,src/%.o,$(base) $(values) $(rules))
SHLIB_LINK  = -lcrypto -licui18n -licuuc
PG_CPPFLAGS = -DBILLING_VERSION='"$(EXTVERSION)"'
PG_CFLAGS   = -std=gnu99 -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare $(WERROR)

# SQL: the install script is these modules, in this order.
SQL_MODULES = header schema clock amount grants
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

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(INSTALL_SQL): $(SQL_MODULES:%=sql/%.sql) $(EXTENSION).control Makefile
	cat $(filter %.sql,$^) > $@

$(OBJS): $(wildcard src/*.h)
