/*-------------------------------------------------------------------------
 *
 * notice_kind.h
 *	  What tenants are told by mail.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_NOTICE_KIND_H
#define BILLING_NOTICE_KIND_H

/* Is value all, none, or names of kinds with a comma between them? */
extern bool billing_notice_kind_is_list(const char *value);

#endif							/* BILLING_NOTICE_KIND_H */
