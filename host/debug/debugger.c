/* Scripts that stand still.
 *
 * The line hook decides by numbers alone and yields; conditions and log points are asked from the
 * loop, once the task stands, and it goes on where they say so. */
#include "debug/debugger.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "http/exchange.h"
#include "journal/hook.h"
#include "lua/budget.h"
#include "lua/script.h"
#include "run/invocation.h"

static struct debugger *active; /* NULL: nobody is attached */

/* ---- threads ---- */

struct debugger_thread *debugger_find(struct debugger *d, unsigned id)
{
    struct debugger_thread *thread = d->threads;
    while (thread != NULL && thread->id != id)
        thread = thread->next;
    return thread;
}

static struct redact *redact_of(struct debugger_thread *thread)
{
    struct exchange *ex = thread->task->invocation->ex;
    if (ex->hook != NULL)
        return ex->hook->redact;
    redact_learn_headers(&thread->own, &ex->req.headers);
    return &thread->own;
}

struct debugger_thread *debugger_thread_of(struct debugger *d, struct task *task)
{
    struct debugger_thread *thread =
        task->thread != 0 ? debugger_find(d, task->thread) : calloc(1, sizeof(*thread));
    if (thread == NULL || task->thread != 0)
        return thread;
    thread->next = d->threads;
    d->threads = thread;
    thread->reason = "";
    thread->task = task;
    thread->id = task->thread = ++d->newest_thread;
    thread->anchor = LUA_NOREF;
    thread->place =
        (struct inspect_place){.task = task, .redact = redact_of(thread), .newest = &d->newest_ref};
    return thread;
}

static void forget_step(struct debugger_thread *thread)
{
    luaL_unref(thread->task->vm->L, LUA_REGISTRYINDEX, thread->anchor);
    thread->anchor = LUA_NOREF;
    thread->from = NULL;
    thread->mode = DEBUGGER_RUN;
    thread->pausing = false;
}

static void free_thread(struct debugger *d, struct debugger_thread *thread)
{
    struct debugger_thread **link = &d->threads;
    while (*link != thread)
        link = &(*link)->next;
    *link = thread->next;
    inspect_forget(&thread->place);
    forget_step(thread);
    thread->task->thread = 0;
    redact_free(&thread->own);
    free(thread);
}

/* ---- which coroutines are watched ---- */

/* Has one of the files that the script was made from a breakpoint? */
static bool has_breakpoints(const struct debugger *d, const struct instance *instance)
{
    const struct origin *origin = instance->origin;
    if (d->breakpoints.sources == NULL)
        return false;
    for (unsigned i = 0; i < origin->count; i++) {
        const struct origin_note *note = &origin->list[i];
        if (note->kind == ORIGIN_FILE && note->text != NULL &&
            breakpoints_has(&d->breakpoints, script_display_name(note->path, instance->spec.root)))
            return true;
    }
    return false;
}

static bool is_debugged(const struct task *task)
{
    return task != NULL && task->invocation != NULL && !task->invocation->instance->spec.is_dev;
}

static bool enters_at(const struct task *task)
{
    return active->stops_at_entry && task == task->invocation->main;
}

static bool watches(lua_State *co)
{
    struct task *task = vm_of(co)->task;
    if (!is_debugged(task))
        return false;
    const struct debugger_thread *thread =
        task->thread != 0 ? debugger_find(active, task->thread) : NULL;
    return (thread != NULL && thread->mode != DEBUGGER_RUN) ||
           (thread == NULL && enters_at(task)) ||
           has_breakpoints(active, task->invocation->instance);
}

/* ---- the line hook ---- */

/* Is the stack of L deeper than that? */
static bool is_deeper(lua_State *L, int depth)
{
    lua_Debug ar;
    return lua_getstack(L, depth, &ar) == 1;
}

static int depth_of(lua_State *L)
{
    lua_Debug ar;
    int depth = 0;
    while (lua_getstack(L, depth, &ar))
        depth++;
    return depth;
}

