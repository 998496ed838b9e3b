/*-------------------------------------------------------------------------
 *
 * drivers.c
 *	  The drivers that there are.
 *
 *-------------------------------------------------------------------------
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "gateway.h"

/* A new one adds its row, and NULL stays the last. */
static const BillingGateway *const drivers[] = {
	&billing_gateway_alipay,
	&billing_gateway_manual,
	&billing_gateway_paypal,
	&billing_gateway_stripe,
	&billing_gateway_wechat,
	NULL
};

const BillingGateway *
billing_gateway_find(const char *name)
{
	for (int i = 0; drivers[i] != NULL; i++)
	{
		if (strcmp(drivers[i]->name, name) == 0)
			return drivers[i];
	}
	return NULL;
}
