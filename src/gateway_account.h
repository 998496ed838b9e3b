/*-------------------------------------------------------------------------
 *
 * gateway_account.h
 *	  The company's accounts at gateways: rows of billing.gateway, opened.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_GATEWAY_ACCOUNT_H
#define BILLING_GATEWAY_ACCOUNT_H

#include "amount.h"
#include "flow.h"
#include "gateway/gateway.h"
#include "utils/jsonb.h"

/* An account, its credentials in plain text: everything in it is UTF-8. */
typedef struct BillingGatewayAccount
{
	const BillingGateway *driver;
	BillingGatewayConfig config;
	Jsonb	   *exponents;
	bool		is_enabled;
} BillingGatewayAccount;

/* YB001 if there is none of that code. */
extern void billing_gateway_account_require(const char *code);

/* Open one, in the current memory context; YB001 if there is none.  SPI is connected. */
extern BillingGatewayAccount *billing_gateway_account_open(const char *code);

/* An amount in the gateway's smallest unit and the decimals of that; NULL, or why it has none, as key=value. */
extern const char *billing_gateway_account_units(const BillingGatewayAccount *account, const BillingAmount *amount, int64 *units, int *exponent);

/* The reverse; false if it is no amount of ours. */
extern bool billing_gateway_account_amount(const BillingGatewayAccount *account, int64 units, const char *currency, BillingAmount *amount);

/* The members of an object of strings; NULL: none. */
extern BillingPairs billing_gateway_account_pairs(Jsonb *object);

/* 22023 where an argument cannot be the code of a gateway: its rule stands in billing.gateway, too. */
extern void billing_gateway_check_name(const char *argument, const char *name);

#endif							/* BILLING_GATEWAY_ACCOUNT_H */
