/*-------------------------------------------------------------------------
 *
 * delivery.h
 *	  Deliveries of events to endpoints, as a channel of the sender.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_DELIVERY_H
#define BILLING_DELIVERY_H

#include "sender.h"

extern const BillingChannel billing_delivery_channel;

/*
 * When the next of attempts that failed is made, which every channel goes by: so many
 * microseconds after the last one failed, with jitter; -1: never, it is given up.
 */
extern int64 billing_delivery_delay(int attempts);

#endif							/* BILLING_DELIVERY_H */
