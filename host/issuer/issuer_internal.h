/* What the files of the key fetcher share. Nobody else includes this. */
#pragma once

#include "base/log.h"
#include "base/limits.h"
#include "issuer/issuer.h"
#include "issuer/issuer_share.h"
#include "issuer/issuer_store.h"
#include "issuer/kid_gate.h"

/* Seconds: a set that another worker fetched this recently is as good as fetching now. */
#define ISSUER_FRESH 2.0

enum issuer_state { ISSUER_IDLE, ISSUER_SHARING, ISSUER_DISCOVERY, ISSUER_KEYS };

struct issuers {
    uv_loop_t *loop;       /* borrowed */
    struct client *client; /* borrowed */
    char *folder;          /* owned; NULL: none */
    struct list list;
    struct list introspections; /* introspection.c's */
    struct list outbounds;      /* outbound.c's */
    uint64_t outbound_requests, outbound_failures;
    struct keyset *trusted; /* borrowed; NULL: keys are fetched */
    struct store *store;    /* borrowed; NULL: none is shared with other machines */
    struct str secret;      /* borrowed: issuers_use_store */
    uv_timer_t timer;
    double (*steady)(void *arg); /* seconds that nobody sets: ages, waits */
    double (*wall)(void *arg);   /* seconds since 1970: what lies on disk or in tokens */
    void *clock_arg;
    unsigned open; /* handles not yet closed; the memory goes with the last */
};

/* When a set was fetched. */
struct fetch_time {
    double steady; /* for its age */
    double wall;   /* as the disk has it: tells one fetch from another, wherever the clock is set */
    uint64_t hash; /* of its text */
};

struct issuer {
    struct list node;
    struct issuers *all;  /* NULL: its timer is closed, users hold mere memory */
    char *url;            /* owned */
    char *configured_uri; /* owned; NULL: by discovery */
    char *found_uri;      /* owned; NULL: not yet discovered */
    struct str hosts[2];  /* slices of host_text: what the operator named may be private */
    char host_text[2][256];
    unsigned host_count;
    bool loopback;
    struct key_source source;
    struct fetch_time fetched; /* of source.keys */
    bool due;                  /* refresh regardless of age: the set is from disk */
    unsigned users;            /* issuer_use */
    unsigned promises;         /* ... those whose requests must not wait for keys */
    struct issuer_store store;
    struct issuer_share share;
    struct kid_gate gate;

    enum issuer_state state;
    struct client_call *call;         /* DISCOVERY, KEYS */
    uv_timer_t timer;                 /* SHARING: the next look; else until nobody waits longer */
    double began;                     /* of the flight */
    bool overdue;                     /* this flight, or the last one, is or was: nobody waits */
    double share_until;               /* SHARING */
    double asked;                     /* the newest question to the store or for the set */
    bool asks_lease;                  /* ... this flight has looked there, and wants to fetch */
    char wanted[LIMIT_KID_BYTES + 1]; /* the kid that this flight is for; empty: any set */
    bool discovered;                  /* in this flight */
    bool no_openid;                   /* in this flight: it has no OpenID configuration */
    struct list waiting;              /* for the flight under way */
    struct list late;                 /* who came when it had asked for the set already, */
    char next[LIMIT_KID_BYTES + 1];   /* and a kid that they want; empty: there are none */
    struct list ready;                /* to be called now */

    uint64_t fetches, failures;
    unsigned streak; /* failures since the last good fetch */
    double retry_at;
    bool slash_warned;
    char last_error[256];
    char moved_error[256];  /* of the key set, while its place is looked up again */
    char absent_error[256]; /* of the OpenID configuration, while another place is tried */
};

/* ---- issuer_flight.c, which calls nothing of issuer.c ---- */

double issuer_now(const struct issuer *issuer); /* steady */
/* A line about this issuer; `error` may be NULL. */
void issuer_log(const struct issuer *issuer, enum log_level level, const char *message,
                const char *error);

/* Begins a flight with the loop's next turn, for this kid or (empty) for any set. Only in
 * ISSUER_IDLE. */
void issuer_take_off(struct issuer *issuer, struct str kid);
/* The flight under way is for any set, and has not begun to fetch: it is for this kid from now on.
 */
void issuer_want_kid(struct issuer *issuer, struct str kid);
/* Sees to it that nobody waits for a flight that is LIMIT_KEYS_WAIT old. Calls no one back. */
void issuer_watch_wait(struct issuer *issuer);
/* Puts a set in place; takes a reference of its own. */
void issuer_use_set(struct issuer *issuer, struct keyset *set, struct fetch_time fetched);
/* The set on disk, a reference, or NULL; err->text is empty unless what is there is no key set. */
struct keyset *issuer_load_set(struct issuer *issuer, struct fetch_time *fetched, struct err *err);
