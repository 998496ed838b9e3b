/*-------------------------------------------------------------------------
 *
 * settlement.h
 *	  Files in which gateways state what they have settled.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_SETTLEMENT_H
#define BILLING_SETTLEMENT_H

#include "../currency.h"
#include "gateway.h"

/* What moved; what a file does not say is NULL or 0.  It lasts while it is taken. */
typedef struct BillingSettlementLine
{
	const char *kind;			/* payment, refund, dispute, fee, other */
	const char *key;			/* what no other line of its kind has there, whatever columns the file has */
	const char *line_id;		/* the gateway's id of the line */
	const char *external_id;	/* that of the payment or refund */
	const char *payment_external_id;	/* that of the payment, also of a refund or dispute */
	const char *pay_no;
	const char *refund_no;
	const BillingCurrency *currency;	/* of units */
	int64		units;			/* what came; negative: what went */
	bool		has_fee;
	const BillingCurrency *fee_currency;	/* of fee and net */
	int64		fee_units;		/* what the gateway kept of it; negative: gave back */
	int64		net_units;		/* what is left, in the fee's currency; 0 where the file does not say and the currencies differ */
	int64		at;				/* seconds since 1970 */
} BillingSettlementLine;

typedef void (*BillingSettlementTake) (void *arg, const BillingSettlementLine *line);

/*
 * Read a file of a gateway, by the name of its driver (NULL: whichever it is of).  NULL, or what is wrong with it, as a detail:
 * then line_no says where (0: as a whole), and what was taken counts for nothing.
 */
extern const char *billing_settlement_read(const char *driver, const char *data, size_t len, BillingSettlementTake take, void *arg, int *line_no);

#endif							/* BILLING_SETTLEMENT_H */
