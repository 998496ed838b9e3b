/*-------------------------------------------------------------------------
 *
 * gateway.h
 *	  What a payment gateway is asked, answers and tells, as bytes.
 *
 * A gateway is one file of this folder, its driver, and one row of billing.gateway.  A driver's functions
 * are pure: they know no table, clock or network, and raise nothing; what is wrong they return.  So an
 * answer is read the same way whoever sent the request, and each parser of outside bytes can be fuzzed.
 * What they return they have allocated, or it points into what they were given.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_GATEWAY_H
#define BILLING_GATEWAY_H

#include "lib/stringinfo.h"

/* A name and a value: of a header, a form, a setting. */
typedef struct BillingPair
{
	const char *name;
	const char *value;
} BillingPair;

typedef struct BillingPairs
{
	int			count;
	BillingPair *pairs;
} BillingPairs;

/* The value of a name, whatever its case if it is that of a header; NULL if there is none. */
extern const char *billing_pairs_find(const BillingPairs *pairs, const char *name);
extern const char *billing_pairs_find_header(const BillingPairs *pairs, const char *name);

/* The row of billing.gateway: settings and, opened, credentials (both JSON objects of strings) as pairs. */
typedef struct BillingGatewayConfig
{
	const char *code;
	const char *base_url;		/* without a slash at its end */
	const char *notify_url;		/* where callbacks are to go; NULL: the gateway's own setting says so */
	BillingPairs settings;
	BillingPairs credentials;
	BillingPairs certificates;	/* that the gateway has published: serial or url, and PEM (operation CERTIFICATE) */
} BillingGatewayConfig;

typedef enum BillingGatewayOperation
{
	BILLING_GATEWAY_PAY,		/* begin a payment: by a stored method (token), or for a person to go on with */
	BILLING_GATEWAY_CAPTURE,	/* take what the payer has approved */
	BILLING_GATEWAY_QUERY,		/* what became of a payment */
	BILLING_GATEWAY_CLOSE,		/* let nobody pay it any more */
	BILLING_GATEWAY_REFUND,
	BILLING_GATEWAY_QUERY_REFUND,
	BILLING_GATEWAY_ADD_METHOD, /* is the token good, and whose; attach it to the customer */
	BILLING_GATEWAY_REMOVE_METHOD,
	BILLING_GATEWAY_SUBSCRIPTION,	/* what became of a subscription that is kept there */
	BILLING_GATEWAY_CERTIFICATE /* what signatures of callbacks are verified with; external_id is its serial or url */
} BillingGatewayOperation;

/* What is asked: what does not apply is NULL or 0. */
typedef struct BillingGatewayOrder
{
	BillingGatewayOperation operation;
	int64		now;			/* seconds since 1970 */
	const char *nonce;			/* 32 hexadecimal digits, random */
	const char *idempotency_key;	/* the same for each repetition of this request, of 6 to 64 letters, digits, - and _ */
	const char *pay_no;
	const char *refund_no;
	const char *external_id;	/* the gateway's id of the payment, refund, method or subscription */
	const char *payment_external_id;	/* of a refund: that of its payment */
	int64		units;			/* in the gateway's smallest unit of the currency */
	int64		payment_units;	/* of a refund: what was paid, the same */
	const char *currency;		/* ISO 4217 */
	int			exponent;		/* decimals of that unit */
	const char *method;			/* card, alipay_qr, alipay_page, wechat_native, wechat_jsapi, paypal, ... */
	const char *token;			/* of the stored method */
	bool		is_token_gone;	/* it was begun by a stored method that has no token any more */
	const char *customer_id;	/* the gateway's */
	const char *payer_id;		/* who pays, where the gateway must be told (openid) */
	const char *tenant_id;		/* digits */
	const char *name;
	const char *email;
	const char *description;
	const char *reason;			/* of a refund */
	const char *return_url;
	int64		expires_at;		/* seconds since 1970; 0: whenever the gateway says */
	int64		created_at;		/* of the payment or refund, or when it was last asked for; seconds since 1970 */
	BillingPairs memory;		/* what the step before this left */
} BillingGatewayOrder;

typedef struct BillingGatewayRequest
{
	const char *verb;			/* GET, POST or DELETE; NULL: nothing is to be sent, answer says all */
	const char *url;
	BillingPairs headers;
	const char *body;			/* NULL: none */
	size_t		body_len;
} BillingGatewayRequest;

typedef enum BillingGatewayOutcome
{
	BILLING_GATEWAY_SUCCEEDED,
	BILLING_GATEWAY_PROCESSING,	/* it is under way: a callback or another query will tell */
	BILLING_GATEWAY_REQUIRES_ACTION,	/* of a person, at payment_url or with client_secret */
	BILLING_GATEWAY_APPROVED,	/* a person has agreed: it is to be captured */
	BILLING_GATEWAY_FAILED,		/* for good: code and message say why */
	BILLING_GATEWAY_CANCELED,	/* closed, unpaid */
	BILLING_GATEWAY_UNKNOWN,	/* it may or may not have happened: ask again */
	BILLING_GATEWAY_RETRY,		/* it did not happen, and may be asked for again (429, 5xx that says so) */
	BILLING_GATEWAY_NEXT		/* another request of the same operation follows, with memory */
} BillingGatewayOutcome;

