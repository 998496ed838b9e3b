/*-------------------------------------------------------------------------
 *
 * tax_rate.c
 *	  The rates there are, and those that a tenant's lines bear.
 *
 * A rate that an invoice states does not change any more: the first one marks it, as
 * subscribe() does a plan.  Who changes one waits for those who make invoices, and they
 * for him.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "nodes/value.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "composition.h"
#include "spi.h"
#include "tax_rate.h"
#include "trigger.h"

BILLING_FUNCTION(billing_choose_taxes);
BILLING_FUNCTION(billing_tax_rate_guard);

/* The columns of type billing.applied_tax. */
#define APPLIED_TAX_COLUMNS 5

static Datum make_texts(Datum *texts, int count);
static char *text_or_null(uint64 row, int column);
static bool find_terms(int64 tenant_id, BillingTaxTerms *terms);
static void read_categories(FunctionCallInfo fcinfo, BillingComposition *composition);
static Datum make_taxes(const BillingComposition *composition, Oid type);

BillingTaxRate *
billing_tax_rate_read(Datum *codes, int code_count, Datum *countries, int country_count, int *count)
{
	static BillingQuery query = {
		.sql = "SELECT r.code, r.country, r.region, r.category, r.percent, r.is_inclusive, r.is_reverse_charge, r.replaces_country,"
		"  r.is_active, r.used_at IS NOT NULL"
		"  FROM billing.tax_rate r WHERE r.code = ANY ($1) OR r.country = ANY ($2) AND r.is_active ORDER BY r.code",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 2,
		.argtypes = {TEXTARRAYOID, TEXTARRAYOID},
	};
	Datum		args[2];
	BillingTaxRate *rates;
	bool		isnull;

	*count = 0;
	if (code_count == 0 && country_count == 0)
		return NULL;
	args[0] = make_texts(codes, code_count);
	args[1] = make_texts(countries, country_count);
	*count = billing_spi_run(&query, args, NULL);
	rates = palloc(Max(*count, 1) * sizeof(BillingTaxRate));
	for (int i = 0; i < *count; i++)
	{
		BillingTaxRate *rate = &rates[i];

		rate->code = text_or_null(i, 1);
		rate->country = text_or_null(i, 2);
		rate->region = text_or_null(i, 3);
		rate->category = text_or_null(i, 4);
		rate->percent = DatumGetNumeric(billing_spi_copy(i, 5, CurrentMemoryContext));
		rate->is_inclusive = DatumGetBool(billing_spi_value(i, 6, &isnull));
		rate->is_reverse_charge = DatumGetBool(billing_spi_value(i, 7, &isnull));
		rate->replaces_country = DatumGetBool(billing_spi_value(i, 8, &isnull));
		rate->is_active = DatumGetBool(billing_spi_value(i, 9, &isnull));
		rate->is_used = DatumGetBool(billing_spi_value(i, 10, &isnull));
	}
	return rates;
}

