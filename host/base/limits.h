/* Every numeric limit, named, with its reason. Those that a deployment may change are defaults here
 * and keys in functions.lua. Sizes in bytes, times in seconds unless the name says otherwise. */
#pragma once

/* ---- HTTP edge ---- */
#define LIMIT_TARGET_BYTES      (8 * 1024)  /* request target: what common proxies accept; 414 */
#define LIMIT_HEADER_BYTES      (32 * 1024) /* whole head; functions.lua limits.header; 431 */
#define LIMIT_HEADER_COUNT      100         /* header lines; 431 */
#define LIMIT_HEAD_KEPT         2048        /* of a connection's last head, to know it again */
#define LIMIT_BODY_BYTES        (6 * 1024 * 1024) /* Netlify's 6 MiB; functions.lua limits.body; 413 */
#define LIMIT_BODY_RATE         512         /* bytes a second, as an average over a body; 408 */
#define LIMIT_BODY_SKIPPED      (64 * 1024) /* of a body that nobody wants: more ends the connection */
#define LIMIT_CHUNK_OVERHEAD    (16 * 1024) /* chunk lines beyond twice the data they carry; 413 */
#define LIMIT_TRAILER_BYTES     (8 * 1024)  /* trailers are checked and dropped */
#define LIMIT_CONNECTIONS       10000       /* a worker; functions.lua limits.connections */
#define LIMIT_PIPELINE          64 /* requests read ahead of the answer on one connection */
#define LIMIT_WRITE_HIGH_WATER  (64 * 1024) /* unsent answer bytes at which reading stops */
#define LIMIT_KERNEL_UNSENT     (64 * 1024) /* of them the kernel holds, a connection */
#define LIMIT_STREAM_BYTES      (64 * 1024) /* unsent bytes at which a stream's writer waits */
#define LIMIT_WEBSOCKET_PING    30.0        /* silence after which a peer is asked, and given up */
#define LIMIT_WEBSOCKET_GOODBYE 1.0 /* in which what came before a close is still answered */
#define LIMIT_WEBSOCKET_MESSAGE (1024 * 1024) /* of a client; a function's `message` */
#define LIMIT_H2_STREAMS        100           /* requests at once on an HTTP/2 connection */
#define LIMIT_H2_WINDOW         (64 * 1024)   /* of a stream: what is kept when nobody asks, ... */
#define LIMIT_H2_WINDOW_WHOLE   (256 * 1024)  /* ... and of one whose body is read to its end */
#define LIMIT_H2_WINDOW_ALL     (1024 * 1024) /* of a connection */
#define LIMIT_H2_READY          (8 * 1024 * 1024) /* bytes of answers, before others are begun */
#define LIMIT_H2_CHORES         1000 /* PINGs, empty frames and the like, of a connection at once, */
#define LIMIT_H2_CHORES_RATE    100  /* and a second: more than any client sends */
#define LIMIT_CLIENT_MEMORY     (64 * 1024 * 1024) /* what clients have not sent or taken, a worker */
#define LIMIT_HEAD_TIMEOUT      10.0 /* first byte of a request to the end of its head; 408 */
#define LIMIT_BODY_TIMEOUT      30.0 /* between two pieces of a body; 408 */
#define LIMIT_IDLE_TIMEOUT      75.0 /* keep-alive without a request */
#define LIMIT_WRITE_TIMEOUT     30.0 /* a peer that reads nothing of its answer */
#define LIMIT_WRITE_RATE        500 /* bytes a second, over that time, that it must take at least */
#define LIMIT_FILE_WHOLE        (8 * 1024) /* a file that is read as a whole when it is asked for */
#define LIMIT_FILE_PIECE        (64 * 1024) /* of a larger one, read at once: the loop waits meanwhile */
#define LIMIT_FILES_OPEN        4096 /* different ones under way; an eighth of all descriptors */
#define LIMIT_FILE_UNSETTLED    2    /* seconds in which a file may change at the same time twice */
#define LIMIT_COMPRESS_MIN      1024 /* smaller answers are not compressed ... */
#define LIMIT_COMPRESS_MAX      (512 * 1024) /* nor larger ones */
#define LIMIT_COMPRESS_AT_ONCE  (64 * 1024)  /* by the loop; more by a thread, */
#define LIMIT_COMPRESS_THREADS  2            /* so many bodies at a time, */
#define LIMIT_COMPRESS_JOBS     64           /* with those that wait; more leave as they are */
#define LIMIT_DERIVE_JOBS       256          /* keys of passwords under way, a worker */
#define LIMIT_DERIVE_BYTES      1024         /* a key of crypto.hkdf, pbkdf2, scrypt */
#define LIMIT_DERIVE_ROUNDS     5000000      /* of crypto.pbkdf2: seconds of a thread */
#define LIMIT_DERIVE_BLOCKS     (16 * 1024 * 1024) /* n * r * p of crypto.scrypt: likewise */
#define LIMIT_PACKED_BYTES      (8 * 1024 * 1024)  /* compressed files that a worker keeps */
#define LIMIT_DRAIN             30.0               /* SIGTERM to exit; --drain */
#define LIMIT_PEM_BYTES         (1024 * 1024)      /* a certificate with its chain, a key */
#define LIMIT_DRAIN_GRACE       1.0                /* draining: a kept connection that is silent */
#define LIMIT_WORKERS           256                /* --workers */
#define LIMIT_RUNNING_NAME      64                 /* of a function, for who watches its worker */
#define LIMIT_SUSPENSIONS       32                 /* functions at a time that hung workers */
#define LIMIT_METRIC_FUNCTIONS  512  /* names with metrics of their own, since the start */
#define LIMIT_UPGRADE           60.0 /* for a new program to be ready; then the old one goes on */