/* Does it run, or resume what runs? Else it has yielded, or is dead. */
static bool is_active(lua_State *co)
{
    lua_Debug ar;
    return lua_status(co) == LUA_OK && lua_getstack(co, 0, &ar);
}

static bool step_ends(const struct debugger_thread *thread, lua_State *L)
{
    switch (thread->mode) {
    case DEBUGGER_RUN:
        return false;
    case DEBUGGER_IN:
        return true;
    default:
        if (L !=
            thread->from) /* deeper, in a coroutine that it resumed; or back in who resumed it */
            return !is_active(thread->from);
        return !is_deeper(L, thread->mode == DEBUGGER_NEXT ? thread->depth : thread->depth - 1);
    }
}

static void tell_deaf(lua_State *L, lua_Debug *ar)
{
    static const char text[] =
        "a script cannot stand here: it is called by a function that does not wait for it\n";
    if (active->told_deaf)
        return;
    active->told_deaf = true;
    lua_getinfo(L, "S", ar);
    active->listener->output(active->listener->arg, STR(text), ar->source, ar->currentline);
}

static void on_line(lua_State *L, lua_Debug *ar)
{
    struct task *task = vm_of(L)->task;
    if (active == NULL || !is_debugged(task))
        return;
    struct debugger_thread *thread = task->thread != 0 ? debugger_find(active, task->thread) : NULL;
    bool enters = thread == NULL && enters_at(task);
    if (!enters && (thread == NULL || thread->mode == DEBUGGER_RUN) &&
        !breakpoints_may(&active->breakpoints, ar->currentline))
        return;
    if (!lua_getinfo(L, "S", ar) || *ar->source != '@')
        return;
    struct breakpoint *b = breakpoints_find(&active->breakpoints, ar->source + 1, ar->currentline);
    bool steps = thread != NULL && step_ends(thread, L);
    if (b == NULL && !steps && !enters)
        return;
    if (!vm_can_yield(L)) {
        tell_deaf(L, ar);
        return;
    }
    thread = debugger_thread_of(active, task);
    if (thread == NULL)
        return;
    thread->reason = enters ? "entry" : !steps ? "" : thread->pausing ? "pause" : "step";
    thread->breakpoint = b != NULL ? b->id : 0;
    inspect_note(&thread->place, L, ar);
    vm_of(L)->yield = VM_YIELD_STAND;
    lua_yield(L, 0); /* returns: in a hook the yield comes after it */
}

/* ---- standing ---- */

static void go_on(struct debugger_thread *thread)
{
    struct task *task = thread->task;
    inspect_forget(&thread->place);
    thread->stands = false;
    thread->at_error = false;
    invocation_go_on(task->invocation);
    task_go_on(task);
}

struct place {
    char source[256];
    int line;
};

static void on_place(void *arg, const struct inspect_frame *frame)
{
    struct place *place = arg;
    place->line = frame->line;
    strncpy(place->source, frame->source, sizeof(place->source) - 1);
}

static void tell(struct debugger_thread *thread, const struct buf *text)
{
    struct place place = {.line = 0};
    inspect_frames(&thread->place, 0, 1, on_place, &place);
    if (!buf_failed(text))
        active->listener->output(active->listener->arg, buf_str(text), place.source, place.line);
}

/* Does it stand at this breakpoint? A condition that fails is told, and stands. */
static bool meets(struct debugger_thread *thread, struct breakpoint *b)
{
    char why[512] = "";
    struct buf text = BUF_INIT;
    bool stands = b->condition == NULL || inspect_holds(&thread->place, b->condition, why);
    if (why[0] != '\0') {
        buf_printf(&text, "the condition of a breakpoint fails: %s\n", why);
        tell(thread, &text);
    }
    stands = stands && breakpoints_hit(b);
    if (stands && b->log != NULL) {
        buf_clear(&text);
        inspect_log(&thread->place, b->log, &text);
        buf_add_char(&text, '\n');
        tell(thread, &text);
        stands = false;
    }
    buf_free(&text);
    return stands;
}

