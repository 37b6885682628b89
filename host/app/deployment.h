/* One loaded configuration: its functions, routes and issuers. A reload makes a new one beside it
 * and swaps. */
#pragma once

#include "config/config.h"
#include "http/router.h"
#include "http/static.h"
#include "issuer/issuer.h"
#include "run/function.h"

struct kept;

struct deployment {
    struct config *config;       /* owned */
    struct function **functions; /* owned; in the order of config->functions */
    unsigned function_count;
    struct router *router;    /* owned; targets are functions */
    bool serves_tools;        /* at config->mcp.path */
    struct services services; /* what its functions are given */
    struct static_site site;
    struct issuer_links *links; /* in the config's arena: the issuers that functions.lua names */
    unsigned awaited; /* requests that wait for a key before redirects are judged for them */
    unsigned loading; /* functions that have not ended their first load */
    void (*loaded)(struct deployment *deployment, void *arg); /* see deployment_new */
    void *loaded_arg;
    /* A function has loaded anew, or did not, or took its new version back; NULL: nobody asks. */
    void (*changed)(void *loaded_arg);
    struct deployment *retired_next; /* in the app's list of old ones that still have work */
};

/* Takes ownership of the config, also when it fails. Links verifiers and begins to load every
 * function, from what `kept` knows of it (kept.h; NULL: from disk); `before` (may be NULL) gives
 * the generation numbers to go on from. When it returns with `loading` 0 all have loaded; else
 * `loaded` is called later. NULL with the reason. */
struct deployment *deployment_new(struct config *config, const struct services *services,
                                  const struct binding *bindings, const struct deployment *before,
                                  const struct kept *kept,
                                  void (*loaded)(struct deployment *, void *), void *arg,
                                  struct err *err);

/* Where a function is called, as it says itself. 0, or a negative errno with the reason. */
int deployment_add_routes(struct router *router, const struct config *config,
                          struct function *function, struct err *err)
    __attribute__((warn_unused_result));

/* Builds the routes from what configuration and scripts say. 0, or -EEXIST and the like with the
 * reason; the routes before stay then. */
int deployment_build_routes(struct deployment *deployment, struct err *err)
    __attribute__((warn_unused_result));

/* The first function that does not load, or NULL. */
const struct function *deployment_first_failed(const struct deployment *deployment);

/* The first function that serves nothing here but is served by `before`, or NULL. */
const struct function *deployment_first_lost(const struct deployment *deployment,
                                             const struct deployment *before);

struct function *deployment_find(const struct deployment *deployment, struct str name);
bool deployment_is_idle(const struct deployment *deployment);
/* Must be idle. */
void deployment_free(struct deployment *deployment);
