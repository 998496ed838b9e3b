/*-------------------------------------------------------------------------
 *
 * json.h
 *	  JSON objects whose keys are known, as jsonb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_JSON_H
#define BILLING_JSON_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

/* Keys in the order of jsonb, and how they are stored there. */
typedef struct BillingJsonKeys
{
	int			count;
	int		   *order;			/* of each, which of those given it is */
	JEntry	   *entries;
	StringInfoData bytes;
} BillingJsonKeys;

/* An object that is being written. */
typedef struct BillingJson
{
	StringInfoData out;
	int			start;			/* where what the entries tell of begins */
	int			filled;			/* how many entries are */
} BillingJson;

extern BillingJsonKeys *billing_json_make_keys(const char *const *keys, int count);

/* Begin an object, then put a value for each of its keys, in their order, and end it. */
extern void billing_json_begin(BillingJson *json, const BillingJsonKeys *keys);
extern void billing_json_put_null(BillingJson *json);
extern void billing_json_put_boolean(BillingJson *json, bool value);
extern void billing_json_put_string(BillingJson *json, const char *string, int len);
/* The string that was appended to out since it had that length. */
extern void billing_json_put_appended(BillingJson *json, int from);
extern void billing_json_put_number(BillingJson *json, Numeric number);
extern void billing_json_put_json(BillingJson *json, Jsonb *value);
extern Jsonb *billing_json_end(BillingJson *json);

#endif							/* BILLING_JSON_H */
