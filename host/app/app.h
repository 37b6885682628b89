/* THE PAGE TO READ FIRST: a worker's rooms joined together.
 *
 * A request comes up from net/server as an exchange. app.c finds what it means (http/router,
 * redirects, static files), has its policy judged (auth/policy, waiting for keys where needed), and
 * hands it to its function (run/function). Everything that answers before a function runs, answers
 * here. Nobody includes this header but main, cli and the worker. */
#pragma once

#include <uv.h>

#include "shared/metrics.h"
#include "app/deployment.h"
#include "server/server.h"
#include "app/schedule.h"
#include "shared/delivery.h"
#include "shared/generations.h"
#include "shared/rate.h"
#include "shared/revocations.h"
#include "store/job_owner.h"
#include "store/store.h"
#include "app/watch.h"

struct dap_options;
struct dap_server;
struct journal;
struct otlp;
struct tls_files;

struct app_options {
    const char *config_file;
    bool dev;
    bool watch;                  /* reload on changes */
    const struct tls_files *tls; /* borrowed; the first is the default */
    unsigned tls_count;          /* 0: plain HTTP */
    struct str tls_client_ca;    /* PEM: who signs clients' certificates; empty: nobody is asked */
    bool proxy_protocol;         /* connections begin with a PROXY header of `proxies` */
    const char *const *defaults; /* environment that `dev` provides: name, value, ..., NULL */
    const char *state_folder;    /* ".luafn" beside functions.lua; NULL: keep nothing on disk */
    const char *journal_folder;  /* where records are kept; NULL: nowhere, so that there are none */
    const char *kv_file;         /* of the embedded store; NULL: none */
    bool kv_local;               /* KV_URL does not count */
    const char *sql_trial;       /* as in sql/sql.h; NULL: databases are what they are */
    struct rate_table *rates;    /* borrowed: that of all workers; NULL: nothing is limited */
    struct delivery_table *deliveries;    /* borrowed: that of all workers; NULL: each is run */
    struct generation_table *generations; /* borrowed: that of all workers; NULL: counted here */
    const struct binding *bindings;
    char *running_name;           /* see struct services; NULL: none */
    struct schedule_board *board; /* borrowed: that of all workers; NULL: it keeps its own */
    struct metrics *metrics;      /* borrowed: that of all workers; NULL: nobody will ask */
    unsigned page;                /* this worker's, in `metrics` */
    /* `invoke` and `test`: who calls a background function waits for its end and gets its answer.
     */
    bool direct;
    bool tell_notes; /* logs what is wrong in _redirects and the like: one worker does */
    /* These keys are every issuer's, and none is asked for others; borrowed. NULL: no. */
    struct keyset *trusted;
    /* What another worker served, to begin with; taken over. NULL: begin with what is on disk. */
    struct kept *kept;
    bool replaces; /* another worker: this start refuses nothing that serves */
    /* What config_file says, to begin with, unless its files have changed since; taken over. NULL:
     * it is read. */
    struct config *config;
    /* A function's script in place of its own: name, absolute path, NULL. NULL: none. */
    const char *const *instead;
    /* Functions that the program brings itself (the dev issuer): name, script, ..., NULL. */
    const char *const *own_functions;
    struct str own_token;   /* of who calls those that are tools; empty: they are not called */
    const char *program;    /* its file, which they run; NULL: they run nothing */
    struct str debug_token; /* of debuggers that may attach; empty: there is no */
    int debug_fd;           /* ... socket for them, which listens; taken over */
};

struct app;

/* app_revocation.c: what others revoke is read from the store. */
struct app_reader {
    struct store_request request;
    char after[REVOCATION_POSITION];  /* of the request */
    uv_timer_t again;                 /* after a failure */
    void (*settled)(struct app *app); /* once: what there was is known, or cannot be had */
    bool open, reading, asked;        /* it was begun; its loop is at work; and shall go on */
    bool is_settled, known; /* `settled` was called; all that the store had has been read once */
    bool needed;            /* functions.lua has auth.revocation */
    bool full_told;
};

