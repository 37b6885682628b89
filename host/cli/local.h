/* A whole app in this process, without a port, for `invoke` and `test`: requests are made by hand
 * and go the way of any other. */
#pragma once

#include <jansson.h>

#include "app/app.h"

struct local_options {
    const char *config_file;
    bool serve; /* as `serve` would, not `dev` */
    bool trust; /* the dev key signs for every issuer, and nobody is asked for keys */
    const struct binding *bindings;
    const char *const *own_functions; /* as in app.h */
    const char *const *instead;       /* as in app.h, like these: */
    const char *kv_file;
    bool kv_local;
    const char *sql_trial;
    struct rate_table *rates; /* as in app.h, like this: */
    struct delivery_table *deliveries;
};

struct local {
    const char *config_file;
    uv_loop_t loop;
    struct app app;
    struct key *key;        /* owned; with `trust` */
    struct keyset *trusted; /* owned */
    bool is_open;           /* there is a loop to be closed */
    bool ready;
    int status;        /* of the load */
    uv_timer_t soon;   /* the loop's next turn, for those in `turns` */
    struct list turns; /* calls that are to be sent, or told */
};

/* Loads; faults of the configuration go to stderr. 0 or EXIT_FAULT; close it in either case. */
int local_open(struct local *local, const struct local_options *options);
void local_close(struct local *local);

/* One request and its answer. Fill ex->req after local_call_new, allocating from ex->arena. */
struct local_call {
    struct exchange *ex;       /* owned */
    struct buf streamed;       /* owned: the body, where it comes in pieces */
    struct str id;             /* borrowed: in place of the request's own; empty: none */
    struct function *function; /* goes there without being judged; NULL: as any other request */
    struct job_call *job;      /* borrowed: of `function`; NULL: it is no job of a queue */
    size_t taken;              /* of it; counts where `paced` */
    bool paced;                /* set by who takes pieces as they come: who writes waits for that */
    bool begun;                /* the head is there */
    bool broken;               /* the rest of the body will not come */
    bool answered;
    void (*done)(struct local_call *call); /* from the loop; may be NULL */
    void *arg;
    struct local *local; /* set when it is sent */
    struct list in_turns;
};

/* 0 or -ENOMEM. */
int local_call_new(struct local_call *call) __attribute__((warn_unused_result));
void local_call_free(struct local_call *call);
/* `target` is a path, with a query or without. 0, -EINVAL with what is wrong, -ENOMEM. */
int local_set_target(struct local_call *call, struct str target, struct err *err)
    __attribute__((warn_unused_result));
/* A field; the name is made lower case. 0, -EINVAL with what is wrong, -ENOMEM. */
int local_add_header(struct local_call *call, struct str name, struct str value, struct err *err)
    __attribute__((warn_unused_result));
/* The body, Content-Length, and Content-Type where there is none. 0 or -ENOMEM. */
int local_set_body(struct local_call *call, struct str body) __attribute__((warn_unused_result));
struct str local_body(const struct local_call *call);
/* Of a `paced` call: so much of local_body was taken. */
void local_take(struct local_call *call, size_t count);

/* Finds the function and completes the request: method (0: one that it has) and target (0: its own
 * path; or that of tools, and the body, its arguments, becomes a message). -ENOENT, -EINVAL with
 * what to write instead, or -ENOMEM. */
int local_aim(struct local *local, struct local_call *call, struct str name, struct str method,
              struct str target, struct function **out, struct err *err)
    __attribute__((warn_unused_result));

/* Puts a token for `claims` (stolen; iss, aud, iat and exp are added where they lack) on the
 * request. 0 or a negative errno with the reason. */
int local_sign_in(struct local *local, struct local_call *call, const struct function *function,
                  json_t *claims, struct err *err) __attribute__((warn_unused_result));
/* The same token as text. `function` NULL: for the first issuer of functions.lua. */
int local_token(struct local *local, const struct function *function, json_t *claims,
                struct buf *out, struct err *err) __attribute__((warn_unused_result));

/* Signs the request, which is complete, as the sender of a webhook would: with the function's own
 * secret. 0 or a negative errno with the reason. */
int local_sign(struct local_call *call, const struct function *function, struct err *err)
    __attribute__((warn_unused_result));

/* Sends; not while a script runs. */
void local_send(struct local *local, struct local_call *call);
/* Sends at the loop's next turn. */
void local_send_later(struct local *local, struct local_call *call);
/* Runs the loop until nothing runs any more: what is left for after the answer has ended, too. */
void local_finish(struct local *local);
