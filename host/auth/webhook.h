/* Webhooks: did who knows our secret sign this request, and just now?
 *
 * Pure: bytes in, a verdict out. A scheme is a row of data: which header holds what sort of
 * signature over what. Three have something of their own: "standard" signs in a list, with HMAC or
 * Ed25519; "stripe" has all in one header; "twilio" signs the URL and the fields of a form. The
 * body is judged as it came, before anything reads it. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "http/request.h"

enum webhook_kind { WEBHOOK_PLAIN, WEBHOOK_STANDARD, WEBHOOK_STRIPE, WEBHOOK_TWILIO };
enum webhook_encoding { WEBHOOK_HEX, WEBHOOK_BASE64 };

/* Lower-case names of headers; empty: the scheme has none. */
struct webhook_names {
    struct str signature, timestamp, id;
};

struct webhook_secret {
    struct str key;  /* bytes */
    bool is_ed25519; /* a public key */
};

/* Slices are borrowed: static, or the configuration's. */
struct webhook {
    const char *name; /* "github"; of a form of one's own "custom" */
    enum webhook_kind kind;
    enum webhook_encoding encoding;
    const char *digest;            /* OpenSSL's name */
    struct webhook_names names[2]; /* the second where senders have two families; never mixed */
    struct str prefix;             /* before the signature */
    struct str signed_text; /* with {timestamp}, {id} and {body}; at most LIMIT_WEBHOOK_PIECES */
    struct webhook_secret *secrets;
    unsigned secret_count; /* at least 1 */
    double tolerance;      /* seconds that a timestamp may differ, either way */
};

/* One of "standard", "github", "stripe", "slack", "shopify", "twilio", without secrets; NULL: there
 * is none of that name. */
const struct webhook *webhook_find(struct str name);

/* "sha256": OpenSSL's name of it, static; NULL: not one of sha1, sha256, sha384, sha512. */
const char *webhook_find_digest(struct str name);

/* Takes the first piece off a text like "v0:{timestamp}:{body}": "v0:", then "timestamp" with
 * *is_name. False at the end. */
bool webhook_next_piece(struct str *rest, struct str *piece, bool *is_name);

/* The key that `text` stands for in that scheme: its bytes, or what it encodes, in the arena. 0,
 * -EINVAL (it is none), or -ENOMEM. Never repeats it. */
int webhook_read_secret(const struct webhook *webhook, struct str text, struct arena *arena,
                        struct webhook_secret *out) __attribute__((warn_unused_result));

enum webhook_result {
    WEBHOOK_GOOD,
    WEBHOOK_INVALID, /* not signed, or by somebody else, or something else was */
    WEBHOOK_STALE,   /* signed, but not within the tolerance */
    WEBHOOK_MEMORY
};

/* A delivery, by which a repeat is known. */
struct webhook_delivery {
    /* The sender's, of a long one its hash; else the signature in hex. In the arena, or the
     * request's. */
    struct str id;
    double until; /* from this time on a repeat would be stale, or the tolerance has passed */
};

/* Is there anything that could be a signature? By the head alone: GOOD or INVALID. */
enum webhook_result webhook_check_head(const struct webhook *webhook, const struct request *req);

/* All of it; req->body is whole. Each secret is tried, and each takes the same time. *out is filled
 * for WEBHOOK_GOOD alone. `now`: seconds. */
enum webhook_result webhook_check(const struct webhook *webhook, const struct request *req,
                                  struct arena *arena, double now, struct webhook_delivery *out);

/* Signs the request, whose body and URL are there, with the first secret: adds the headers that a
 * sender would. `id` names the delivery. 0; -ENOTSUP: that key cannot sign, or the scheme not such
 * a body; -ENOMEM. */
int webhook_sign(const struct webhook *webhook, struct request *req, struct arena *arena,
                 double now, struct str id) __attribute__((warn_unused_result));
