/* functions.lua and .env files as plain structs; every fault with file:line and what to write
 * instead.
 *
 * A configuration is immutable once loaded and owns all of its memory. A reload makes a new one. */
#pragma once

#include "auth/outbound_spec.h"
#include "base/arena.h"
#include "base/err.h"
#include "config/env.h"
#include "http/cors.h"
#include "http/forwarded.h"
#include "http/header_rule.h"
#include "http/redirect.h"
#include "journal/journal.h"
#include "lua/origin.h"
#include "server/server.h"
#include "options/spec.h"
#include "store/redis_url.h"

/* What is wrong, or means nothing here, in a file that is read all the same: _redirects, _headers,
 * netlify.toml. */
struct config_note {
    bool fault;      /* a line that is no good, and was left out; else a warning */
    struct str text; /* "file:line: ..." */
};

/* auth.revocation of an issuer: who tells of sessions that have ended. */
struct config_revocation {
    bool set;
    struct str logout_path, events_path;   /* empty: there is none */
    struct str *clients, *audiences;       /* whose logout tokens and events are for us; ... */
    unsigned client_count, audience_count; /* ... 0: those that its tokens are for */
};

/* Where and how tools are offered. */
struct mcp_spec {
    struct str path;         /* "/mcp" */
    struct str name;         /* of the server, as clients show it */
    struct str version;      /* of it */
    struct str instructions; /* for the model; empty: none */
    bool list_all;           /* also those that the caller may not call */
    bool given;              /* functions.lua has `mcp`: it is there without tools, too */
};

/* `login` of an issuer: how browsers sign in there. */
struct config_login {
    bool on;
    unsigned issuer;                     /* whose it is, in `issuers` */
    struct str client_id, client_secret; /* the second may be empty: PKCE alone */
    struct str *secrets;                 /* of sessions; the first is the newest; ... */
    unsigned secret_count;               /* ... 0: the host's own, as in `dev` */
    struct str scope, callback;
};

/* A rule of `protect`; see config_protect.h for what it matches. */
struct config_protect {
    struct str path;      /* a pattern as of a route, without '?' */
    struct policy policy; /* owns its claims and the keys of its own issuers */
};

struct config {
    struct arena arena;    /* all of it, but for: */
    struct origin *origin; /* reference: what it was made from */
    uint64_t hash;         /* of its files: the version of what is loaded under it */
    struct str file; /* path of functions.lua, or of the netlify.toml in its place: absolute, as it
                        was named, with its links */
    struct str folder;      /* of that file */
    struct str real_folder; /* where its links led */
    struct str source;      /* its text, for line numbers in later messages */
    struct env *env;        /* owned */
    struct toml *toml;      /* netlify.toml in the same folder; NULL: none */
    bool dev;
    struct str prefix; /* "/.netlify/functions" */
    struct function_spec *functions;
    unsigned function_count;
    struct str
        functions_folder; /* as it is written: every script of it is one; empty: none is named */
    struct verifier_spec *issuers; /* the deployment's */
    unsigned issuer_count;
    struct config_revocation *revocations; /* one an issuer */
    struct config_login login;
    bool receives;              /* one of them has a path */
    struct str resource;        /* the address that tokens are for, without a slash at its end;
                                   empty: what each request calls it */
    struct str claim_namespace; /* stripped from claims where a function names none; empty: none */
    struct str claim_roles;     /* where roles are, where a function does not say; empty: `roles` */
    struct str publish;         /* absolute folder; empty: none */
    struct str publish_named;   /* the same by its name, which may be a link */
    struct str fixed; /* the first script or folder that is named by an absolute path; empty: none
                       */
    struct redirect_rule *redirects;
    unsigned redirect_count;
    struct config_protect *protect; /* the first that matches decides */
    unsigned protect_count;
    bool asks_role; /* one of them has a Role condition */
    struct str
        role_path; /* of claims, to the roles that count there beside those of the policies */
    struct header_rule *headers;
    unsigned header_count;
    struct config_note *notes; /* at most LIMIT_CONFIG_NOTES, then one that says so */
    unsigned note_count;
    struct cors cors;
    struct mcp_spec mcp;
    struct outbound_spec *outbound; /* by name */
    unsigned outbound_count;
    struct proxies proxies; /* whose word about their clients counts */
    struct server_limits limits;
    size_t body_limit;            /* bytes, of functions that name none and of rewrites */
    struct journal_rules journal; /* in `dev`: all */
    struct str *redact;           /* names that the journal shows no values of */
    unsigned redact_count;
    unsigned replay_before_reload;   /* requests that a new version is tried with; 0: none */
    bool compression;                /* of text, for clients that ask for it */
    size_t token_cache;              /* bytes of the verified-token cache, a worker; 0: off */
    struct redis_address kv_address; /* of KV_URL; place_count 0: it is not set */
};

struct config_options {
    const char *file;
    bool dev;
    const char *const *
        defaults; /* variables that `dev` provides where nobody else does: name, value, ..., NULL */
    struct origin *earlier; /* what it is to be made from again; NULL: what is on disk */
    /* Is set to a reference to what was looked at, also when the load fails (NULL: out of memory).
     * NULL: nobody asks. */
    struct origin **seen;
};

/* NULL with the reason. */
struct config *config_load(const struct config_options *options, struct err *err);
void config_free(struct config *config);

/* Leaves none of the functions that it names. */
void config_drop_functions(struct config *config);

/* Fills err with "functions.lua:LINE: PATH: message" for a member such as "functions.me.auth".
 * Returns -EINVAL. */
int config_fault(const struct config *config, struct err *err, const char *path, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

/* One more function slot set to the defaults, for functions that the program brings itself. NULL
 * when out of memory. */
struct function_spec *config_add_function(struct config *config, struct str name,
                                          struct str script);
