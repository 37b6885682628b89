/* What the configuration says about one function. Plain data, borrowed from the configuration for
 * as long as any generation of the function lives. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "auth/policy.h"
#include "base/str.h"

struct cron;
struct schema;

enum rate_by { RATE_BY_IP, RATE_BY_SUB, RATE_BY_AZP };

struct rate_limit {
    unsigned limit; /* requests that pass in a window; 0: no limit */
    double window;  /* seconds */
    enum rate_by by;
};

/* An argument that clients repeat in a header of the request. */
enum { TOOL_HEADER_DEPTH = 4 };
struct tool_header {
    struct str name;                     /* behind "Mcp-Param-" */
    const char *path[TOOL_HEADER_DEPTH]; /* of the argument */
    unsigned depth;
};

/* A function as a tool for agents; ends with the arena that its function's options are in. */
struct tool_spec {
    struct str name; /* the function's, or what follows "luafn-dev-" where it is the host's own */
    struct str text; /* as tools/list shows it: JSON */
    struct str description;
    const struct schema *input, *output; /* `output` NULL: none */
    struct tool_header *headers;
    unsigned header_count;
};

struct function_spec {
    struct str name;   /* [A-Za-z0-9_-]+ */
    struct str script; /* absolute path, or "embedded:NAME" for a script inside the program */
    struct str root;   /* folder of functions.lua; `require` looks beside the script, then here */
    struct str *paths; /* route patterns; none: PREFIX/NAME and below */
    unsigned path_count;
    struct str *excluded; /* patterns of paths that `paths` match and the function does not want */
    unsigned excluded_count;
    bool prefer_static; /* a file of the site comes before it */
    unsigned methods;   /* bits; METHOD_ALL when nothing was said */
    struct policy policy;
    double timeout;       /* seconds of wall clock */
    double cpu;           /* seconds of processor time */
    size_t memory;        /* bytes of an instance */
    unsigned concurrency; /* requests at once, a worker */
    unsigned
        rollback;     /* failures in a row at its start that take a new generation back; 0: never */
    unsigned queue;   /* requests that may wait for a slot */
    size_t body;      /* bytes that a request's may have */
    bool stream_body; /* the handler begins before it has come */
    size_t message;   /* bytes that a message of a WebSocket may have */
    const struct schema *input; /* of the body, which is JSON; NULL: any */
    const struct schema *query; /* of the query, as an object; NULL: any */
    bool background;
    const double *retry; /* seconds before each further try of a job that failed */
    unsigned retry_count;
    struct str schedule;     /* the expression; empty: it does not run by itself */
    const struct cron *cron; /* the same, read; NULL: none */
    struct str *sql;         /* variables whose values are databases that it may open */
    unsigned sql_count;
    struct str *fetch_hosts; /* globs */
    unsigned fetch_host_count;
    bool fetch_declared; /* `fetch` was given: nothing but these hosts */
    struct str *files;   /* globs over paths from `root`; what read_file gives */
    unsigned file_count;
    struct str *env; /* globs over names; what `env` shows */
    unsigned env_count;
    bool env_declared; /* `env` was given: nothing but these */
    struct str kv;     /* its namespace there; empty: its name */
    struct rate_limit rate_limit;
    const struct tool_spec *tool; /* NULL: it is none */
    bool is_dev;                  /* part of `luafn dev` itself (issuer, TV API) */
    unsigned
        given; /* bits: which keys functions.lua gave; those win over what the script returns */
};

/* The namespace of its kv. */
static inline struct str function_spec_kv(const struct function_spec *spec)
{
    return spec->kv.len > 0 ? spec->kv : spec->name;
}