/* ---- tokens ---- */
#define LIMIT_TOKEN_BYTES       (8 * 1024) /* a bearer token */
#define LIMIT_TOKEN_JSON_DEPTH  32         /* header and claims */
#define LIMIT_KID_BYTES         256
#define LIMIT_JWKS_BYTES        (1024 * 1024)
#define LIMIT_JWKS_KEYS         100 /* of a set; what is past them is left out */
#define LIMIT_JWKS_NOTES        20  /* lines about keys that were left out */
#define LIMIT_DISCOVERY_BYTES   (256 * 1024)
#define LIMIT_RSA_BITS_MIN      2048             /* RFC 7518 section 3.3 */
#define LIMIT_RSA_BITS_MAX      8192             /* verification time grows with the square */
#define LIMIT_RSA_EXPONENT_BITS 64               /* the same reason; usual exponents have 17 */
#define LIMIT_DATE_MIN          (-62167219200.0) /* 0000-01-01T00:00:00Z: four digits of year */
#define LIMIT_DATE_MAX          253402300799.0   /* 9999-12-31T23:59:59Z: the last printable date */
#define LIMIT_PROXY_HEADER                                                                         \
    (8 * 1024) /* of the PROXY protocol: addresses, and what else is told                          \
                */
#define LIMIT_FORWARDED_HOPS                                                                       \
    32 /* of a header that says who is behind a proxy; past them it is not read */
