/* What must not be written down: secrets in texts, members, fields and headers are replaced.
 *
 * Three kinds are known. Headers that carry credentials, always; names that functions.lua gives
 * (`redact`), as headers, as members at any depth of JSON, and as fields of forms and queries;
 * values: of env variables that scripts have read, of policies' secrets, and of the credentials
 * that this request brought, wherever they turn up again. Values of fewer than
 * LIMIT_REDACT_VALUE_MIN bytes are not looked for: they stand in any text. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/siphash.h"
#include "http/headers.h"

/* What stands in place of a secret; of an env variable it is [env:NAME]. */
#define REDACT_TEXT "[redacted]"

/* ---- of the process: secrets by value ---- */

/* Remembers the value of the variable `name` (empty: some secret that has none). What does not fit
 * any more is refused: false, and nothing may be written down from then on. */
bool redact_learn(struct str name, struct str value);
/* The variable's value as it was learned, or ptr NULL. */
struct str redact_learned(struct str name);
/* Has all that was to be learned been learned? */
bool redact_is_whole(void);
void redact_forget(void);

/* ---- of one configuration: names ---- */

struct redact_names {
    unsigned refs;
    unsigned count;
    struct str *list; /* owned, with their texts */
};

/* A copy, with one reference. NULL when out of memory. */
struct redact_names *redact_names_new(const struct str *list, unsigned count);
struct redact_names *redact_names_ref(struct redact_names *names);
void redact_names_unref(struct redact_names *names); /* NULL is fine */

/* ---- of one run ---- */

struct redact {
    struct redact_names *names;    /* reference; NULL: none */
    const struct headers *request; /* borrowed: to be learned before anything is shown; or NULL */
    struct str
        *values; /* owned; its texts are borrowed: what the request brought; NULL: nothing yet */
    unsigned value_count;
    struct buf first, second; /* owned: for texts under way */
    bool hides_place;         /* the query of Location is not shown */
};

void redact_free(struct redact *redact);

/* Learns the credentials that these headers carry, for this run. */
void redact_learn_headers(struct redact *redact, const struct headers *headers);
/* The same of one header. `value` must live as long as the run. */
void redact_learn_header(struct redact *redact, struct str name, struct str value);

/* Is it a header that carries credentials, or a name that functions.lua gives? */
bool redact_is_header(const struct redact *redact, struct str name);

/* The text without secrets. It lives in the redact until the next call; ptr NULL: no memory. */
struct str redact_clean(struct redact *redact, struct str text);

/* The same of an address, of whose query nothing is shown. */
struct str redact_clean_place(struct redact *redact, struct str url);

/* Appends the text without secrets as a JSON value: a string, {"base64":...} where it is not UTF-8,
 * or {"cut":LENGTH,"text":...} where it is longer than `max`. */
void redact_add_text(struct redact *redact, struct str text, size_t max, struct buf *out);
/* Appends a JSON text without secrets as it is: still JSON. */
void redact_add_json(struct redact *redact, struct str json, struct buf *out);
/* Appends [["name","value"],...]. */
void redact_add_headers(struct redact *redact, const struct header *headers, unsigned count,
                        struct buf *out);
