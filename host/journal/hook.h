/* Who listens to a run: what the host does for its script, call by call.
 *
 * A run that nobody listens to has no hook, and pays for the test of one pointer where it would be
 * told. Whoever listens is a `struct hook` with a type: the journal writes a record (record.c), and
 * otlp/trace.c spans; where both do, the second tells the first. Run and bindings know this header
 * alone.
 *
 * A call is begun when its arguments have proved good, right before the host does what was asked,
 * and ended with its answer; both are JSON, without secrets (hook->redact). One that is never ended
 * was cancelled. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/str.h"
#include "journal/redact.h"

struct hook;
struct claims;
struct exchange;

/* What is told of a call. All borrowed. */
struct hook_call {
    const char *name;     /* "kv.get"; static */
    struct str arguments; /* JSON; empty: none */
    struct str place;     /* "scripts/me.lua:12"; may be empty */
    unsigned task;        /* of the run: 0 is the handler, functions of parallel and after_response
                             are counted on */
};

struct hook_fault {
    struct str type, message, trace; /* with places; `trace` may be empty */
};

/* Something that waits for the recorded end of its call. */
struct hook_wait {
    struct list node;
    unsigned call;
    void (*complete)(struct hook_wait *wait); /* with the node taken off */
};

enum hook_moment {
    HOOK_CALLED,  /* it asks for a slot */
    HOOK_STARTED, /* it has one */
    HOOK_SENT     /* the client has the answer */
};

struct hook_end {
    uint64_t cpu_ns;
    size_t memory, memory_limit; /* of its Lua state, now */
    unsigned seed;               /* of that state: vm.h */
};

struct hook_type {
    /* The name of a call that begins: a number greater than 0; 0: the run ends here, since it is
     * not the recorded one any more. */
    unsigned (*begin)(struct hook *hook, const struct hook_call *call);
    void (*end)(struct hook *hook, unsigned call, struct str answer);
    /* A line of the script's log. `fields` is JSON, or empty. */
    void (*log)(struct hook *hook, const char *level, struct str message, struct str fields);
    /* A slice of processor time has ended now. */
    void (*slice)(struct hook *hook, uint64_t took_ns);
    void (*moment)(struct hook *hook, enum hook_moment moment);
    /* The run is over. */
    void (*ended)(struct hook *hook, const struct hook_end *end);
    void (*fault)(struct hook *hook, const struct hook_fault *fault);
    /* A piece of a streamed answer. */
    void (*written)(struct hook *hook, struct str bytes);
    /* Whose claims it has: takes a reference. */
    void (*claims)(struct hook *hook, struct claims *claims);
    /* It is a job of the queue; `key` may be empty. NULL: nobody wants to know. */
    void (*job)(struct hook *hook, struct str id, struct str key, unsigned attempt);
    /* A hash of a variable's value that this journal alone gives. */
    uint64_t (*hash)(struct hook *hook, struct str value);
    /* The answer is complete, before it is encoded. */
    void (*answer)(struct hook *hook);
    /* Who runs a recorded request again has these; of others they are NULL. Then nothing is done
     * outside: each call has its recorded answer. NULL: that was not kept, and the run ends. */
    const json_t *(*recorded)(struct hook *hook, unsigned call);
    /* Waits until it is the call's turn to end. May complete at once, from within. */
    void (*wait)(struct hook *hook, struct hook_wait *wait);
    /* The variable has another value now. */
    void (*other_env)(struct hook *hook, const char *name);
    /* Statements of sql are told as well; an answer is {"error": ...}, or empty. */
    bool statements;
    /* The traceparent that the `fetch` which begins next shall carry; *goes_on: it is of the trace
     * that the request brought. NULL: the request's own goes on as it came. */
    struct str (*traceparent)(struct hook *hook, bool *goes_on);
    /* The exchange goes: all there is to tell was told. Frees what the hook owns. NULL: whoever
     * made the hook does. */
    void (*over)(struct hook *hook);
};

struct hook {
    const struct hook_type *type; /* static */
    struct exchange *ex;          /* borrowed: whose run it is */
    struct redact *redact;        /* borrowed: of the outermost */
    struct hook *inner;           /* who is told of all this besides; NULL: nobody */
    struct buf text;              /* scratch for arguments and answers */
    unsigned task;                /* of what runs now */
    unsigned tasks;               /* numbers that were given to tasks */
    bool random_set;              /* math.random's own state for this run has been made */
    uint64_t random[4];
};

static inline bool hook_replays(const struct hook *hook)
{
    return hook->type->recorded != NULL;
}

/* The scratch buffer, emptied. */
static inline struct buf *hook_text(struct hook *hook)
{
    buf_clear(&hook->text);
    return &hook->text;
}

/* The same for what has no memory of its own: nothing is told of a run without a hook. */
static inline void hook_moment(struct hook *hook, enum hook_moment moment)
{
    if (hook != NULL)
        hook->type->moment(hook, moment);
}

/* It listens to its exchange, `hook->ex`, from now on, and ends with it. */
void hook_listen(struct hook *hook);
/* What runs on, as a background function, does so in another exchange. */
void hook_move(struct exchange *from, struct exchange *to);