/* app_fleet.c: the secret of nonces, which is the same on all machines. */
struct app_fleet {
    struct store_request request;
    uv_timer_t again;
    bool open;
};

/* app_login_flow.c: where the provider's endpoints are, as it said last. */
struct app_login {
    char *issuer;     /* owned: whose; NULL: none */
    json_t *provider; /* owned: its OpenID configuration */
    double until;     /* it is good until then, seconds since 1970 */
    unsigned calls;   /* requests to it that are under way */
    bool closed;
    struct list renewals; /* app_session.c: of sessions */
    unsigned renewal_count;
    uv_timer_t timer; /* to look at those that another worker does */
};

struct job_call;
/* Runs a job, which was judged when it was stored. Takes the claims over; NULL: none. */
typedef void app_queue_run(struct app *app, struct function *function, struct exchange *ex,
                           struct job_call *job, struct str path, struct claims *claims,
                           struct str token);

/* app_queue.c: jobs that wait in the store are run. */
struct app_queue {
    app_queue_run *run; /* visit_call.c's */
    struct job_owner owner;
    struct store_request take;
    struct buf wants, known;
    struct list runs; /* until the store knows their end */
    unsigned run_count;
    bool open, taking,
        again;   /* ... a request to take some is under way; and another shall follow */
    bool untold; /* there are ends that the store could not be told of */
};

struct app_due;
struct schedule_turn;
/* app_due.c: due times are taken from the store, which machines share. */
struct app_due_list {
    struct list list;
    uint64_t server_ms, heard_ns; /* its clock, and when it said so; 0: not yet */
    bool away;                    /* it could not be asked last */
    /* app_schedule.c's. A run was taken: begins it, and calls app_due_ended when it has ended. */
    void (*start)(struct app *app, struct function *function, const struct schedule_turn *turn,
                  struct app_due *due);
    void (*look)(struct app *app); /* there may be more */
};

/* app_trial.c: versions that are tried, one after the other. */
struct app_trials_state {
    struct list waiting; /* the first is under way */
    uv_timer_t timer;
    bool open;
};

struct app {
    uv_loop_t *loop;
    struct own_services own; /* for own_functions */
    struct app_options options;
    struct server *server;
    struct client *client;
    struct issuers *issuers;
    struct journal *journal;    /* NULL: none is kept */
    struct otlp *otlp;          /* NULL: nothing is sent to a collector */
    struct dap_server *debug;   /* NULL: nobody can debug */
    void (*drained)(void *arg); /* app_drain's, while what is left for the collector is sent */
    void *drained_arg;
    struct list lives; /* who follow it: app_journal.c */
    unsigned live_count;
    struct store *store; /* NULL: none */
    struct sql *sql;     /* databases that functions have opened */
    struct channel_hub *channels;
    struct redis_address store_address; /* of one on a server; place_count 0: it is embedded */
    struct app_reader reader;
    struct app_fleet fleet;
    struct app_trials_state trials;
    struct app_login login;
    struct app_queue queue;
    struct deployment *current; /* NULL until the first one is loaded */
    struct deployment *loading; /* NULL: none under way */
    struct deployment *retired; /* old ones that still have work */
    struct err config_error;    /* of the newest reload; empty: it was good */
    struct tls *tls;            /* borrowed: the server's; NULL: plain */
    bool keep_due;          /* something has changed that the next worker must know of (kept.h) */
    struct watch *watch;    /* NULL: changes are taken up on SIGHUP only */
    struct origin *refused; /* reference: of a script that kept a new configuration from being
                               swapped in: it is tried again when its files change */
    struct origin *tried; /* reference: what the newest configuration, good or bad, was made from */
    struct list proxies;  /* rewrites to other hosts under way */
    unsigned proxy_count;
    struct list deliveries; /* of webhooks, while they run */
    struct schedule_board *board;
    struct app_due_list due;
    uv_timer_t schedule_timer; /* the next due time, when it is near */
    bool reload_again;         /* asked for while one was under way */
    bool draining;
    bool ready; /* the first deployment has loaded */
    bool ready_told;
    void (*on_ready)(
        struct app *app,
        int status); /* once: 0, or -EINVAL when the configuration is no good (it was printed) */
    uint64_t started_ns;
    struct worker_metrics *page;     /* what it counts; options.page, or owned */
    struct worker_metrics *own_page; /* owned; NULL where the options bring one */
    struct metric_copies copied;     /* what the page said when this worker began */
};

