/*-------------------------------------------------------------------------
 *
 * address.c
 *	  Which network addresses are public.
 *
 * A URL that a stranger may state must not make the server call its own network:
 * loopback, the local link (where clouds keep their metadata: 169.254.169.254,
 * fd00:ec2::254), private networks, and whatever the registries of RFC 6890 set
 * aside.  Of IPv6 only global unicast is public, and an address that carries an
 * IPv4 address is judged by that one.
 *
 *-------------------------------------------------------------------------
 */
#include "billing.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "utils/inet.h"

#include "address.h"

BILLING_FUNCTION(billing_is_public_address);

typedef struct Block4
{
	uint32		first;
	int			bits;
} Block4;

typedef struct Block6
{
	uint8		first[16];
	int			bits;
} Block6;

#define IP4(a, b, c, d) ((uint32) (a) << 24 | (b) << 16 | (c) << 8 | (d))

/* IANA's special-purpose addresses that are not reachable by all. */
static const Block4 special4[] = {
	{IP4(0, 0, 0, 0), 8},		/* this network */
	{IP4(10, 0, 0, 0), 8},		/* private */
	{IP4(100, 64, 0, 0), 10},	/* behind a carrier's NAT; clouds keep metadata there too */
	{IP4(127, 0, 0, 0), 8},		/* loopback */
	{IP4(168, 63, 129, 16), 32},	/* the host of each machine in Azure's cloud */
	{IP4(169, 254, 0, 0), 16},	/* the link; metadata */
	{IP4(172, 16, 0, 0), 12},	/* private */
	{IP4(192, 0, 0, 0), 24},	/* protocols; metadata of Oracle's cloud */
	{IP4(192, 0, 2, 0), 24},	/* documentation */
	{IP4(192, 88, 99, 0), 24},	/* relays of 6to4 */
	{IP4(192, 168, 0, 0), 16},	/* private */
	{IP4(198, 18, 0, 0), 15},	/* benchmarks */
	{IP4(198, 51, 100, 0), 24}, /* documentation */
	{IP4(203, 0, 113, 0), 24},	/* documentation */
	{IP4(224, 0, 0, 0), 4},		/* multicast */
	{IP4(240, 0, 0, 0), 4},		/* reserved, broadcast */
};

/* Of global unicast, 2000::/3, what is not. */
static const Block6 special6[] = {
	{{0x20, 0x01, 0x00}, 23},	/* protocols: Teredo and others */
	{{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
	{{0x3f, 0xff, 0x00}, 20},	/* documentation */
};

/* What carries an IPv4 address, from this byte on. */
static const struct
{
	Block6		block;
	int			offset;
}			carriers[] = {
	{{{[10] = 0xff, [11] = 0xff}, 96}, 12}, /* mapped */
	{{{0x00, 0x64, 0xff, 0x9b}, 96}, 12},	/* NAT64 */
	{{{0x20, 0x02}, 16}, 2},	/* 6to4 */
};

static bool is_public4(const uint8 *bytes);
static bool is_public6(const uint8 *bytes);
static bool is_in_block6(const uint8 *bytes, const Block6 *block);

/*
 * billing_is_public_address
 *		The SQL function: the rule by which a webhook's target is judged.
 */
Datum
billing_is_public_address(PG_FUNCTION_ARGS)
{
	inet	   *address = PG_GETARG_INET_PP(0);

	PG_RETURN_BOOL(ip_family(address) == PGSQL_AF_INET ? is_public4(ip_addr(address)) : is_public6(ip_addr(address)));
}

bool
billing_address_is_public(const struct sockaddr *address)
{
	switch (address->sa_family)
	{
		case AF_INET:
			return is_public4((const uint8 *) &((const struct sockaddr_in *) address)->sin_addr);
		case AF_INET6:
			return is_public6((const uint8 *) &((const struct sockaddr_in6 *) address)->sin6_addr);
		default:
			return false;
	}
}

bool
billing_address_is_public_text(const char *text)
{
	uint8		bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		return is_public4(bytes);
	return inet_pton(AF_INET6, text, bytes) == 1 && is_public6(bytes);
}

static bool
is_public4(const uint8 *bytes)
{
	uint32		address = IP4(bytes[0], bytes[1], bytes[2], bytes[3]);

	for (int i = 0; i < lengthof(special4); i++)
	{
		if ((address ^ special4[i].first) >> (32 - special4[i].bits) == 0)
			return false;
	}
	return true;
}

static bool
is_public6(const uint8 *bytes)
{
	for (int i = 0; i < lengthof(carriers); i++)
	{
		if (is_in_block6(bytes, &carriers[i].block))
			return is_public4(bytes + carriers[i].offset);
	}
	if ((bytes[0] & 0xe0) != 0x20)
		return false;
	for (int i = 0; i < lengthof(special6); i++)
	{
		if (is_in_block6(bytes, &special6[i]))
			return false;
	}
	return true;
}

static bool
is_in_block6(const uint8 *bytes, const Block6 *block)
{
	int			whole = block->bits / 8;
	int			rest = block->bits % 8;

	return memcmp(bytes, block->first, whole) == 0 &&
		(rest == 0 || (bytes[whole] ^ block->first[whole]) >> (8 - rest) == 0);
}
