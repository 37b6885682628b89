/* Of app_login.c and app_logout.c: a request that signs a browser in or out. */
#pragma once

#include "app/app.h"
#include "app/app_session.h"
#include "config/config_login.h"
#include "issuer/token_wait.h"

/* One request on its way; in the exchange's arena, which is held while something is waited for. */
struct login_flow {
    struct issuer_wait wait; /* for keys */
    struct client_call *call;
    struct app *app;
    struct exchange *ex;
    struct deployment *deployment;         /* which counts it meanwhile */
    void (*next)(struct login_flow *flow); /* when the provider's endpoints are known */
    struct str cookie;                     /* of a sign-in that comes back */
    json_t *began;                         /* what was in it; owned */
    struct str code;
    struct str id_token, access_token;
    double life;     /* seconds, as the issuer says; 0: it does not */
    struct str host; /* that is asked */
    struct login_session session;
    struct store_request request;
    char bytes[REVOCATION_BYTES];
    bool gone; /* the client is, while the store is asked */
};

/* NULL: out of memory, which is answered. */
struct login_flow *app_login_flow_new(struct app *app, struct exchange *ex);

const struct config_login *app_login_of(const struct login_flow *f);
struct str app_login_issuer(const struct login_flow *f);
/* The host's own, as its client knows it; in the arena. ptr NULL: out of memory. */
struct str app_login_origin(const struct login_flow *f);

/* Answers: a refusal, counted as one; 502 as the issuer, or what is needed, cannot be had; on to
 * `place`. */
void app_login_refuse(struct login_flow *f, int status, const char *code, const char *text);
void app_login_fail(struct login_flow *f, const char *text);
void app_login_send_to(struct login_flow *f, int status, struct str place);

/* Something is waited for, until app_login_end_wait; the exchange is to be released then. */
void app_login_begin_wait(struct login_flow *f, void (*on_gone)(struct exchange *ex));
void app_login_end_wait(struct login_flow *f);
/* For begin_wait: while the issuer is asked, by `call`; */
void app_login_on_gone(struct exchange *ex);
/* while the store is, which cannot be called back. */
void app_login_on_gone_keeping(struct exchange *ex);
/* The issuer has answered. */
void app_login_answered(struct login_flow *f);

/* Goes on with `next` when the provider's endpoints are known, or answers. */
void app_login_with_provider(struct login_flow *f, void (*next)(struct login_flow *f));
/* One of them; empty: it has none. */
struct str app_login_endpoint(const struct login_flow *f, const char *name);

/* "&name=value" */
void app_login_add_param(struct buf *buf, const char *name, struct str value);

/* app_logout.c: a copy of the cookie is worth nothing from here on, on every worker, and on every
 * host that reads the same store. */
void app_logout(struct login_flow *f);
