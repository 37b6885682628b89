/* An issuer's key set among machines that share a store: one of them fetches, the others take what
 * it brings.
 *
 * Who may write there could let anybody in, so a set is sealed with the store's password where that
 * is long enough (SEALED_SECRET_MIN), and only what was sealed with it is read; else the store is
 * trusted. Either way a set says for which issuer and when it was fetched, by the store's clock. */
#pragma once

#include "auth/keyset.h"
#include "base/err.h"
#include "store/store.h"

struct issuer_share_call;

/* One issuer's; all zero: with nobody. */
struct issuer_share {
    struct store *store;            /* borrowed; NULL: with nobody */
    struct str secret;              /* borrowed; empty: the store is trusted */
    const char *identity;           /* borrowed: issuer_store's */
    struct issuer_share_call *call; /* under way; NULL: none */
    char token[27];                 /* who asks; made when it does */
    bool leased;                    /* we have it */
    bool warned;                    /* of a set that cannot be used */
    int64_t stamp;  /* of the newest set that was read or written: ms of the store's clock */
    int64_t now_ms; /* the store's clock when it answered last */
};

/* What was asked for. */
struct issuer_share_answer {
    int status;         /* 0: the rest counts; else as of the store */
    struct keyset *set; /* a reference, the receiver's; NULL: none, none that can be used, or the
                           one of `stamp` */
    struct str text;    /* of the set */
    double age;         /* seconds, of the newest set there; of none: HUGE_VAL */
    bool leased;        /* was asked for, and nobody else has it */
};

/* Asks for a set that is newer than `stamp`, and, `lease`, for the right to fetch one. `done` comes
 * once, from within or later, unless it is cancelled. 0 or -ENOMEM. */
int issuer_share_ask(struct issuer_share *share, bool lease,
                     void (*done)(void *arg, const struct issuer_share_answer *answer), void *arg)
    __attribute__((warn_unused_result));
void issuer_share_cancel(struct issuer_share *share);

/* Puts a set there that was fetched by the right to do so, and gives that back. It counts as old as
 * that right: the provider may have changed its keys while it was on its way. `jwks` empty: only
 * gives back. */
void issuer_share_put(struct issuer_share *share, struct str jwks);
