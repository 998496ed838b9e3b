/*-------------------------------------------------------------------------
 *
 * mirrored_subscription.h
 *	  Subscriptions that a gateway keeps and bills, as it tells of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_MIRRORED_SUBSCRIPTION_H
#define BILLING_MIRRORED_SUBSCRIPTION_H

#include "news.h"

/*
 * Whose the subscription is that a callback tells of, and its mirror_id: one that is mirrored; else by the tenant that it names
 * itself, or its customer, and 0.  False: nobody's here.
 */
extern bool billing_mirror_find(const char *gateway, const BillingGatewayAnswer *answer, int64 *tenant_id, int64 *mirror_id);

/* As the others of news.h; mirror_id 0 begins one.  NULL, or why it is not believed, as key=value. */
extern const char *billing_mirror_learn(BillingFlow *flow, int64 *mirror_id, const BillingNews *news);

#endif							/* BILLING_MIRRORED_SUBSCRIPTION_H */
