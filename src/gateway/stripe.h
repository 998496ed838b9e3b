/*-------------------------------------------------------------------------
 *
 * stripe.h
 *	  What the files of the driver for Stripe share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_STRIPE_H
#define BILLING_STRIPE_H

#include "document.h"
#include "gateway.h"

/* What the metadata of a payment says of how it was begun, under begun_by. */
#define BILLING_STRIPE_BY_METHOD	"method"
#define BILLING_STRIPE_BY_ELEMENTS	"elements"
#define BILLING_STRIPE_BY_CHECKOUT	"checkout"

/* Names in the memory of a conversation: what is asked next, and of which payment, method or customer. */
#define BILLING_STRIPE_STEP			"step"
#define BILLING_STRIPE_PAYMENT		"payment"
#define BILLING_STRIPE_METHOD		"method"
#define BILLING_STRIPE_CUSTOMER		"customer"

/* Its steps. */
#define BILLING_STRIPE_INTENTS		"intents"
#define BILLING_STRIPE_SEARCH		"search"
#define BILLING_STRIPE_READ			"read"
#define BILLING_STRIPE_WHOSE		"whose"
#define BILLING_STRIPE_NEW_CUSTOMER	"new_customer"
#define BILLING_STRIPE_ATTACH		"attach"

/* Of an order: whether its payment is one of Checkout (also one whose stored method has lost its token), and the ids that were stated or found. */
extern bool billing_stripe_is_checkout(const BillingGatewayOrder *order);
extern bool billing_stripe_is_step(const BillingGatewayOrder *order, const char *step);
extern const char *billing_stripe_payment_id(const BillingGatewayOrder *order);
extern const char *billing_stripe_method_id(const BillingGatewayOrder *order);
extern const char *billing_stripe_customer_id(const BillingGatewayOrder *order);

/* Whether an id is one of those with this prefix. */
extern bool billing_stripe_is_id(const char *id, const char *prefix);

/* Of answers. */
extern void billing_stripe_read(const BillingGatewayConfig *config, const BillingGatewayOrder *order, int status, const BillingPairs *headers,
								const char *body, size_t len, BillingGatewayAnswer *answer);

/* Of callbacks. */
extern void billing_stripe_read_callback(const BillingGatewayConfig *config, const BillingPairs *headers, const char *body, size_t len, int64 now,
										 BillingGatewayCallback *callback);
extern void billing_stripe_reply(bool is_accepted, BillingGatewayReply *reply);

/* What an object of Stripe's says; answer was cleared. */
extern void billing_stripe_read_intent(const BillingDocument *intent, BillingGatewayAnswer *answer);
extern void billing_stripe_read_session(const BillingDocument *session, BillingGatewayAnswer *answer);
extern void billing_stripe_read_refund(const BillingDocument *refund, BillingGatewayAnswer *answer);
extern void billing_stripe_read_setup(const BillingDocument *setup, BillingGatewayAnswer *answer);
extern void billing_stripe_read_method(const BillingDocument *method, BillingGatewayAnswer *answer);
extern void billing_stripe_read_subscription(const BillingDocument *subscription, BillingGatewayAnswer *answer);

/* The id of an object that is there, or that only its id stands for. */
extern const char *billing_stripe_object_id(const BillingDocument *document, const char *path);

/* A member of units in the object's currency; none, if it is no whole number from 0 on. */
extern void billing_stripe_read_money(const BillingDocument *object, const char *units, BillingGatewayAnswer *answer);

/* When it was created, if it says so. */
extern void billing_stripe_read_instant(const BillingDocument *object, BillingGatewayAnswer *answer);

/* False too for text NULL. */
extern bool billing_stripe_is_text(const char *text, const char *expected);

/* What a method, or a SetupIntent, is known by here, beside the token that it is; id may be NULL. */
extern const char *billing_stripe_method_key(const char *id);

/* A document as it is kept: neither secrets and tokens nor what Stripe knows of a person. */
extern const char *billing_stripe_keep(const BillingDocument *document);

/* Add to what the next step is given, or to the members of an object that is mirrored. */
extern void billing_stripe_remember(BillingGatewayAnswer *answer, const char *name, const char *value);

#endif							/* BILLING_STRIPE_H */