static void on_stands(struct task *task)
{
    struct debugger_thread *thread = debugger_thread_of(active, task);
    invocation_stand(task->invocation);
    if (thread == NULL) {
        invocation_go_on(task->invocation);
        task_go_on(task);
        return;
    }
    struct buf text = BUF_INIT;
    struct breakpoint *b = thread->breakpoint != 0
                               ? breakpoints_by_id(&active->breakpoints, thread->breakpoint)
                               : NULL;
    thread->stands = true;
    thread->at_error = task->stood != LUA_YIELD;
    if (thread->at_error) {
        thread->reason = "exception";
        thread->place.line = 0;
        inspect_error(&thread->place, &text);
    } else if (b != NULL && meets(thread, b)) {
        thread->reason = "breakpoint";
    } else {
        thread->breakpoint = 0;
    }
    if (*thread->reason == '\0') {
        go_on(thread);
    } else {
        forget_step(thread);
        buf_add_char(&text, '\0');
        active->listener->stopped(active->listener->arg, thread,
                                  thread->at_error && !buf_failed(&text) ? text.data : NULL);
    }
    buf_free(&text);
}

static bool stops(struct task *task)
{
    return active->stops_at_errors && is_debugged(task) && task->budget->end == BUDGET_RUNNING &&
           !inspect_raised_answer(task);
}

static void on_gone(struct task *task)
{
    struct debugger_thread *thread = debugger_find(active, task->thread);
    if (thread == NULL)
        return;
    if (thread->stands)
        invocation_go_on(task->invocation);
    unsigned id = thread->id;
    free_thread(active, thread);
    active->listener->gone(active->listener->arg, id);
}

/* ---- what a client wants ---- */

/* The coroutine stays where it is while the step is made. */
static int l_anchor(lua_State *L)
{
    struct debugger_thread *thread = lua_touserdata(L, 1);
    luaL_checkstack(thread->from, 1, NULL);
    lua_pushthread(thread->from);
    lua_xmove(thread->from, L, 1);
    thread->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void begin_step(struct debugger_thread *thread, enum debugger_mode mode)
{
    lua_State *L = thread->task->vm->L;
    thread->from = thread->place.co;
    thread->depth = depth_of(thread->from);
    thread->mode = mode;
    lua_pushcfunction(L, l_anchor);
    lua_pushlightuserdata(L, thread);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK)
        return;
    lua_pop(L, 1);
    thread->mode = DEBUGGER_IN;
}

void debugger_go_on(struct debugger_thread *thread, enum debugger_mode mode)
{
    if (!thread->stands)
        return;
    forget_step(thread);
    if (mode != DEBUGGER_RUN && !thread->at_error)
        begin_step(thread, mode);
    go_on(thread);
}

void debugger_pause(struct debugger_thread *thread)
{
    if (thread->stands)
        return;
    forget_step(thread);
    thread->mode = DEBUGGER_IN;
    thread->pausing = true;
}

void debugger_open(struct debugger *d, const struct debugger_listener *listener)
{
    static const struct task_watcher watcher = {
        .stops = stops, .stands = on_stands, .gone = on_gone};
    assert(active == NULL);
    d->listener = listener;
    d->stops_at_errors = d->stops_at_entry = d->told_deaf = false;
    active = d;
    task_watcher = &watcher;
    budget_watches = watches;
    budget_line_hook = on_line;
}

void debugger_close(struct debugger *d)
{
    if (active != d)
        return;
    budget_watches = NULL;
    budget_line_hook = NULL;
    d->stops_at_errors = false;
    breakpoints_clear(&d->breakpoints);
    while (d->threads != NULL) {
        struct debugger_thread *thread = d->threads;
        struct task *task = thread->task;
        bool stood = thread->stands;
        free_thread(d, thread);
        if (!stood)
            continue;
        invocation_go_on(task->invocation);
        task_go_on(task); /* may end others: they are still told to be gone */
    }
    active = NULL;
    task_watcher = NULL;
}
