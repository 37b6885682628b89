/* Scripts that stand still while somebody looks at them.
 *
 * A task is a thread to a debugger. It stands between two lines of its script, where a breakpoint
 * is or a step ends, or at the error that ends it; its clock and its deadline stand with it, and
 * everybody else runs on. While nobody is attached no script is watched, and while somebody is,
 * those that have a breakpoint in one of their files, and those that make a step. What runs while a
 * script loads does not stand.
 *
 * Where runs can be made again (a record is replayed), a thread can go back: its lines are counted,
 * and it stands at an earlier one of the next run, whose threads know nothing before they are where
 * they were. Then all scripts are watched, which takes its time.
 *
 * One a process: hooks are. All calls come from the loop. */
#pragma once

#include "debug/breakpoints.h"
#include "debug/inspect.h"
#include "journal/redact.h"
#include "run/task.h"

struct function;

enum debugger_mode {
    DEBUGGER_RUN,
    DEBUGGER_IN,   /* to the next line, whosever */
    DEBUGGER_NEXT, /* ... of this function, or of who called it */
    DEBUGGER_OUT   /* ... of who called it */
};

struct debugger_thread {
    struct debugger_thread *next;
    struct task *task; /* borrowed */
    unsigned id;
    enum debugger_mode mode;
    bool pausing; /* the step is a pause */
    bool stands;  /* and the client knows it */
    bool at_error;
    const char *reason;  /* static: of DAP's stopped event; set in the hook */
    uint64_t lines;      /* at which it could stand, that it has begun; the one where it is too */
    uint64_t until;      /* ... of them nothing is told; 0: none */
    const char *goal;    /* it stands at the last of them, for this reason; NULL: it does not */
    uint64_t met;        /* the last of them at which it met a breakpoint; 0: none */
    unsigned breakpoint; /* id of the one that it met; 0: none */
    lua_State *from;     /* where the step began; anchored by `anchor` */
    int anchor, depth;
    struct inspect_place place;
    struct redact own; /* where the request has no hook with one */
};

struct debugger_listener {
    void (*stopped)(void *arg, struct debugger_thread *thread, const char *text);
    void (*gone)(void *arg, unsigned id);
    /* The run is over, and shall be made again; NULL: that cannot be. */
    void (*again)(void *arg);
    /* A line for the console; `source` is Lua's name of the file or NULL. */
    void (*output)(void *arg, struct str text, const char *source, int line);
    void *arg;
};

/* Where a thread was when another one, or itself, was sent back. */
struct debugger_spot {
    unsigned thread;
    uint64_t until;
    const char *goal;
};

struct debugger {
    const struct debugger_listener *listener; /* borrowed */
    struct debugger_thread *threads;          /* owned */
    struct breakpoints breakpoints;
    unsigned newest_thread, newest_ref;
    bool stops_at_errors;
    bool stops_at_entry;         /* each request at its first line */
    bool told_deaf;              /* that a line cannot be stood at */
    bool over;                   /* the run is, and the next has not begun */
    struct debugger_spot *spots; /* owned: of the run that is made again */
    unsigned spot_count;
    unsigned back; /* the thread that was sent back and has not arrived; 0: none */
    bool looks;    /* ... for the breakpoint that it goes to, in a run of its own */
};

/* Watches from now on. */
void debugger_open(struct debugger *debugger, const struct debugger_listener *listener);
/* Lets everybody go on and watches no more. Nothing is told. */
void debugger_close(struct debugger *debugger);

/* The thread of that number; NULL: there is none. */
struct debugger_thread *debugger_find(struct debugger *debugger, unsigned id);
/* The thread of a task of a request, made when it has none; NULL: it has none of
 * its own, as what is the host's, or there is no memory. */
struct debugger_thread *debugger_thread_of(struct debugger *debugger, struct task *task);

/* Lets one that stands go on in this mode, or asks one that runs to stand at its next line. */
void debugger_go_on(struct debugger_thread *thread, enum debugger_mode mode);
void debugger_pause(struct debugger_thread *thread);

/* Runs can be made again: this one is over, and in the next the thread, which stands, stands at the
 * line before; or at the breakpoint before, which is its first line where there is none. */
void debugger_go_back(struct debugger *debugger, struct debugger_thread *thread,
                      bool to_breakpoint);
/* The run that was asked for begins. */
void debugger_begin_run(struct debugger *debugger);
/* Does any thread stand? */
bool debugger_stands(const struct debugger *debugger);
