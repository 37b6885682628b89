/* Gives verifiers their keys. */
#include "issuer/issuer_link.h"

#include <errno.h>

#include "issuer/discovery.h"
#include "issuer/introspection.h"
#include "issuer/outbound.h"

/* ---- what somebody uses ---- */

struct issuer_use {
    struct issuer_use *next;
    struct issuer *issuer;        /* or ... */
    struct opaque_source *opaque; /* or ... */
    struct outbound *outbound;
    bool promised;
};

struct issuer_links *issuer_links_new(struct arena *arena)
{
    struct issuer_links *links = arena_zalloc(arena, sizeof(*links));
    if (links != NULL)
        links->arena = arena;
    return links;
}

static void on_end(void *arg)
{
    struct issuer_use *use = arg;
    if (use->issuer != NULL)
        issuer_leave(use->issuer, use->promised);
    else if (use->opaque != NULL)
        introspection_leave(use->opaque);
    else
        outbound_leave(use->outbound);
}

static int keep(struct issuer_links *links, const struct issuer_use *wanted, struct err *err)
{
    for (struct issuer_use *use = links->first; use != NULL; use = use->next)
        if (use->issuer == wanted->issuer && use->opaque == wanted->opaque &&
            use->outbound == wanted->outbound && use->promised >= wanted->promised)
            return 0;
    struct issuer_use *use = arena_zalloc(links->arena, sizeof(*use));
    if (use == NULL || arena_defer(links->arena, on_end, use) != 0)
        return err_set(err, -ENOMEM, "out of memory");
    *use = *wanted;
    use->next = links->first;
    links->first = use;
    if (use->issuer != NULL)
        issuer_use(use->issuer, use->promised);
    else if (use->opaque != NULL)
        introspection_use(use->opaque);
    else
        outbound_use(use->outbound);
    return 0;
}

/* ---- verifiers ---- */

static int link_own(struct verifier_spec *spec, struct err *err)
{
    struct key *key = NULL;
    int rc = spec->secret.ptr != NULL ? key_from_secret(spec->secret, &key, err)
                                      : key_from_pem(spec->public_key, &key, err);
    if (rc != 0)
        return rc;
    for (unsigned alg = 1; alg < ALG_COUNT; alg++) {
        if ((spec->verifier.algorithms & ALG_BIT(alg)) != 0 && !key_fits(key, (enum alg)alg)) {
            key_unref(key);
            return err_set(err, -EINVAL, "the key does not fit the algorithm %s",
                           alg_name((enum alg)alg));
        }
    }
    struct keyset *set = keyset_of(key);
    key_unref(key);
    if (set == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    keyset_source_set(&spec->own_keys, set);
    keyset_unref(set);
    spec->verifier.keys = &spec->own_keys;
    return 0;
}

static int link_introspection(struct issuers *issuers, struct issuer_links *links,
                              struct verifier_spec *spec, struct err *err)
{
    if (spec->introspection.url.len == 0)
        return 0;
    if (issuers == NULL)
        return discovery_check_url(spec->introspection.url, true, err);
    spec->verifier.opaque = introspection_get(issuers, &spec->introspection, err);
    if (spec->verifier.opaque == NULL)
        return -EINVAL;
    return keep(links, &(struct issuer_use){.opaque = spec->verifier.opaque}, err);
}

int issuer_link(struct issuers *issuers, struct issuer_links *links, bool promised,
                struct verifier_spec *spec, struct err *err)
{
    int rc = link_introspection(issuers, links, spec, err);
    if (rc != 0)
        return rc;
    if (spec->secret.ptr != NULL || spec->public_key.ptr != NULL)
        return link_own(spec, err);
    if (issuers == NULL)
        return issuers_check(spec->verifier.issuer, spec->jwks_uri, err);
    struct issuer *issuer = issuers_get(issuers, spec->verifier.issuer, spec->jwks_uri, err);
    if (issuer == NULL)
        return -EINVAL;
    spec->verifier.keys = issuer_keys(issuer);
    return keep(links, &(struct issuer_use){.issuer = issuer, .promised = promised}, err);
}

int issuer_link_outbound(struct issuers *issuers, struct issuer_links *links,
                         struct outbound_spec *spec, struct err *err)
{
    if (issuers == NULL)
        return outbound_check(spec, err);
    spec->source = outbound_get(issuers, spec, err);
    if (spec->source == NULL)
        return -EINVAL;
    return keep(links, &(struct issuer_use){.outbound = spec->source}, err);
}