/* Begins to load. `on_ready` comes once, later or from within. 0 or -ENOMEM. */
int app_init(struct app *app, uv_loop_t *loop, const struct app_options *options,
             void (*on_ready)(struct app *app, int status));

/* The listening side, with the limits of the first configuration; after on_ready(0). 0 or -ENOMEM.
 */
int app_make_server(struct app *app) __attribute__((warn_unused_result));

/* Loads the configuration anew and swaps it in if it loads. */
void app_reload(struct app *app);

/* Frees deployments that were replaced and have no work left. */
void app_sweep(struct app *app);

/* Does nothing run: no request, no work after one, no background or scheduled run? */
bool app_is_idle(struct app *app);

/* What runs has to end soon: nothing is begun by the host itself, `ready` and the answers say so.
 */
void app_announce_drain(struct app *app);
/* Stops taking requests; `done` when every answer is out. */
void app_drain(struct app *app, void (*done)(void *arg), void *arg);
/* Ends everything; then run the loop until it is empty. */
void app_close(struct app *app);
/* After the loop is empty. */
void app_free(struct app *app);

/* ---- parts of the app in files of their own ---- */

/* app.c: a complete request. */
void app_on_request(void *arg, struct exchange *ex);

/* visit_call.c: a run that nobody called for, so that nobody is asked for a token. */
void app_call_scheduled(struct app *app, struct function *function, struct exchange *ex);

/* visit_call.c: a recorded request, which was judged when it was: it goes straight to its function,
 * whose routes the router has. Takes the claims over; NULL: none. `job` NULL: it was none; else
 * borrowed for as long as the exchange lives. */
void app_call_recorded(struct app *app, const struct router *router, struct function *function,
                       struct exchange *ex, struct claims *claims, struct job_call *job);

/* app_trial.c: a new version of a function runs recorded requests before it serves. */
extern const struct function_trials app_trials;
void app_trial_init(struct app *app);
void app_trial_close(struct app *app);

/* visit_call.c: for app_queue_open. */
app_queue_run app_call_job;

/* app_queue.c: once the store is open, or cannot be. */
void app_queue_open(struct app *app, app_queue_run *run);
void app_queue_close(struct app *app);
/* Runs what may run, and tells the store again what it could not be told: when there may be more
 * than before, and each second. */
void app_queue_update(struct app *app);
struct job_run;
/* A background call: stores it, then calls `done`. `status` 0: it is promised; with a run, the
 * caller begins it now and lets app_queue_follow know of its exchange; else whoever has room does.
 */
typedef void app_queue_done(void *arg, int status, struct job_run *run);
void app_queue_call(struct app *app, struct exchange *ex, struct function *function,
                    const struct claims *claims, struct str token, app_queue_done *done, void *arg);
/* The run is this exchange, and ends with it. NULL: out of memory, and it will be run again. */
struct job_call *app_queue_follow(struct job_run *run, struct exchange *ex);

/* app_schedule.c: runs what is due; to be called each second. */
void app_schedule_update(struct app *app);
int app_schedule_open(struct app *app) __attribute__((warn_unused_result));
void app_schedule_close(struct app *app);

/* app_due.c: the server's clock, seconds since 1970; 0: not yet known. */
double app_due_now(const struct app *app);
/* Asks the store for what is due of this function, unless this or another worker does. */
void app_due_look(struct app *app, struct function *function);
void app_due_ended(struct app_due *due);
/* Is nothing asked, and does the store know of the end of each run? */
bool app_due_is_idle(const struct app *app);
/* Forgets schedules that are of no function any more; all: after the loop is empty. */
void app_due_sweep(struct app *app, bool all);