#define LIMIT_FORWARDED_BYTES    4096
#define LIMIT_FORM_FIELDS        1000       /* of a form or a query that a handler reads; 413 */
#define LIMIT_FORM_PART_HEAD     (8 * 1024) /* names and all of a part of a form; 413 */
#define LIMIT_SIGN_IN_AGE        31536000.0 /* the longest `max_age` that a policy can ask for */
#define LIMIT_KEYS_FETCH_TIMEOUT 10.0
#define LIMIT_KEYS_WAIT          3.0     /* a request for its token's issuer; 503 */
#define LIMIT_KEYS_TTL           600.0   /* age at which a key set is refreshed in the background */
#define LIMIT_KEYS_STALE         86400.0 /* age to which an unrefreshable set is still used */
#define LIMIT_KEYS_LEASE         3000    /* ms for which one machine alone may fetch a set */
#define LIMIT_KEYS_COOLDOWN      30.0    /* between refetches for unknown kids */
#define LIMIT_KEYS_RETRY         5.0     /* after a failed fetch: 1, 2, 4, 5, 5 ... without keys */
#define LIMIT_KEYS_STRAYS        3    /* fetches for unknown kids in a cooldown without a flood */
#define LIMIT_KEYS_FLOOD         8    /* refused kids in a cooldown that make it a flood */
#define LIMIT_KEYS_UNKNOWN       32   /* kids remembered as unknown, an issuer */
#define LIMIT_KEYS_UNKNOWN_TTL   60.0 /* ... so long: two cooldowns, to leave one for others */
#define LIMIT_KEYS_REDIRECTS     5    /* discovery and key set */
#define LIMIT_NONCE_STEP         60.0 /* seconds in which nonces are the same */
#define LIMIT_NONCE_STEPS        5    /* so many of them are accepted, and one of a clock ahead */
#define LIMIT_DPOP_AGE           60.0 /* seconds that a proof of possession is good for, */
#define LIMIT_DPOP_AHEAD         10.0 /* and by which its clock may be ahead */
#define LIMIT_DPOP_JTI_BYTES     256
#define LIMIT_DPOP_PROOFS        (1024 * 1024) /* remembered in all workers: 8 MiB */
#define LIMIT_TOKEN_CACHE_BYTES  (16 * 1024 * 1024)

/* ---- webhooks ---- */
#define LIMIT_WEBHOOK_BODY       ((size_t)32 << 20) /* GitHub's largest have 25 MB */
#define LIMIT_WEBHOOK_JSON       (1024 * 1024) /* of a body that is read for the delivery's id */
#define LIMIT_WEBHOOK_SECRETS    8             /* that are good at the same time */
#define LIMIT_WEBHOOK_SECRET_MIN 24            /* bytes, of Standard Webhooks */
#define LIMIT_WEBHOOK_PIECES     16            /* of what a form of one's own signs */
#define LIMIT_WEBHOOK_TOLERANCE  86400.0       /* functions.lua auth.tolerance, at most; */
#define LIMIT_WEBHOOK_WINDOW     300.0         /* where it says nothing */
#define LIMIT_DELIVERIES         (256 * 1024)  /* remembered in all workers: 8 MiB; then 503 */
#define LIMIT_DELIVERY_LEASE     6.0           /* of a run whose worker says nothing any more */
#define LIMIT_DELIVERY_RETRY     5             /* a repeat while the first one runs; Retry-After */

/* ---- revocation ---- */
#define LIMIT_REVOCATIONS       1000000 /* that count at once; more are refused, none is dropped */
#define LIMIT_REVOCATION_LIFE   2592000.0 /* 30 days: no token that is older is let in then */
#define LIMIT_REVOCATION_AHEAD  60.0      /* by which the clock of who sends events may be ahead */
#define LIMIT_REVOCATION_EVENT  (64 * 1024) /* a logout token or an event as it is sent */
#define LIMIT_REVOCATION_EVENTS 16          /* revocations that one of them asks for */
#define LIMIT_REVOCATIONS_READ  4096        /* entries that are read from the store at once */
#define LIMIT_REVOCATIONS_WAIT  1000        /* ms that KV_URL's server is asked to wait for news */

/* ---- opaque tokens (introspection), an endpoint and worker ---- */
#define LIMIT_INTROSPECTIONS 64 /* questions under way */
#define LIMIT_INTROSPECTION_NEWCOMERS                                                              \
    48 /* of them about tokens that were not active before: whoever was let in gets the others */
#define LIMIT_INTROSPECTION_BYTES    (64 * 1024) /* an answer */
#define LIMIT_INTROSPECTION_ANSWERS  2048        /* remembered; as many refusals, apart */
#define LIMIT_INTROSPECTION_INACTIVE 10.0        /* seconds that a "not active" is believed */
#define LIMIT_INTROSPECTION_FAILURES 3           /* in a row: then nobody is asked for ... */
#define LIMIT_INTROSPECTION_RETRY    1.0         /* ... so long; a token that failed waits alone */

