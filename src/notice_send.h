/*-------------------------------------------------------------------------
 *
 * notice_send.h
 *	  Notices as mail: a channel of the sender.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_NOTICE_SEND_H
#define BILLING_NOTICE_SEND_H

#include "sender.h"

extern const BillingChannel billing_notice_channel;

#endif							/* BILLING_NOTICE_SEND_H */
