/* One fetcher per issuer: discovery, key set, refresh. Everybody who needs that issuer's keys
 * shares it.
 *
 * Single flight: whoever asks while a fetch is under way waits for that one. A key set is refreshed
 * in the background when it is LIMIT_KEYS_TTL old, refetched for an unknown kid at most once a
 * LIMIT_KEYS_COOLDOWN, kept for LIMIT_KEYS_STALE while the provider cannot be reached, and its last
 * good copy is kept on disk for the next start (all workers share that file). */
#ifndef LUAFN_NET_ISSUER_H
#define LUAFN_NET_ISSUER_H

#include <uv.h>

#include "auth/keyset.h"
#include "base/err.h"
#include "base/list.h"
#include "net/client.h"

struct issuers; /* all issuers of a worker */
struct issuer;

struct issuer_stats {
    struct str url;
    uint64_t fetches, failures;
    double keys_age; /* seconds; negative: no keys */
    unsigned key_count;
    char last_error[256]; /* empty: none; for logs and `explain`, never for a client */
};

/* `folder`: where last good sets are kept (".luafn/keys"), NULL for none; copied. */
struct issuers *issuers_new(uv_loop_t *loop, struct client *client, const char *folder);
void issuers_free(struct issuers *issuers);

/* The fetcher for that issuer URL (exact text; jwks_uri empty: found by discovery). Made on first
 * use; lives as long as `issuers`. An http: URL is refused outside loopback. NULL with err. Does
 * not fetch yet. */
struct issuer *issuers_get(struct issuers *issuers, struct str url, struct str jwks_uri,
                           struct err *err);

/* Borrowed; for verifiers. */
struct key_source *issuer_keys(struct issuer *issuer);
/* The fetcher whose key source this is, or NULL (a static source). */
struct issuer *issuers_by_source(struct issuers *issuers, const struct key_source *source);

/* Somebody who waits for keys. Embedded in the waiter's struct. */
struct issuer_wait {
    struct list node;
    void (*done)(struct issuer_wait *wait); /* once, from the loop, never from within issuer_want */
};

/* Asks for a key of that kid (empty: any set). 1: `wait` is queued, done() will come, successful or
 * not. 0: nothing to wait for: fetching again now would be useless or too soon; judge with what is
 * there. */
int issuer_want(struct issuer *issuer, struct str kid, struct issuer_wait *wait);
void issuer_cancel(struct issuer_wait *wait);

/* Begins to fetch when there are no keys yet; for start-up. */
void issuer_prefetch(struct issuer *issuer);
/* Every issuer that was prefetched has keys. */
bool issuers_ready(const struct issuers *issuers);

void issuer_stats(const struct issuer *issuer, struct issuer_stats *out);
/* Calls fn for each issuer. */
void issuers_each(const struct issuers *issuers, void (*fn)(struct issuer *issuer, void *arg),
                  void *arg);

#endif