/* ---- the host's own tokens for other APIs (outbound), an identity and worker ---- */
#define LIMIT_OUTBOUND_CALLERS     512 /* whose exchanged tokens are kept */
#define LIMIT_OUTBOUND_TOKEN_BYTES (16 * 1024)
#define LIMIT_OUTBOUND_BYTES       (64 * 1024) /* an answer of a token endpoint */
#define LIMIT_OUTBOUND_TIMEOUT     5.0         /* ... for which is waited so long */
#define LIMIT_OUTBOUND_LIFE        86400.0     /* a token is not kept for longer */
#define LIMIT_OUTBOUND_MARGIN      30.0        /* by which it is dropped before its end */
#define LIMIT_OUTBOUND_ASSERTION   60          /* seconds that a signed assertion is good for */
#define LIMIT_OUTBOUND_REFUSED     30.0        /* after a refusal nobody asks for so long */
#define LIMIT_OUTBOUND_RETRY       1.0  /* after the first failure, doubled for each that follows */
#define LIMIT_OUTBOUND_RETRY_MOST  60.0 /* ... up to this */
#define LIMIT_OUTBOUND_RETRY_AFTER 300.0 /* of what an endpoint asks for */
#define LIMIT_OUTBOUND_FUTILE      10.0 /* an API that does not take a new token either is believed */

