/* functions.lua and .env files as plain structs; every fault with file:line and what to write
 * instead.
 *
 * A configuration is immutable once loaded and owns all of its memory. A reload makes a new one. */
#ifndef LUAFN_CONFIG_H
#define LUAFN_CONFIG_H

#include "base/arena.h"
#include "base/err.h"
#include "env.h"
#include "http/cors.h"
#include "http/header_rule.h"
#include "http/redirect.h"
#include "net/server.h"
#include "run/spec.h"

struct config {
    struct arena arena; /* all of it */
    struct str file;    /* absolute path of functions.lua */
    struct str folder;  /* of that file */
    struct str source;  /* its text, for line numbers in later messages */
    struct env *env;    /* owned */
    bool dev;
    struct str prefix; /* "/.netlify/functions" */
    struct function_spec *functions;
    unsigned function_count;
    struct verifier_spec *issuers; /* the deployment's */
    unsigned issuer_count;
    struct str claim_namespace; /* stripped from claims where a function names none; empty: none */
    struct str publish;         /* absolute folder; empty: none */
    struct redirect_rule *redirects;
    unsigned redirect_count;
    struct header_rule *headers;
    unsigned header_count;
    struct cors cors;
    struct server_limits limits;
    bool compression;   /* of text, for clients that ask for it */
    size_t token_cache; /* bytes of the verified-token cache, a worker; 0: off */
};

/* Variables that `dev` provides where nobody else does; NULL-terminated list of name, value, name,
 * value ... */
struct config_options {
    const char *file;
    bool dev;
    const char *const *
        defaults; /* variables that `dev` provides where nobody else does: name, value, ..., NULL */
};

/* NULL with the reason. */
struct config *config_load(const struct config_options *options, struct err *err);
void config_free(struct config *config);

/* Fills err with "functions.lua:LINE: PATH: message" for a member such as "functions.me.auth".
 * Returns -EINVAL. */
int config_fault(const struct config *config, struct err *err, const char *path, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

/* One number for the content of functions.lua and the .env files beside it. */
uint64_t config_files_hash(const char *file, bool dev);

/* One more function slot set to the defaults, for functions that the program brings itself. NULL
 * when out of memory. */
struct function_spec *config_add_function(struct config *config, struct str name,
                                          struct str script);

#endif
