/*-------------------------------------------------------------------------
 *
 * wechat.h
 *	  What WeChat Pay's answers and its notifications have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_WECHAT_H
#define BILLING_WECHAT_H

#include "document.h"
#include "gateway.h"

#define BILLING_WECHAT_KEY_LEN	32

typedef enum BillingWechatSignature
{
	BILLING_WECHAT_SIGNED,
	BILLING_WECHAT_NOT_SIGNED,
	BILLING_WECHAT_NO_KEY		/* by a certificate that is not known */
} BillingWechatSignature;

/*
 * Who signed a body with these headers.  Keys are those of the config, and more, which may be NULL; serial is what they say it
 * was signed with, or NULL.
 */
extern BillingWechatSignature billing_wechat_verify(const BillingGatewayConfig *config, const BillingPairs *more, const BillingPairs *headers,
													const char *body, size_t len, const char **serial);

/* What is in a resource that was sealed with the key of the API; NULL: it does not open. */
extern const char *billing_wechat_open(const BillingGatewayConfig *config, const BillingDocument *resource, size_t * len);

/* A transaction or a refund, whose number and outcome are judged by the caller. */
extern void billing_wechat_read_transaction(const BillingDocument *document, BillingGatewayAnswer *answer);
extern void billing_wechat_read_refund(const BillingDocument *document, BillingGatewayAnswer *answer);

/* JSON of these for people, without what is sealed or secret. */
extern char *billing_wechat_print(const BillingDocument *document);

extern void billing_wechat_read_callback(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len,
										 int64 now, BillingGatewayCallback *callback);
extern void billing_wechat_reply(bool is_accepted, BillingGatewayReply *reply);

#endif							/* BILLING_WECHAT_H */