/* ---- functions ---- */
#define LIMIT_FN_TIMEOUT            10.0         /* wall clock; functions.lua timeout */
#define LIMIT_FN_BACKGROUND_TIMEOUT 900.0        /* Netlify's 15 minutes */
#define LIMIT_FN_SCHEDULE_TIMEOUT   30.0         /* Netlify's, of scheduled functions */
#define LIMIT_FN_CPU                1.0          /* processor time a request; functions.lua cpu */
#define LIMIT_FN_GARBAGE            (128 * 1024) /* that a small instance may have while it is busy */
#define LIMIT_FN_MEMORY             (32 * 1024 * 1024) /* an instance; functions.lua memory */
#define LIMIT_FN_CONCURRENCY        64                 /* functions.lua concurrency */
#define LIMIT_FN_QUEUE              256                /* requests that wait for a slot; then 503 */
#define LIMIT_FN_BODY               ((size_t)1 << 30) /* functions.lua body, held in memory whole */
#define LIMIT_FN_LOAD_CPU           1.0               /* a script's top level */
#define LIMIT_FN_LOAD_TIMEOUT       5.0
#define LIMIT_RESPONSE_BYTES        (6 * 1024 * 1024)  /* a buffered answer; Netlify's 6 MiB */
#define LIMIT_RESPONSE_HEADERS      500                /* of a handler's answer ... */
#define LIMIT_RESPONSE_HEADER_BYTES (64 * 1024)        /* ... more than any client takes */
#define LIMIT_LOG_BYTES             (64 * 1024)        /* a request's log lines */
#define LIMIT_LOG_LINE              (8 * 1024)         /* message, and fields, of one line */
#define LIMIT_TOOL_NAME             64                 /* characters; what every client takes */
#define LIMIT_JSON_DEPTH            64                 /* encode and decode in scripts */
#define LIMIT_JSON_BYTES            (16 * 1024 * 1024) /* a text that json.encode makes */
#define LIMIT_HTML_INCLUDES         64                 /* in one template */
#define LIMIT_HTML_NESTING          16                 /* templates that include each other */
#define LIMIT_HTML_BYTES            (16 * 1024 * 1024) /* of a page */
#define LIMIT_HTML_TEXTS_KEPT       64                 /* templates that are texts, a state */
#define LIMIT_TREE_VALUES           1000000            /* of a script's table that the host reads */
#define LIMIT_SCHEMA_NODES          5000               /* schemas in one schema */
#define LIMIT_SCHEMA_BYTES          (8 * 1024 * 1024)  /* of one, compiled */
#define LIMIT_SCHEMA_PATTERN        4096               /* bytes of a regular expression */
#define LIMIT_SCHEMA_NESTING        500                /* schemas that a check is in at once */
#define LIMIT_SCHEMA_STEPS          4000000            /* of a check: about 0.1 s */
#define LIMIT_SCHEMAS_KEPT          32                 /* that schema.check has compiled, a state */
#define LIMIT_SCHEMA_ERRORS         32                 /* of a value; more are not looked for */
#define LIMIT_MAPPED_LISTS          16                 /* names in jwt.mapping */
#define LIMIT_SCRIPT_BYTES          (1024 * 1024)      /* a file, and a text for `load` */
#define LIMIT_ORIGIN_NOTES          16384 /* files and folders that one thing is made from */
#define LIMIT_ORIGIN_ABSENT         2048  /* ... of those that are not there; see lua/origin.h */
#define LIMIT_CHAIN_INDEXES         100   /* a.b.c in one expression; see lua/chain.h */
#define LIMIT_CHAIN_LOGICAL         1000  /* `and`, `or` in one expression */
#define LIMIT_SCRIPT_JUMPS          5000  /* `elseif`, `break`, `goto` in a script */
#define LIMIT_COROUTINES            64    /* live ones that resume each other, a request */
#define LIMIT_FETCH_RESPONSE_BYTES  (16 * 1024 * 1024)
#define LIMIT_FETCH_STREAM          (16 * 1024) /* bytes of a streamed answer read ahead */
#define LIMIT_FETCH_TIMEOUT         10.0
#define LIMIT_FETCH_REDIRECTS       10
#define LIMIT_TRACE_MEMBERS         32          /* of a tracestate */
#define LIMIT_FETCH_PARALLEL        64          /* transfers a request */
#define LIMIT_FETCH_HEADER_BYTES    (64 * 1024) /* head of an answer, as browsers have it */
#define LIMIT_FETCH_HEADER_COUNT    256
#define LIMIT_FETCH_RETRY           10          /* repeats of a request */
#define LIMIT_FETCH_RETRY_STATUS    16          /* statuses that one may name */
#define LIMIT_FETCH_RETRY_BACKOFF   60.0        /* seconds */
#define LIMIT_FETCH_RETRY_SKIPPED   (64 * 1024) /* of the body of an answer that is not wanted */
#define LIMIT_LOOKUPS               32          /* names looked up at once, a worker */
#define LIMIT_LOOKUPS_KEPT          256         /* names whose addresses are kept */
#define LIMIT_LOOKUP_SECONDS        60.0        /* so long */
#define LIMIT_FETCH_CONNECTIONS     128         /* idle ones kept for reuse, a worker */
#define LIMIT_SLICE_MS              10   /* a task yields to the loop after this much run time */
#define LIMIT_AHEAD_MS              1000 /* so long others wait for a run with half of the memory */
#define LIMIT_RESUME_NS             4000 /* charged for each resume: the loop works for it, too */
#define LIMIT_STALL_MS              50   /* of a script's code where it cannot yield, in a row */
#define LIMIT_WATCHDOG              2.0  /* a loop that has not turned for this long is replaced */

/* ---- the journal ---- */
#define LIMIT_JOURNAL_RECORD    (64 * 1024) /* bytes of a record, near enough: what is more is cut */
#define LIMIT_JOURNAL_TEXT      (24 * 1024) /* of one text in it, as a body */
#define LIMIT_JOURNAL_CALLS     1000        /* host calls of a request that are written down */
#define LIMIT_JOURNAL_SLICES    64
#define LIMIT_JOURNAL_DEV       500                /* requests that `dev` keeps ... */
#define LIMIT_JOURNAL_DEV_BYTES (32 * 1024 * 1024) /* ... and their bytes */
#define LIMIT_JOURNAL_KEEP      (64 * 1024 * 1024) /* functions.lua journal.keep */
#define LIMIT_JOURNAL_KEEP_MIN  (16 * 1024 * 1024)
#define LIMIT_TRIAL_REQUESTS    500  /* functions.lua replay_before_reload */
#define LIMIT_TRIAL_SECONDS     30   /* ... and how long they may take together */
#define LIMIT_JOURNAL_LIVE      16   /* who follow it at once, a worker */
#define LIMIT_JOURNAL_FILES     4096 /* of them in the folder that are looked at */
#define LIMIT_REDACT_VALUE_MIN  8    /* bytes of a secret that is looked for in texts */
#define LIMIT_REDACT_SECRETS    256  /* of them, a worker */
#define LIMIT_REDACT_REQUEST    64   /* credentials that one request brings */
#define LIMIT_REDACT_NAMES      64   /* functions.lua redact */

