/*-------------------------------------------------------------------------
 *
 * gateway_send.h
 *	  Requests to gateways, as a channel of the sender.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_GATEWAY_SEND_H
#define BILLING_GATEWAY_SEND_H

#include "sender.h"

extern const BillingChannel billing_gateway_channel;

#endif							/* BILLING_GATEWAY_SEND_H */
