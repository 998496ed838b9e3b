/*-------------------------------------------------------------------------
 *
 * http.h
 *	  Transfers over the network, many at a time: HTTP, and whatever else libcurl speaks.
 *
 * It knows no table and opens no transaction.  A process puts billing_http_fd() and
 * billing_http_timeout() into its wait, calls billing_http_run() when it woke, and
 * learns by each transfer's callback how it ended.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BILLING_HTTP_H
#define BILLING_HTTP_H

/* What is kept of an answer, where nobody wants more. */
#define BILLING_HTTP_RESPONSE_MAX	4096

/* How a transfer ended; valid while the callback runs. */
typedef struct BillingHttpResult
{
	/*
	 * NULL: the other side answered, whatever it said.  Else what kind of failure: dns,
	 * connect, tls, timeout, private_address, reset (it broke off), protocol (it did not
	 * speak it), or failed (anything else).
	 */
	const char *failure;
	const char *message;		/* of a failure, for people; holds no secret */
	int			code;			/* libcurl's CURLcode */
	int			status;			/* of the answer: HTTP's, or SMTP's last; 0 if none came */
	int64		retry_after;	/* seconds that the answer asks to wait; 0 if it does not */
	int64		duration;		/* microseconds, from start to end */
	const char *response;		/* the first bytes of its body, as they came; not terminated */
	size_t		response_len;
	bool		is_sent;		/* the other side may have got the request, or some of it */
	const char *headers;		/* of the answer, where they are wanted: lines, as they came; not terminated */
	size_t		headers_len;
} BillingHttpResult;

/* May use the memory context of whoever called billing_http_run(); it does not raise. */
typedef void (*BillingHttpDone) (void *context, const BillingHttpResult *result);

/* What keeps a URL from being asked for, as a detail; NULL: nothing that its text shows. */
extern const char *billing_http_check_url(const char *url, bool allow_private);

/*
 * Of a transfer that goes on as a dialogue of one's own when it is connected: the other side has
 * sent something, or takes something again, or (is_late) the timeout is over.  It does not raise.
 */
typedef void (*BillingHttpReady) (void *context, bool is_late);

/* What is common to transfers of every protocol. */
typedef struct BillingHttpOptions
{
	const char *protocols;		/* of the URL, as "http,https" */
	int			timeout;		/* milliseconds for all of it */
	bool		allow_private;	/* also addresses that are not public */
	int			response_max;	/* of the body, where all of it is wanted, and its headers too; more is a failure.  0: its beginning */
	bool		is_sent_once;	/* over a connection of its own: over one that was kept libcurl may send a request again */
	BillingHttpDone done;
	BillingHttpReady ready;		/* NULL: there is no dialogue */
	void	   *context;		/* of both */
} BillingHttpOptions;

typedef struct BillingTransfer BillingTransfer;

/*
 * POST len bytes of body, which stay the caller's and in place until done is called; each
 * header is "Name: value".  With another verb: with no body (NULL), if it has none.
 */
extern void billing_http_request(const BillingHttpOptions *options, const char *verb, const char *url, const char *const *headers,
								 int nheaders, const char *body, size_t len);
extern void billing_http_post(const BillingHttpOptions *options, const char *url, const char *const *headers, int nheaders,
							  const char *body, size_t len);

/*
 * The same in steps, for a protocol of its own: make a transfer, give its handle (libcurl's
 * CURL *, with the options set) a URL and what else it needs, start it.  A list (struct
 * curl_slist *, at most two) that is kept is freed with the transfer.
 */
extern BillingTransfer *billing_http_make(const BillingHttpOptions *options);
extern void *billing_http_handle(BillingTransfer *transfer);
extern void billing_http_keep(BillingTransfer *transfer, void *list);
extern void billing_http_start(BillingTransfer *transfer);

/*
 * A dialogue: done is told that the transfer is connected, as far as libcurl itself goes with its
 * protocol, and then ready is called, again and again, until somebody ends it.  Send and receive
 * return how many bytes went, 0 where they would have to wait, -1 if the connection is broken or
 * closed.
 */
extern int	billing_http_send(BillingTransfer *transfer, const char *data, size_t len);
extern int	billing_http_receive(BillingTransfer *transfer, char *buffer, size_t len);
extern void billing_http_prolong(BillingTransfer *transfer, int timeout);	/* milliseconds from now on */
extern void billing_http_end(BillingTransfer *transfer);

/* What to wait for: a descriptor that becomes readable, and so many milliseconds, -1 for ever. */
extern int	billing_http_fd(void);
extern long billing_http_timeout(void);

/* Go on with the transfers as far as that needs no waiting, and call back for those that ended. */
extern void billing_http_run(void);

#endif							/* BILLING_HTTP_H */