/* ---- browsers that sign in ---- */
#define LIMIT_LOGIN_CALLS    64     /* a worker asks of their issuer, at once */
#define LIMIT_LOGIN_RENEWALS 1024   /* of sessions, a worker, under way or remembered */
#define LIMIT_LOGIN_TOKEN    3600.0 /* seconds that a token lives whose issuer does not say */
/* None lives longer: so long it is known who has signed out. */
#define LIMIT_LOGIN_SESSION  LIMIT_REVOCATION_LIFE

/* ---- the site: redirects and headers ---- */
#define LIMIT_PROTECT_RULES 256   /* policies before the site; the same */
#define LIMIT_SITE_RULES    10000 /* redirects; each request walks them until one matches */
#define LIMIT_PROXY_CALLS   1024  /* rewrites to other hosts under way, a worker; then 503 */
#define LIMIT_PROXY_TIMEOUT 26.0  /* Netlify's, to the head, then between two pieces; 504 */
#define LIMIT_CONFIG_NOTES  100   /* warnings about _redirects, _headers and netlify.toml */
#define LIMIT_TOML_NODES    10000 /* values and tables of netlify.toml */
#define LIMIT_TOML_DEPTH    32

/* ---- scheduled functions ---- */
#define LIMIT_SCHEDULES     1024   /* functions and expressions since the start of the host */
#define LIMIT_SCHEDULE_BACK 600    /* seconds that the clock is waited for when it was set back */
#define LIMIT_SCHEDULE_LATE 60     /* runs that are later are passed over, but for the newest */
#define LIMIT_SCHEDULE_KEEP 120000 /* ms that a server knows of one for which nobody asks ... */
#define LIMIT_SCHEDULE_ASK  40     /* ... as each worker does in so many seconds at least */

