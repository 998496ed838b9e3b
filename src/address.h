/*-------------------------------------------------------------------------
 *
 * address.h
 *	  Which network addresses are public.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_ADDRESS_H
#define BILLING_ADDRESS_H

#include <sys/socket.h>

/* Is it an address that anybody on the internet may own? */
extern bool billing_address_is_public(const struct sockaddr *address);

/* The same of a text such as libcurl's CURLINFO_PRIMARY_IP; false if it is no address. */
extern bool billing_address_is_public_text(const char *text);

#endif							/* BILLING_ADDRESS_H */
