/* A request as the parser leaves it: checked, in pieces, nothing decoded that was not asked for.
 * All slices live in the exchange's arena, or, for `body`, in memory that the connection owns until
 * the exchange ends. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "http/headers.h"

enum http_method {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_COUNT /* anything else is refused by the parser */
};

#define METHOD_BIT(method) (1u << (method))
#define METHOD_ALL         ((1u << METHOD_COUNT) - 1)

/* Whose word about who is behind a proxy was believed; see http/forwarded.h. */
enum forwarded_by { FORWARDED_BY_NOBODY, FORWARDED_BY_X, FORWARDED_BY_RFC7239 };

/* Of a head that came again on its connection, to the last byte: what a part of it was found to be,
 * for when it comes the next time. Other parts of the request may have been added since. */
struct request_note {
    struct str head; /* all that is a slice of it is such a part */
    uint64_t claims; /* serial of those of the token in it; 0: not known */
    struct str path; /* a slice that is normal as it was sent; ptr NULL: none is known */
};

struct request {
    enum http_method method;
    int version_minor;      /* HTTP/1.x; 1 for HTTP/2 */
    struct str method_name; /* "GET" */
    struct str target;      /* as sent: origin form, or the origin form of an absolute one */
    struct str path;        /* target up to '?', percent-encoded as sent; begins with '/' */
    struct str query;       /* after '?', without it; ptr NULL when there was no '?' */
    struct str host;        /* Host header, or the authority of an absolute target; may be empty */
    struct str scheme;      /* "http" or "https" */
    struct str client_ip;   /* text of the peer's address, or of who is behind a trusted one */
    struct str client_cert; /* DER; of the handshake, or as a trusted proxy tells it; empty: none */
    struct headers headers; /* lower-case names; trailers are not among them */
    struct str body;        /* ptr NULL when the request has no body at all */
    struct request_note *note; /* borrowed; NULL: it is not the same as the one before */
    struct str cert_header;    /* that handlers do not see, nor what its name with -chain is */
    enum forwarded_by forwarded;
    bool forwarded_host; /* also about the host's name */
    bool keep_alive;
    bool expects_continue;
    bool upgrade; /* to a WebSocket, and by a request that may be one */
    bool tunnel;  /* ... by CONNECT over HTTP/2 (RFC 8441) */
};

/* "GET"; static. */
const char *request_method_name(enum http_method method);
/* 0 and *out, or -EINVAL for a name that is not in the enum (exact case). */
int request_method_parse(struct str name, enum http_method *out);

/* The note of the head that `part` is a slice of. NULL: there is none, or it was added since. */
static inline struct request_note *request_note_of(const struct request *req, struct str part)
{
    struct request_note *note = req->note;
    bool is_in_it =
        note != NULL && (uintptr_t)part.ptr - (uintptr_t)note->head.ptr < note->head.len;
    return is_in_it ? note : NULL;
}

/* The request's path as target_normalize_path makes it; what was normal in a head that came before
 * is not looked at again. */
int request_normalize_path(const struct request *req, struct arena *arena, struct str *out)
    __attribute__((warn_unused_result));

/* ---- made by hand: all copied to the arena. 0, -EINVAL with what is wrong, -ENOMEM. ---- */

/* A path, with a query or without: target, path and query. */
int request_set_target(struct request *req, struct arena *arena, struct str target, struct err *err)
    __attribute__((warn_unused_result));
/* A field; the name is made lower case. */
int request_add_header(struct request *req, struct arena *arena, struct str name, struct str value,
                       struct err *err) __attribute__((warn_unused_result));