/* ---- kv: the embedded store ---- */
#define LIMIT_KV_KEY_BYTES        600 /* as Netlify Blobs */
#define LIMIT_KV_VALUE_BYTES      (1024 * 1024)
#define LIMIT_SQL_PARAMS          200  /* of a statement */
#define LIMIT_SQL_PREPARED        64   /* texts that a connection keeps prepared */
#define LIMIT_SQL_CONNECT         10.0 /* seconds to a database */
#define LIMIT_SQL_SPARE           16   /* ended sessions of a pool that are kept for the next ... */
#define LIMIT_SQL_SPARE_BYTES     4096 /* ... with their buffers, of so many bytes each at most */
#define LIMIT_SQL_BUSY            5    /* seconds that a writer waits for another's lock: SQLite */
#define LIMIT_SQL_ROWS            (64 * 1024 * 1024)   /* of a result, where memory has no limit */
#define LIMIT_MIGRATION           (16 * 1024 * 1024)   /* bytes of a migration's text */
#define LIMIT_KV_SPACE_NAME       128                  /* a namespace's name */
#define LIMIT_KV_SPACE_KEYS       1000000              /* keys of a namespace */
#define LIMIT_KV_SPACE_BYTES      (256 * 1024 * 1024)  /* of a namespace: keys, values, overhead */
#define LIMIT_KV_BYTES            (1024 * 1024 * 1024) /* of all */
#define LIMIT_KV_OVERHEAD         64                   /* what a key counts beside its bytes */
#define LIMIT_KV_MAP_BYTES        ((size_t)8 << 30) /* addresses: pages are half empty at worst */
#define LIMIT_KV_LIST             1000              /* keys that one list gives */
#define LIMIT_KV_LOOK             50                /* that the dashboard shows at once */
#define LIMIT_KV_LIST_STEPS       5000              /* keys that one list looks at */
#define LIMIT_KV_BATCH            1024              /* writes that share one sync */
#define LIMIT_KV_BATCH_BYTES      (8 * 1024 * 1024)
#define LIMIT_KV_SLICE_NS         1000000 /* of a loop's turn, for those whose writes are done */
#define LIMIT_KV_TTL              (100.0 * 365 * 86400) /* "for ever" is said by leaving it out */
#define LIMIT_CHANNEL_NAME        128                   /* of a channel, bytes */
#define LIMIT_CHANNEL_TEXT        (64 * 1024)           /* of a message */
#define LIMIT_CHANNEL_RING        (4 * 1024 * 1024) /* of messages, between the workers of a host */
#define LIMIT_CHANNEL_READ        (256 * 1024)      /* of them in one turn of a worker's loop */
#define LIMIT_CHANNEL_QUEUE       1024              /* messages that wait for a subscriber */
#define LIMIT_CHANNEL_WAITING     (256 * 1024)      /* ... and their bytes */
#define LIMIT_CHANNEL_MEMORY      (16 * 1024 * 1024) /* of those that wait for anybody in a worker */
#define LIMIT_CHANNEL_SUBSCRIBERS 100000             /* of a worker */
#define LIMIT_CHANNEL_AGAIN_MS                                                                     \
    250                            /* after the server was lost: when it is asked to listen again  \
                                    */
#define LIMIT_KV_SERVER_MS    2000 /* KV_URL: for the next reply; then the connection is given up */
#define LIMIT_KV_SERVER_BYTES (16 * 1024 * 1024) /* commands that wait to be sent */
#define LIMIT_KV_SENTINELS    8                  /* hosts in KV_URL */
#define LIMIT_KV_SENTINEL_MS  500 /* for the answer of each; then the next is asked */

/* ---- the queue ---- */
#define LIMIT_QUEUE_JOB_BYTES (8 * 1024 * 1024)   /* with headers and body of a background call */
#define LIMIT_QUEUE_JOBS      100000              /* that wait, run or are dead letters */
#define LIMIT_QUEUE_BYTES     ((uint64_t)1 << 30) /* of all */
#define LIMIT_QUEUE_KEY       86400.0             /* seconds for which a key is taken */
#define LIMIT_QUEUE_DELAY     (366.0 * 86400)     /* queue.send's */
#define LIMIT_QUEUE_RETRIES   20                  /* pauses in `retry` */
#define LIMIT_QUEUE_PAUSE     (7.0 * 86400)       /* the longest of them, in seconds */
#define LIMIT_QUEUE_LOST      20 /* workers that may die with a job before it is a dead letter */
#define LIMIT_QUEUE_UNREAD    86400.0 /* seconds that a job waits where no host has its function */
#define LIMIT_QUEUE_REASON    256     /* bytes of a dead letter's reason */
#define LIMIT_QUEUE_RUNS      256     /* jobs that a worker runs at once */
#define LIMIT_QUEUE_TAKEN     16      /* that it takes at once */
#define LIMIT_QUEUE_LEASE     10000   /* ms that a worker of another machine is believed to live */
#define LIMIT_QUEUE_LIST      200     /* jobs that the command line reads at once */