/* app_revocation.c: reads what was revoked until now, then what others revoke, until it is closed.
 * `settled` may come from within. Once, when the store is open, or cannot be. */
void app_revocation_open(struct app *app, void (*settled)(struct app *app));
void app_revocation_close(struct app *app);
/* Does the configuration ask for it? Then no token is let in before it is known what was revoked.
 */
void app_revocation_need(struct app *app, const struct config *config);

/* app_receiver.c: takes the exchange when its path is one of auth.revocation's, and answers it, now
 * or later. */
bool app_receive(struct app *app, struct exchange *ex);

/* app_login.c: sends a browser that was refused to the issuer, to sign in. */
void app_login_begin(struct app *app, struct exchange *ex);
/* Takes the exchange when its path is that to which the issuer sends it back, or that of signing
 * out. */
bool app_login(struct app *app, struct exchange *ex, struct str path);
/* app_login_flow.c: after the loop is empty. */
void app_login_free(struct app *app);

/* app_login_call.c: asks an endpoint of the issuer. `host` is filled; it and the arena must outlive
 * the call. Counts it as one of `calls`, which `done` takes back. 0, or a negative errno with the
 * reason. */
int app_login_call(struct app *app, struct client_request *req, struct str *host,
                   struct arena *arena, client_done_fn done, void *arg, struct client_call **call,
                   struct err *err) __attribute__((warn_unused_result));
/* The same of a token endpoint, as the client that the host is there; `form` begins with
 * grant_type, and is used up. */
int app_login_post(struct app *app, const struct config_login *login, struct str url,
                   struct buf *form, struct str *host, struct arena *arena, client_done_fn done,
                   void *arg, struct client_call **call, struct err *err)
    __attribute__((warn_unused_result));
/* app_session.c */
void app_session_init(struct app *app);
void app_session_sweep(struct app *app);
void app_session_close(struct app *app);
/* After the loop is empty. */
void app_session_free(struct app *app);

/* app_roles.c: whose roles redirect rules with a Role condition are judged by. */
enum { APP_ROLES_MAX = 64 };
struct app_roles {
    struct str list[APP_ROLES_MAX]; /* in the exchange's arena */
    unsigned count;
};
/* Those of the request's token, verified; none for other tokens, or when no rule asks.
 * VERIFY_NEEDS_KEY: as for verify_token, with *verdict. */
enum verify_status app_find_roles(struct app *app, struct exchange *ex, bool keys_final,
                                  struct app_roles *roles, struct verdict *verdict);

/* app_site.c: what is no function: redirects, static files, the 404 page. */
enum site_result {
    SITE_NONE,
    SITE_ANSWERED, /* ex->res is filled; *rewritten is the path of its file, where it is another */
    SITE_REWRITE,  /* *rewritten is the path that routing should look at instead */
    SITE_TAKEN     /* the answer comes by itself, from another host */
};
enum site_result app_site(struct app *app, struct exchange *ex, struct str path,
                          const struct app_roles *roles, struct str *rewritten);
/* Answers a GET or HEAD with the file at `path`, if there is one: where a function prefers files,
 * or does not want the method. False: nothing was done. */
bool app_site_file(struct app *app, struct exchange *ex, struct str path);
/* The 404 page of the site into ex->res, if there is one for that path. */
bool app_site_not_found(struct app *app, struct exchange *ex, struct str path);
/* app_proxy.c: answers from another host, now or later. */
void app_proxy(struct app *app, struct exchange *ex, const struct redirect_rule *rule,
               struct str target);
/* Ends every such call; its client gets nothing more. */
void app_proxy_close(struct app *app);
/* app_encode.c: an exchange's `encode`. */
bool app_encode(struct exchange *ex, bool may_wait);
/* Headers that belong onto every answer: configured header rules, CORS, the generation in `dev`. */
void app_decorate(struct exchange *ex);
/* The server refuses this exchange itself: a page of an allowed origin may still read why. */
void app_refused(void *arg, struct exchange *ex);
/* app_rate.c: counts a request that is about to be let in, and calls `done`, from within or later.
 * `pass` false: it is over the function's limit and was answered, or the client has left. `claims`
 * may be NULL. */
