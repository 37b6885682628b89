/* One fetcher per issuer: discovery, key set, refresh. Everybody who needs that issuer's keys
 * shares it.
 *
 * Single flight: whoever asks while a fetch is under way waits for that one. A key set is refreshed
 * in the background when it is LIMIT_KEYS_TTL old, kept for LIMIT_KEYS_STALE while the provider
 * cannot be reached (a set without usable keys counts as that), and its last good copy is kept on
 * disk for the next start. All workers share that file: of those that want keys at the same time
 * one fetches and the others take what it brings.
 *
 * Machines that share a store do the same by it: one fetches, the others take what it brings. A
 * fetch is not repeated over all of them before the last one is ISSUER_FRESH old.
 *
 * An unknown kid fetches at once, so that a rotation is picked up without delay; a fetch that does
 * not bring the kid begins a LIMIT_KEYS_COOLDOWN in which others are refused. A single stray token
 * does not close the door for the cooldown's whole length: up to LIMIT_KEYS_STRAYS such fetches are
 * granted in it, until so many kids were refused that this is a flood. Kids found unknown are
 * remembered for LIMIT_KEYS_UNKNOWN_TTL. A set counts as old as the request for it: who wants a kid
 * when that was sent already waits for one set more.
 *
 * Times are wall-clock times, as the file must mean the same to the next process; a clock that
 * jumps back makes a set look new or due, never a token good. */
#pragma once

#include <uv.h>

#include "auth/keyset.h"
#include "base/err.h"
#include "base/list.h"
#include "client/client.h"

struct issuers; /* all issuers of a worker */
struct issuer;

struct issuer_stats {
    struct str url;
    uint64_t fetches, failures;
    double keys_age; /* seconds; negative: no keys */
    unsigned key_count;
    struct str
        notes; /* lines about keys that go unused (keyset_notes); valid until the loop turns */
    char last_error[256]; /* empty: the last fetch was good; for logs and `explain`, never for a
                             client */
};

/* `folder`: where last good sets are kept (".luafn/keys"), NULL for none; copied. */
struct issuers *issuers_new(uv_loop_t *loop, struct client *client, const char *folder);
/* Drops every waiter without a call and stops what is under way; memory goes when the loop has
 * turned, that of an issuer with its last user. Before client_free. */
void issuers_free(struct issuers *issuers);
/* Does what is due now: refreshes, retries, and drops sets that are too old. Called by a timer of
 * its own each second; for tests with a clock of their own. */
void issuers_tick(struct issuers *issuers);
/* Takes the time from these instead of the system: seconds that nobody sets, and those since 1970.
 */
void issuers_set_clock(struct issuers *issuers, double (*steady)(void *arg),
                       double (*wall)(void *arg), void *arg);

/* From here on key sets are shared with the machines of that store (issuer_share.h). Borrowed,
 * until issuers_free; `secret`: its password. */
struct store;
void issuers_use_store(struct issuers *issuers, struct store *store, struct str secret);

/* From here on every issuer, now and later, has these keys and fetches none (`luafn invoke --as`,
 * `luafn test`). Borrowed until issuers_free; NULL does nothing. */
void issuers_trust(struct issuers *issuers, struct keyset *keys);

/* May these URLs be fetched from: https, or http on loopback? 0 or -EINVAL with the reason. */
int issuers_check(struct str url, struct str jwks_uri, struct err *err)
    __attribute__((warn_unused_result));

/* The fetcher for that issuer URL (exact text; jwks_uri empty: found by discovery). Made when there
 * is none. An http: URL is refused outside loopback. NULL with err. Does not fetch yet. It lives
 * until its last user leaves, without any as long as `issuers`. */
struct issuer *issuers_get(struct issuers *issuers, struct str url, struct str jwks_uri,
                           struct err *err);

/* One user more: what borrows its keys, and waits for them, must be one. `promised`: who asks this
 * user must not wait for keys; they are fetched now when there are none, and the host is not ready
 * before it has them. */
void issuer_use(struct issuer *issuer, bool promised);
/* One user less, as it came; also after issuers_free. The last one ends the fetcher: it is no part
 * of issuers_each and issuers_ready from here on. */
void issuer_leave(struct issuer *issuer, bool promised);

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
 * not, within LIMIT_KEYS_WAIT, of which who came late for a flight has two. 0: nothing to wait for:
 * fetching again now would be useless or too soon, or the provider keeps others waiting already;
 * judge with what is there. */
int issuer_want(struct issuer *issuer, struct str kid, struct issuer_wait *wait);
void issuer_cancel(struct issuer_wait *wait);

/* Did the last fetch fail, or does it take too long? Then an unknown kid may be a new one that
 * could not be had: that is a 503 and no refusal of the token. */
bool issuer_is_failing(const struct issuer *issuer);
/* Every issuer that was promised has keys. */
bool issuers_ready(const struct issuers *issuers);

void issuer_stats(const struct issuer *issuer, struct issuer_stats *out);
/* Calls fn for each issuer. */
void issuers_each(const struct issuers *issuers, void (*fn)(struct issuer *issuer, void *arg),
                  void *arg);