/* ---- spans, metrics and logs for a collector (otlp/) ---- */
#define LIMIT_OTLP_QUEUE   65536             /* OTEL_BSP_MAX_QUEUE_SIZE */
#define LIMIT_OTLP_BYTES   (8 * 1024 * 1024) /* that wait, of spans, and of log records */
#define LIMIT_OTLP_REQUEST (1024 * 1024)     /* bytes of a batch, near enough */
#define LIMIT_OTLP_ANSWER  (64 * 1024)       /* of the collector's answer */
#define LIMIT_OTLP_HEADERS 32                /* OTEL_EXPORTER_OTLP_HEADERS */
#define LIMIT_OTLP_SPANS   128               /* below a request's own; those after it are counted */
#define LIMIT_OTLP_LOGS    128               /* log records of a request */
#define LIMIT_OTLP_TEXT    4096              /* of an attribute or a message */
#define LIMIT_OTLP_TRIES   5                 /* of a batch */
#define LIMIT_OTLP_PAUSE   30.0 /* seconds before another, whatever the collector says */
#define LIMIT_OTLP_FLUSH   2.0  /* seconds for what is left when the host ends */

/* ---- AWS Lambda (cli/lambda*.c) ---- */
#define LIMIT_LAMBDA_EVENT  (16 * 1024 * 1024) /* bytes of an event; Lambda's own is 6 MB */
#define LIMIT_LAMBDA_ANSWER (6 * 1024 * 1024)  /* of an answer in one piece */
#define LIMIT_LAMBDA_MARGIN 0.05 /* seconds of the time that a call has, for its answer */

/* ---- a deployment in one file with the program (cli/pack*.c) ---- */
#define LIMIT_PACK_BYTES (256 * 1024 * 1024) /* of its files; a start reads and writes them all */
#define LIMIT_PACK_FILES 10000
#define LIMIT_PACK_NAME  1024              /* bytes of a file's name with its folders */
#define LIMIT_PACK_LIST  (8 * 1024 * 1024) /* of the list of them */
#define LIMIT_PACK_DEPTH 32                /* folders in each other */
#define LIMIT_PACK_SEEN  100000            /* names that are looked at for it */

/* ---- the debugger (debug/) ---- */
#define LIMIT_DEBUG_HEAD        4096               /* of a message */
#define LIMIT_DEBUG_MESSAGE     (1024 * 1024)      /* bytes of one */
#define LIMIT_DEBUG_OUTPUT      (16 * 1024 * 1024) /* that a client has not read */
#define LIMIT_DEBUG_CLIENTS     8                  /* connections; one of them is attached */
#define LIMIT_DEBUG_BREAKPOINTS 1000               /* of all sources */
#define LIMIT_DEBUG_FRAMES      1000               /* that are shown of a stack */
#define LIMIT_DEBUG_MEMBERS     1000               /* of a table that are shown at once */
#define LIMIT_DEBUG_REFERENCES  20000 /* tables, scopes and frames of a task that stands */
#define LIMIT_DEBUG_TEXT        4096  /* bytes of a value that are shown */
#define LIMIT_DEBUG_CPU         0.2   /* seconds of processor time of an expression */

#define LIMIT_LIVE_MS 3000L /* `luafn live`: for an answer */

/* ---- rate limits ---- */
#define LIMIT_RATE_CALLERS (64 * 1024) /* counted at once; more share counts (host/rate.h) */
#define LIMIT_RATE_COUNT   1000000     /* functions.lua rate_limit.limit */
#define LIMIT_RATE_WINDOW  86400.0     /* functions.lua rate_limit.window */

/* ---- generations ---- */
#define LIMIT_GENERATION_ROWS 4096 /* functions with numbers that all workers share */

/* ---- inside scripts (run/guard_*.c) ---- */
#define LIMIT_TABLE_COUNT   10000000          /* elements that one call of table.* touches */
#define LIMIT_STRING_SCAN   (8 * 1024 * 1024) /* for library calls that nothing interrupts */
#define LIMIT_PACK_FORMAT   (64 * 1024)       /* of string.pack, packsize and unpack */
#define LIMIT_FORMAT_QUOTED (256 * 1024)      /* a text for %q: 40 ns a byte */
#define LIMIT_DATE_FORMAT   1024              /* os.date: each conversion is a strftime */
#define LIMIT_C_STACK_BYTES (1024 * 1024)     /* in use, before coroutines stop nesting */
#define LIMIT_PCALL_FRAMES  1000              /* calls around a pcall: unwinding n takes n * n */
