/*-------------------------------------------------------------------------
 *
 * coupon_slot.c
 *	  The total limit of a coupon: that many rows, of which each use takes one.
 *
 * The one thing that tenants share.  A flow takes its slot last, so it holds none while it
 * waits for a row of anybody else.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include "catalog/pg_type_d.h"

#include "coupon.h"

static int32 try_slots(Datum code, int64 tenant_id, int64 use_id);
static int32 take(BillingQuery *query, Datum code, int64 tenant_id, int64 use_id);
static void make_slots(Datum code);

/*
 * billing_coupon_claim
 *		See coupon.h.  Where the limit was set or moved, the rows follow it first: a change of the
 *		limit is a plain UPDATE, which triggers no work.
 */
void
billing_coupon_claim(int64 tenant_id, Datum code, int64 use_id)
{
	static BillingQuery query = {
		.sql = "SELECT c.slot_count = c.redemption_limit FROM billing.coupon c WHERE c.code = $1",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	static BillingQuery note = {
		.sql = "UPDATE billing.coupon_use u SET slot_no = $3 WHERE u.tenant_id = $1 AND u.use_id = $2",
		.expected = SPI_OK_UPDATE,
		.nargs = 3,
		.argtypes = {INT8OID, INT8OID, INT4OID},
	};
	Datum		args[] = {Int64GetDatum(tenant_id), Int64GetDatum(use_id), (Datum) 0};
	bool		isnull;
	bool		is_made;
	int32		slot_no;

	(void) billing_spi_run(&query, &code, NULL);
	is_made = DatumGetBool(billing_spi_value(0, 1, &isnull));
	if (isnull)
		return;
	if (!is_made)
		make_slots(code);
	slot_no = try_slots(code, tenant_id, use_id);
	if (slot_no == 0)
		billing_coupon_refuse(tenant_id, code, "limit");
	args[2] = Int32GetDatum(slot_no);
	(void) billing_spi_run(&note, args, NULL);
}

/*
 * try_slots
 *		A free one that nobody is taking; else one whose taker does not commit.
 */
static int32
try_slots(Datum code, int64 tenant_id, int64 use_id)
{
	static BillingQuery skipping = {
		.sql = "UPDATE billing.coupon_slot s SET taken_by = $2, use_id = $3"
		" WHERE s.coupon = $1 AND s.slot_no = (SELECT f.slot_no FROM billing.coupon_slot f"
		"   WHERE f.coupon = $1 AND f.taken_by IS NULL ORDER BY f.slot_no LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING s.slot_no",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 3,
		.argtypes = {TEXTOID, INT8OID, INT8OID},
	};
	static BillingQuery waiting = {
		.sql = "UPDATE billing.coupon_slot s SET taken_by = $2, use_id = $3"
		" WHERE s.coupon = $1 AND s.slot_no = (SELECT f.slot_no FROM billing.coupon_slot f"
		"   WHERE f.coupon = $1 AND f.taken_by IS NULL ORDER BY f.slot_no LIMIT 1 FOR UPDATE) RETURNING s.slot_no",
		.expected = SPI_OK_UPDATE_RETURNING,
		.nargs = 3,
		.argtypes = {TEXTOID, INT8OID, INT8OID},
	};
	int32		slot_no = take(&skipping, code, tenant_id, use_id);

	return slot_no != 0 ? slot_no : take(&waiting, code, tenant_id, use_id);
}

static int32
take(BillingQuery *query, Datum code, int64 tenant_id, int64 use_id)
{
	Datum		args[] = {code, Int64GetDatum(tenant_id), Int64GetDatum(use_id)};
	bool		isnull;

	return billing_spi_run(query, args, NULL) == 0 ? 0 : DatumGetInt32(billing_spi_value(0, 1, &isnull));
}

/*
 * make_slots
 *		As many as the limit says, under the lock of the coupon's row.
 *
 * Of a limit below what is taken, the taken ones stay; those that somebody is taking
 * count as taken, and slot_count says how many there are, so that the next look tries again.
 */
static void
make_slots(Datum code)
{
	static BillingQuery lock = {
		.sql = "SELECT FROM billing.coupon c WHERE c.code = $1 FOR NO KEY UPDATE",
		.expected = SPI_OK_SELECT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	static BillingQuery add = {
		.sql = "INSERT INTO billing.coupon_slot (coupon, slot_no)"
		" SELECT c.code, n.last + g.i FROM billing.coupon c"
		" CROSS JOIN LATERAL (SELECT count(*)::integer AS slots, coalesce(max(s.slot_no), 0) AS last"
		"   FROM billing.coupon_slot s WHERE s.coupon = c.code) n"
		" CROSS JOIN LATERAL generate_series(1, c.redemption_limit - n.slots) g (i) WHERE c.code = $1",
		.expected = SPI_OK_INSERT,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	static BillingQuery drop = {
		.sql = "DELETE FROM billing.coupon_slot s USING ("
		"  SELECT f.coupon, f.slot_no FROM billing.coupon_slot f WHERE f.coupon = $1 AND f.taken_by IS NULL"
		"   ORDER BY f.slot_no DESC LIMIT (SELECT greatest(count(*) - min(c.redemption_limit), 0) FROM billing.coupon_slot o"
		"     JOIN billing.coupon c ON c.code = o.coupon WHERE o.coupon = $1) FOR UPDATE SKIP LOCKED) f"
		" WHERE s.coupon = f.coupon AND s.slot_no = f.slot_no",
		.expected = SPI_OK_DELETE,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	static BillingQuery count = {
		.sql = "UPDATE billing.coupon c SET slot_count = (SELECT count(*) FROM billing.coupon_slot s WHERE s.coupon = c.code)"
		" WHERE c.code = $1",
		.expected = SPI_OK_UPDATE,
		.nargs = 1,
		.argtypes = {TEXTOID},
	};
	BillingQuery *const steps[] = {&lock, &add, &drop, &count};

	for (int i = 0; i < lengthof(steps); i++)
		(void) billing_spi_run(steps[i], &code, NULL);
}
