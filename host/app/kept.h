/* What a worker serves, written down so that one that takes another's place begins with the same,
 * whatever has become of the files: the origins of the configuration and of every function, the
 * certificates, and what is wrong with those that came after.
 *
 * The supervisor keeps the newest text and gives it to each worker that it makes; nobody else reads
 * or writes it, and only the same program does. */
#pragma once

#include "app/app.h"
#include "base/arena.h"
#include "lua/origin.h"
#include "server/tls.h"

struct kept_function {
    struct str name;
    struct origin *origin; /* of the version that serves; NULL: none does */
    uint64_t content;      /* ... and its number */
    unsigned generation;
    struct str error; /* of a newer one that does not load; empty: there is none */
};

struct kept {
    struct arena arena; /* all of it, but for the origins */
    struct origin *config;
    struct str config_error; /* as kept_function.error */
    struct tls_pem *certificates;
    unsigned certificate_count; /* 0: no TLS */
    struct kept_function *functions;
    unsigned function_count;
};

/* Of an app that is ready; appends. False when out of memory. */
bool kept_write(const struct app *app, struct buf *out) __attribute__((warn_unused_result));
/* NULL when it is no such text, or out of memory. */
struct kept *kept_read(struct str text);
void kept_free(struct kept *kept); /* may be NULL */

/* NULL: nothing is known of it. */
const struct kept_function *kept_find(const struct kept *kept, struct str name);
