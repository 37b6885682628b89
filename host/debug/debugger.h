/* Scripts that stand still while somebody looks at them.
 *
 * A task is a thread to a debugger. It stands between two lines of its script, where a breakpoint
 * is or a step ends, or at the error that ends it; its clock and its deadline stand with it, and
 * everybody else runs on. While nobody is attached no script is watched, and while somebody is,
 * those that have a breakpoint in one of their files, and those that make a step. What runs while a
 * script loads does not stand.
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
    unsigned breakpoint; /* id of the one that it met; 0: none */
    lua_State *from;     /* where the step began; anchored by `anchor` */
    int anchor, depth;
    struct inspect_place place;
    struct redact own; /* where the request has no hook with one */
};

struct debugger_listener {
    void (*stopped)(void *arg, struct debugger_thread *thread, const char *text);
    void (*gone)(void *arg, unsigned id);
    /* A line for the console; `source` is Lua's name of the file or NULL. */
    void (*output)(void *arg, struct str text, const char *source, int line);
    void *arg;
};

struct debugger {
    const struct debugger_listener *listener; /* borrowed */
    struct debugger_thread *threads;          /* owned */
    struct breakpoints breakpoints;
    unsigned newest_thread, newest_ref;
    bool stops_at_errors;
    bool stops_at_entry; /* each request at its first line */
    bool told_deaf;      /* that a line cannot be stood at */
};

/* Watches from now on. */
void debugger_open(struct debugger *debugger, const struct debugger_listener *listener);
/* Lets everybody go on and watches no more. Nothing is told. */
void debugger_close(struct debugger *debugger);

/* The thread of that number; NULL: there is none. */
struct debugger_thread *debugger_find(struct debugger *debugger, unsigned id);
/* The thread of a task of a request, made when it has none; NULL: no memory. */
struct debugger_thread *debugger_thread_of(struct debugger *debugger, struct task *task);

/* Lets one that stands go on in this mode, or asks one that runs to stand at its next line. */
void debugger_go_on(struct debugger_thread *thread, enum debugger_mode mode);
void debugger_pause(struct debugger_thread *thread);
