/* Cross-origin requests (the Fetch standard): the preflight's answer and the headers of every
 * answer. */
#pragma once

#include "http/exchange.h"

struct cors {
    struct str *origins;   /* as browsers send them, or one "*"; borrowed from the configuration */
    unsigned origin_count; /* 0: no CORS headers at all */
    bool credentials;
    unsigned max_age; /* seconds; 0: not sent */
};

/* An origin as browsers send it: "HTTPS://Bücher.Example:443" -> "https://xn--bcher-kva.example".
 * "*" and "null" stay. 0, -EINVAL (no origin: a path, a star within, another scheme), -ENOMEM. */
int cors_origin(struct str text, struct arena *arena, struct str *out)
    __attribute__((warn_unused_result));

/* Answers a preflight (OPTIONS with Origin and Access-Control-Request-Method) into ex->res and
 * returns true; false when this is none. `methods`: bits that the route allows. */
bool cors_preflight(const struct cors *cors, struct exchange *ex, unsigned methods);

/* Adds Access-Control-Allow-Origin and company, and Vary: Origin, to ex->res where the request's
 * Origin is allowed. A header that the handler set itself stays. Called once for every answer, also
 * errors. */
void cors_add_headers(const struct cors *cors, struct exchange *ex);
