/* A request on its way to its function: what was found out of it, and what it waits for. app.c
 * leads it; visit_judge.c asks whether the caller may, visit_call.c is where the function takes
 * over. */
#pragma once

#include "app/app.h"
#include "app/mcp.h"
#include "auth/policy.h"
#include "issuer/token_wait.h"

struct visit;
/* What the visit waited for is there, or cannot be had. */
typedef void visit_resume(struct visit *visit, bool waited);
/* Its body is there, whole. */
typedef void visit_received(struct visit *visit);

/* In the exchange's arena. */
struct visit {
    struct issuer_wait wait; /* for keys */
    visit_resume *resume;    /* while it waits */
    struct app *app;
    struct exchange *ex;
    struct function *function;
    unsigned *awaited;           /* while it waits: where it is counted */
    struct claims *claims;       /* owned until the function is called; NULL: nobody's */
    struct str token;            /* with claims */
    struct mcp_message *message; /* a tool is called, or asked for; NULL: neither */
    struct str session;          /* of a browser, sealed; ptr NULL: none */
    struct session_wait *opened; /* the same, once it was asked for; NULL: not yet */
    bool guarded;                /* a rule of `protect` that asks for something was passed */
    bool waited, gone;           /* while others are asked: resume's; the client is */
    enum mcp_place place;        /* of that tool */
    struct job_call *job;        /* in the arena of its run; NULL: it is no job */
    struct str job_path;         /* event.path of one that was a call; ptr NULL: it was none */
    struct str route;            /* as struct call's */
    struct route_param *params;
    unsigned param_count;
    struct str path;                         /* as the client sent it, normalised */
    visit_received *received;                /* while its body comes */
    const struct webhook_delivery *delivery; /* of a webhook, once it is judged; else NULL */
};

/* ---- visit.c ---- */

/* The route's texts belong to the router, which a reload may replace while the request runs. False:
 * out of memory. */
bool visit_keep_match(struct visit *visit, const struct route_match *match);
/* True when `resume` comes once the issuer was asked for the key that the verdict misses. */
bool visit_wait_for_keys(struct visit *visit, const struct verdict *verdict, visit_resume *resume);
/* True when `resume` comes once other machines have been asked whether they know its proof; then
 * the verdict's claims are given back. */
bool visit_wait_for_others(struct visit *visit, struct verdict *verdict, bool waited,
                           visit_resume *resume);
/* Has its body read; one that is too large, or does not come, is refused. */
void visit_receive(struct visit *visit, visit_received *received);

/* ---- visit_judge.c: may the caller? ---- */

/* `policy` NULL: the function's, or that of tools. A key that we lack is fetched once. After that
 * it does not exist, unless the issuer cannot be asked: then nobody knows, which is a 503 and not a
 * refusal. False: `resume` comes when the key, or the caller's session, is there; or the exchange
 * was taken care of. */
bool visit_judge(struct visit *visit, const struct policy *policy, bool waited,
                 visit_resume *resume, struct verdict *verdict, enum policy_result *result);
/* `policy`: that was not met; NULL: of tools. Who has signed in, but not well enough for it, would
 * only come back as he is. */
void visit_refuse(struct visit *visit, const struct policy *policy);
/* Nobody can say whether the token is good. */
void visit_answer_unknown(struct visit *visit);

/* ---- visit_call.c ---- */

/* Calls its function, now or once its body is here; of one that runs in the background it is the
 * queue that is told. Takes the claims over. */
void visit_call(struct visit *visit);
