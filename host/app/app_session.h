/* A browser's session, as a request brings it. See app_session.c. */
#pragma once

#include "app/app.h"
#include "app/deployment.h"
#include "app/login.h"

enum session_state {
    SESSION_NONE,   /* there is none, or it has ended */
    SESSION_OPEN,   /* `session` is it */
    SESSION_UNKNOWN /* the store, or who renews it, cannot be asked now */
};

/* In the exchange's arena. The first ones are the caller's to fill. */
struct session_wait {
    struct app *app;
    struct exchange *ex;
    struct deployment *deployment;
    unsigned *awaited; /* counted while it waits: who holds the deployment */
    struct str sealed; /* as the cookie has it */
    void (*done)(struct session_wait *wait);
    void *arg; /* the caller's */

    enum session_state state; /* the result */
    struct login_session session;

    struct list node; /* of a renewal */
    struct store_request request;
    bool waits, gone; /* ... for something; the client is */
    bool reads;       /* the store has its request */
    bool renewed;     /* just now: it is not again, however short its token lives */
};

/* Opens `sealed`, and renews it where it is time to: the answer brings the new one then. 0: `state`
 * is there. 1: `done` comes later, with it, but not when the client leaves. */
int app_session_open(struct session_wait *wait);

/* A session's large part: into the store, and out of it. All must live until `done`. */
void app_session_keep(struct app *app, struct store_request *request,
                      const struct login_session *session, struct str sealed,
                      void (*done)(struct store_request *request), void *arg);
void app_session_drop(struct app *app, struct store_request *request, struct str id,
                      void (*done)(struct store_request *request), void *arg);
