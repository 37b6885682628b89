/* Outbound HTTP over libcurl's multi interface, on the loop: never blocks it.
 *
 * One client a worker; connections are pooled. TLS uses the system's CA store; proxies of the
 * environment are not used. curl.h is included by the client's own files alone. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/str.h"
#include "http/headers.h"

struct client;
struct client_call;

/* What a caller may reach. Checked for the URL of every hop, and again for the address that the
 * name resolved to, just before connecting, so that a name cannot be re-bound to a private address
 * in between. */
struct client_rules {
    const struct str *hosts; /* globs over "host" or "host:port"; "*" alone: any public host */
    unsigned host_count;
    bool any_public;     /* hosts that resolve to public addresses, without being listed */
    bool allow_loopback; /* `dev`; a listed host may be private or loopback in any case */
    bool https_only;     /* http:// only to loopback */
};

/* In whose name a call is made: what gives it its Authorization, which its caller never sees. It
 * goes to the origin of the call's URL alone, and no further over a redirect. */
struct client_credential {
    /* Of a call that begins: what the two below are given, and `release`, once, at its end. NULL
     * with the reason. */
    void *(*borrow)(const struct client_credential *credential, struct err *err);
    /* The field's value. 1 and *value (copied); 0 where it comes later: the call was parked;
     * negative errno with the reason. */
    int (*want)(void *loan, struct client_call *call, struct str *value, struct err *err);
    /* The answer to `value` was a 401. Is it worth asking for another? `again`: to the second one,
     * which is the call's answer in any case. */
    bool (*refused)(void *loan, struct str value, bool again);
    void (*release)(void *loan);
};

/* A call that is sent again, after an answer with one of these statuses, or where there was none
 * because of the network. Requests that are not idempotent (RFC 9110 9.2.2) are so only after an
 * answer, or when nothing of them was sent. */
struct client_retry {
    unsigned times;
    unsigned short status[LIMIT_FETCH_RETRY_STATUS];
    unsigned status_count;
    double backoff; /* seconds before the first, doubled for each that follows; a longer Retry-After
                       counts */
    uint64_t until; /* uv_hrtime: none begins later, nor past the call's own deadline */
};

struct client_request {
    struct str
        method; /* "GET" when empty; the usual ones in any case (Fetch standard, normalize) */
    struct str url;
    const struct header *headers; /* copied */
    unsigned header_count;
    struct str body; /* copied; ptr NULL: none */
    /* Not NULL: the body comes in pieces instead, of a request that follows no redirects. Copies at
     * most `size` bytes of it to `out`: their number, 0 when there are none yet (client_body_ready
     * tells when there are), or one of the two below. Must not call back. Such a request has no
     * time as a whole: `timeout` is for what the peer does not take, and for its answer. It is sent
     * again for no retry and no credential. */
    long (*read_body)(void *body_arg, char *out, size_t size);
    void *body_arg;
    uint64_t body_size;     /* or CLIENT_BODY_UNSIZED */
    double timeout;         /* seconds, whole call */
    size_t max_bytes;       /* of the response body; more is an error */
    unsigned max_redirects; /* 0: a redirect is an answer like any other; past it: -ELOOP */
    bool no_redirect;       /* a redirect is an error (-ELOOP); max_redirects is 0 then */
    bool fresh; /* on a connection of its own: libcurl sends a request again when a pooled one dies
                 */
    struct client_rules rules;                  /* the lists must outlive the call */
    const struct client_credential *credential; /* NULL: nobody's; read by `borrow` only */
    struct str as; /* its name: for messages, and for fakes, which need none of it */
    const struct client_retry *retry; /* copied; NULL: it is sent once */
    /* Not NULL: the answer is a stream. Told when the head is there (the final one, past all
     * redirects; or the call's end) and when bytes are: see client_stream_head below. `timeout` is
     * then for the head, and after that for the silence between two pieces; max_bytes does not
     * count, and nothing is unpacked. */
    void (*on_stream)(void *arg);
};

enum { CLIENT_BODY_END = -1, CLIENT_BODY_BROKEN = -2 }; /* of read_body */
#define CLIENT_BODY_UNSIZED UINT64_MAX