typedef void app_rate_done(void *arg, bool pass);
void app_rate(struct app *app, struct exchange *ex, struct function *function,
              const struct claims *claims, app_rate_done *done, void *arg);
/* Tells where the caller stands. */
void app_rate_headers(struct exchange *ex);
/* app_fleet.c: does it share its store with other machines? */
bool app_is_fleet(const struct app *app);
/* Asks the other machines for what may be used once: then `done` comes, from within or later, and
 * the state is ONCE_NEW or ONCE_SEEN. False: nobody has to be asked. What is passed lives as long
 * as that takes. `once` may be NULL. */
bool app_once(struct app *app, struct arena *arena, struct exchange_once *once,
              void (*done)(void *arg), void *arg);
/* What all machines have alike comes to be known here, and is kept there, from the first deployment
 * on that needs it. */
void app_fleet_need(struct app *app, const struct deployment *deployment);
void app_fleet_close(struct app *app);
/* app_delivery.c: as app_rate for a delivery of a webhook that is about to be run. `pass` false: it
 * was answered without, as it runs or has run. Else ex->on_settled tells its end. */
void app_delivery(struct app *app, struct exchange *ex, struct function *function,
                  const struct webhook_delivery *webhook, app_rate_done *done, void *arg);
/* Says of those that run that they do; once a second. */
void app_delivery_renew(struct app *app);
/* app_own.c: what the functions of the program itself may ask. */
void app_own_init(struct app *app);
/* app_admin.c: /_luafn/live, ready, metrics, routes. True when the path is one of them and ex was
 * answered. */
bool app_admin(struct app *app, struct exchange *ex, struct str path);
/* app_dev.c: pages below /_luafn/dev/. True when the path is one of them and ex was answered. */
bool app_dev(struct app *app, struct exchange *ex, struct str path);
/* In `dev`, where nothing of the user's is there: 302 to the page that is meant. False: none is. */
bool app_dev_elsewhere(struct app *app, struct exchange *ex, struct str path);
/* In `dev`, for who takes HTML: a fault as a page. */
void app_dev_page(struct exchange *ex);
/* The same of an address that leads nowhere. False: it was not answered. */
bool app_dev_not_found(struct exchange *ex, struct str text);
/* app_greet.c: in `dev`, once it is ready: says on stderr what there is. */
void app_greet(struct app *app);
/* Headers of answers below /_luafn/, in place of those that the user wants on his own. */
void app_dev_decorate(struct exchange *ex);
/* app_journal.c: /_luafn/journal. True when the path is one of its own and ex was taken care of. */
bool app_journal(struct app *app, struct exchange *ex, struct str path);
/* Ends the answers of those who follow it. */
void app_journal_close(struct app *app);
/* app_debug.c: what a debugger is told of this app. */
struct dap_options app_debug_options(struct app *app, struct str token);
/* app_debug.c: lets debuggers attach; once, with a server. */
void app_debug_open(struct app *app);
/* What stands for one goes on. */
void app_debug_close(struct app *app);
/* app_otlp.c: what functions.lua's variables OTEL_* ask for, once. */
void app_otlp_open(struct app *app);
/* Names whose values are redacted. */
void app_otlp_follow(struct app *app, const struct config *config);
/* app_log.c: the access line and the counters. */
void app_finished(void *arg, struct exchange *ex);
/* app_metrics.c: writes into the page what is counted elsewhere; once a turn of the loop. */
void app_publish(struct app *app);
/* The same for what takes longer, such as the memory of functions; once a second. */
void app_publish_gauges(struct app *app);
/* Appends all that is counted, as Prometheus text. False: no memory, or nothing is counted. */
bool app_write_metrics(struct app *app, struct buf *out);