/* What is known from an answer or a callback: what it does not say is NULL, and units -1. */
typedef struct BillingGatewayAnswer
{
	BillingGatewayOutcome outcome;
	const char *pay_no;			/* as the gateway states it */
	const char *refund_no;
	const char *external_id;
	const char *payment_url;
	const char *client_secret;
	const char *code;			/* why it failed, in the gateway's words (billing.decline_code) */
	const char *message;
	int64		units;			/* that were paid or refunded, in the gateway's smallest unit */
	const char *currency;
	int64		fee_units;		/* what the gateway keeps, in the smallest unit of fee_currency; -1: not said */
	const char *fee_currency;
	int64		at;				/* when, seconds since 1970; 0: not said */
	const char *customer_id;
	const char *token;			/* of a method */
	const char *type;			/* card, bank_account, alipay, ... */
	const char *brand;
	const char *last4;
	int			exp_month;
	int			exp_year;
	const char *response;		/* JSON that is kept for people: what was answered, without secrets */
	BillingPairs memory;		/* of BILLING_GATEWAY_NEXT; of CERTIFICATE serials or urls, and PEM; else members of an object that is mirrored */
} BillingGatewayAnswer;

/* One that says nothing yet: UNKNOWN, amounts -1. */
extern void billing_gateway_clear(BillingGatewayAnswer *answer);

/* What a callback is about. */
typedef enum BillingGatewaySubject
{
	BILLING_GATEWAY_NOTHING,	/* nothing of ours: to be acknowledged */
	BILLING_GATEWAY_PAYMENT,
	BILLING_GATEWAY_REFUNDED,
	BILLING_GATEWAY_DISPUTE,	/* answer.outcome: PROCESSING open, SUCCEEDED won (by us), FAILED lost */
	BILLING_GATEWAY_REVERSED,	/* the payer's bank took it back */
	BILLING_GATEWAY_METHOD,		/* answer.outcome NEXT: it is to be looked at, by ADD_METHOD */
	BILLING_GATEWAY_SUBSCRIBED
} BillingGatewaySubject;

typedef enum BillingGatewayVerdict
{
	BILLING_GATEWAY_VALID,
	BILLING_GATEWAY_BAD_SIGNATURE,	/* YB011 */
	BILLING_GATEWAY_TOO_OLD,		/* YB012 */
	BILLING_GATEWAY_MALFORMED,		/* 22023 */
	BILLING_GATEWAY_NO_KEY			/* the certificate that it names is not among the config's: detail is its serial or url */
} BillingGatewayVerdict;

typedef struct BillingGatewayCallback
{
	BillingGatewayVerdict verdict;
	const char *detail;			/* of one that is not valid, without secrets */
	const char *event_id;		/* unique at the gateway: a repetition has the same */
	const char *type;			/* in the gateway's words */
	BillingGatewaySubject subject;
	BillingGatewayAnswer answer;
	const char *payment_external_id;	/* of a refund, dispute or reversal: the gateway's id of its payment, where pay_no may be missing */
	const char *dispute_reason;
} BillingGatewayCallback;

/* What to answer to a callback. */
typedef struct BillingGatewayReply
{
	int			status;
	const char *content_type;
	const char *body;
} BillingGatewayReply;

typedef struct BillingGateway
{
	const char *name;			/* of the driver: billing.gateway.driver */
	const char *base_url;		/* of the gateway itself, where the row has none */
	bool		tells_fee_later;	/* the fee of a payment that has succeeded is asked for by a query */
	const char *const *settings;	/* names of those that it knows; behind the last one NULL */
	const char *const *credentials;

	/* NULL, or what is wrong with settings or credentials (missing, no key), without repeating a secret. */
	const char *(*check) (const BillingGatewayConfig *config);

	/* Decimals of its smallest unit of a currency where they are not those of ISO 4217; -1: those of ISO 4217; -2: it does not take it. */
	int			(*exponent) (const char *currency);

	/*
	 * NULL, or what keeps it from being asked, as a detail in key=value (a method that it does not have, a currency
	 * that it does not take).  Where nothing is to be sent (verb NULL), answer says all.
	 */
	const char *(*build) (const BillingGatewayConfig *config, const BillingGatewayOrder *order, BillingGatewayRequest *request,
						  BillingGatewayAnswer *answer);

	/* What an answer says; one came: where none does, the caller knows what that means. */
	void		(*read) (const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers,
						 const char *body, size_t len, BillingGatewayAnswer *answer);

	void		(*read_callback) (const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len, int64 now,
								  BillingGatewayCallback *callback);

	/* To one that was accepted (also if it was one before), or that was not. */
	void		(*reply) (bool is_accepted, BillingGatewayReply *reply);
} BillingGateway;

/* NULL: there is none of that name. */
extern const BillingGateway *billing_gateway_find(const char *name);

extern const BillingGateway billing_gateway_stripe;
extern const BillingGateway billing_gateway_alipay;
extern const BillingGateway billing_gateway_wechat;
extern const BillingGateway billing_gateway_paypal;
extern const BillingGateway billing_gateway_manual;

#endif							/* BILLING_GATEWAY_H */