struct client_response {
    int error; /* 0, or a negative errno: -ETIMEDOUT, -ECONNREFUSED, -ECONNRESET, -ENOENT (no such
                  host), -EACCES (rules), -EMSGSIZE (too large), -ELOOP (redirects), -EPROTO (TLS),
                  -EBADMSG (not HTTP, not clear, cannot be unpacked), -EIO ... */
    const char *error_text; /* for people, with the name of the errno in parentheses; without the
                               URL; valid during the callback */
    long status;
    struct str url;         /* the last hop's */
    struct header *headers; /* lower-case names, in order */
    unsigned header_count;
    struct str body;
};

/* Called once, from the loop, never from within client_start. Everything in `res` is valid during
 * the call only. */
typedef void (*client_done_fn)(void *arg, const struct client_response *res);

/* NULL when libcurl or memory refuses. */
struct client *client_new(uv_loop_t *loop);
/* Ends every call without callback and closes; memory goes when the loop has turned. */
void client_free(struct client *client);

/* Starts a call. 0 and *call, or a negative errno (-EINVAL: not an http(s) URL, or a header that
 * cannot be sent; -EACCES: the rules refuse it; `err` says why). Headers that belong to the
 * connection or name another host (Host, Content-Length, Connection, ...) are left out, as in
 * browsers; Authorization and Cookie do not follow a redirect to another origin. A body may be
 * compressed; `max_bytes` counts what it unpacks to. */
int client_start(struct client *client, const struct client_request *req, client_done_fn done,
                 void *arg, struct client_call **call, struct err *err)
    __attribute__((warn_unused_result));

/* No callback will come; the call's memory is gone. */
void client_cancel(struct client_call *call);

/* ---- for credentials ---- */

/* From within `want`: the call waits in this list for client_unpark, or its deadline. */
void client_park(struct client_call *call, struct list *parked);
/* All that wait there go on with this value, or end with that error (negative errno). Calls back;
 * nothing that a callback may free is looked at afterwards. */
void client_unpark(struct list *parked, struct str value, int error, const char *text);

/* ---- instead of the network, for tests ---- */

struct client_fake {
    /* A call that the rules admit; `req` is valid now only. Not to be answered from within. */
    void (*start)(void *arg, struct client_call *call, const struct client_request *req);
    /* It was cancelled: its memory is about to go. */
    void (*gone)(void *arg, struct client_call *call);
    void *arg;
};

bool client_is_faked(const struct client *client);
/* From here on calls go to `fake` (borrowed). Streamed answers are refused. */
void client_set_fake(struct client *client, const struct client_fake *fake);
/* Ends such a call: its callback is called before this returns. */
void client_answer(struct client_call *call, const struct client_response *res);

/* ---- streams: after on_stream, until `done` or client_cancel ---- */

/* The head of a streamed answer: status, url and headers, valid until the loop goes on. False while
 * it has not come. */
bool client_stream_head(struct client_call *call, struct client_response *res);
/* What has come and was not taken, at most about LIMIT_FETCH_STREAM: the peer waits meanwhile.
 * Borrowed until client_stream_take. `done` brings what is left in its response's body, also
 * with an error. */
struct str client_stream_bytes(const struct client_call *call);
/* Drops those bytes; the peer goes on. */
void client_stream_take(struct client_call *call);

/* read_body has more to give, its end or a fault. */
void client_body_ready(struct client_call *call);

/* A method as it is sent. */
struct str client_method_normal(struct str method);

struct client_url {
    bool https;
    bool loopback;  /* by its text: localhost or a loopback address */
    char host[256]; /* lower case, without brackets and trailing dot */
};

/* The parts of an absolute http(s) URL, as a call would read it. 0 or -EINVAL with the reason. */
int client_parse_url(struct str url, struct client_url *out, struct err *err)
    __attribute__((warn_unused_result));

/* The same in parts, as a call would send them: dot segments resolved, blanks percent-encoded. ptr
 * NULL: absent; port -1: not given. */
struct client_url_parts {
    struct str scheme, user, password, host, path, query, fragment;
    int port;
    size_t size; /* of `text`, in which they lie: client_url_parts_size of the URL's length */
    char text[];
};

/* Blanks and foreign bytes take three, and a name in another script more. */
static inline size_t client_url_parts_size(size_t len)
{
    return 3 * len + 512;
}

/* 0 or -EINVAL with the reason. */
int client_split_url(struct str url, struct client_url_parts *out, struct err *err)
    __attribute__((warn_unused_result));

/* libcurl's version, static. */
const char *client_library_version(void);

/* Is this URL within the rules, as far as its text tells? 0, -EINVAL or -EACCES. */
int client_check_url(const struct client_rules *rules, struct str url, struct err *err);