static Datum
make_texts(Datum *texts, int count)
{
	return PointerGetDatum(construct_array(texts, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static char *
text_or_null(uint64 row, int column)
{
	bool		isnull;
	Datum		value = billing_spi_value(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/*
 * billing_tax_rate_hold
 *		Keep out those who change rates: their trigger lock_references asks for a lock of
 *		billing.invoice_tax that this one, which an insert takes anyway, does not go with.
 *
 * Writers of invoices do not wait for each other, as they would for rows of rates.
 */
void
billing_tax_rate_hold(void)
{
	LockRelationOid(get_relname_relid("invoice_tax", get_namespace_oid("billing", false)), RowExclusiveLock);
}

/* Rows are locked in the order of their codes, whoever marks how many at once. */
void
billing_tax_rate_mark_used(List *codes)
{
	static BillingQuery query = {
		.sql = "WITH unused AS MATERIALIZED (SELECT r.code FROM billing.tax_rate r WHERE r.code = ANY ($1) AND r.used_at IS NULL"
		"    ORDER BY r.code FOR NO KEY UPDATE)"
		" UPDATE billing.tax_rate r SET used_at = billing.now() FROM unused u WHERE r.code = u.code",
		.expected = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {TEXTARRAYOID},
	};
	Datum	   *texts = palloc(Max(list_length(codes), 1) * sizeof(Datum));
	Datum		arg;
	ListCell   *cell;

	if (codes == NIL)
		return;
	foreach(cell, codes)
		texts[foreach_current_index(cell)] = CStringGetTextDatum(strVal(lfirst(cell)));
	arg = make_texts(texts, list_length(codes));
	(void) billing_spi_run(&query, &arg, NULL);
}

/*
 * billing_choose_taxes
 *		The taxes that lines of these categories (one each; NULL: the standard one) would bear
 *		if the tenant were billed now.
 */
Datum
billing_choose_taxes(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			type = get_element_type(get_func_rettype(fcinfo->flinfo->fn_oid));
	BillingComposition composition = {0};
	BillingTaxTerms terms = {0};
	Datum		result;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	billing_spi_begin();
	read_categories(fcinfo, &composition);
	if (find_terms(PG_GETARG_INT64(0), &terms))
		billing_composition_choose_taxes(&composition, &terms);
	MemoryContextSwitchTo(caller);
	result = make_taxes(&composition, type);
	billing_spi_end();
	return result;
}

static void
read_categories(FunctionCallInfo fcinfo, BillingComposition *composition)
{
	Datum	   *texts;
	bool	   *nulls;

	if (PG_ARGISNULL(1))
		return;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls, &composition->line_count);
	composition->lines = palloc0(Max(composition->line_count, 1) * sizeof(BillingComposedLine));
	for (int i = 0; i < composition->line_count; i++)
		composition->lines[i].tax_category = nulls[i] ? NULL : TextDatumGetCString(texts[i]);
}

/* What of a tenant decides about its taxes; false: there is none that the caller may see. */
static bool
find_terms(int64 tenant_id, BillingTaxTerms *terms)
{
	static BillingQuery query = {
		.sql = "SELECT t.tax_exemption, t.tax_rate, t.address ->> 'country', t.address ->> 'region', upper(t.address ->> 'country'),"
		"  t.settings ->> 'tax_percent' IS NOT NULL,"
		"  coalesce((t.settings ->> 'tax_percent')::numeric, billing.effective_setting('tax_percent')::numeric), t.tax_id IS NOT NULL"
		"  FROM billing.tenant t WHERE t.tenant_id = $1",
		.expected = SPI_OK_SELECT,
		.read_only = true,
		.nargs = 1,
		.argtypes = {INT8OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id)};
	bool		isnull;
	bool		has_country;
	Datum		country;
	Datum		code;

	if (billing_spi_run(&query, args, NULL) == 0)
		return false;
	terms->exemption = text_or_null(0, 1);
	terms->rate = text_or_null(0, 2);
	terms->country = text_or_null(0, 3);
	terms->region = text_or_null(0, 4);
	country = billing_spi_copy(0, 5, CurrentMemoryContext);
	has_country = terms->country != NULL && terms->rate == NULL;
	terms->states_percent = DatumGetBool(billing_spi_value(0, 6, &isnull));
	terms->percent = DatumGetNumeric(billing_spi_copy(0, 7, CurrentMemoryContext));
	terms->has_tax_id = DatumGetBool(billing_spi_value(0, 8, &isnull));
	code = terms->rate == NULL ? (Datum) 0 : CStringGetTextDatum(terms->rate);
	terms->rates = billing_tax_rate_read(&code, terms->rate != NULL, &country, has_country, &terms->rate_count);
	return true;
}

static Datum
make_taxes(const BillingComposition *composition, Oid type)
{
	TupleDesc	tupdesc = lookup_rowtype_tupdesc(type, -1);
	Datum	   *rows = palloc(Max(composition->tax_count, 1) * sizeof(Datum));
	Datum		result;

	for (int i = 0; i < composition->tax_count; i++)
	{
		const BillingTax *tax = &composition->taxes[i];
		Datum		values[APPLIED_TAX_COLUMNS] = {0};
		bool		nulls[APPLIED_TAX_COLUMNS] = {tax->code == NULL, false, false, tax->bears == NULL, tax->note == NULL};

		if (tax->code != NULL)
			values[0] = CStringGetTextDatum(tax->code);
		values[1] = NumericGetDatum(tax->percent);
		values[2] = BoolGetDatum(tax->is_inclusive);
		values[3] = billing_composition_bearers(composition, tax);
		if (tax->note != NULL)
			values[4] = CStringGetTextDatum(tax->note);
		rows[i] = HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls));
	}
	result = PointerGetDatum(construct_array(rows, composition->tax_count, type, -1, false, TYPALIGN_DOUBLE));
	ReleaseTupleDesc(tupdesc);
	return result;
}

/*
 * billing_tax_rate_guard
 *		BEFORE UPDATE or DELETE of a rate that an invoice states: only whether it is
 *		active, and its name, change.
 */
Datum
billing_tax_rate_guard(PG_FUNCTION_ARGS)
{
	static const char *const free_columns[] = {"is_active", "name"};
	TriggerData *trigger = billing_trigger_of_row(fcinfo);
	bool		is_update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	const char *code = billing_trigger_text(trigger, trigger->tg_trigtuple, "code");
	const char *column = NULL;
	bool		isnull;

	(void) billing_trigger_value(trigger, trigger->tg_trigtuple, "used_at", &isnull);
	if (isnull)
		return billing_trigger_pass(trigger);
	if (is_update)
		column = billing_trigger_changed(trigger, free_columns, lengthof(free_columns));
	if (!is_update || column != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_BILLING_ILLEGAL_STATE),
				 errmsg("tax rate \"%s\" is stated by invoices, so it cannot change", code),
				 column == NULL ? errdetail("object=tax_rate code=%s", code) :
				 errdetail("object=tax_rate code=%s column=%s", code, column),
				 errhint("Set is_active = false on it, and insert another rate.")));
	return billing_trigger_pass(trigger);
}
