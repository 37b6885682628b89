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

static bool can_go_back(const struct debugger *d)
{
    return d->listener->again != NULL;
}

/* A function of the user's; and of what is run again, only where that is all there is. */
static bool is_debugged(const struct debugger *d, const struct task *task)
{
    return task != NULL && task->invocation != NULL && !task->invocation->instance->spec.is_dev &&
           (task->hook == NULL || !hook_replays(task->hook) || can_go_back(d));
}

static struct debugger_spot *spot_of(const struct debugger *d, unsigned id)
{
    for (unsigned i = 0; i < d->spot_count; i++) {
        if (d->spots[i].thread == id)
            return &d->spots[i];
    }
    return NULL;
}

/* In each run it has the same number, and it is watched for longer than its script runs. */
static void take_its_place(struct debugger *d, struct debugger_thread *thread)
{
    enum { WATCHED = 20 };
    const struct task *task = thread->task;
    thread->id = task->number + 1;
    if (task == task->invocation->main)
        task->budget->cpu_limit_ns *= WATCHED;
    const struct debugger_spot *spot = spot_of(d, thread->id);
    if (spot == NULL)
        return;
    thread->until = spot->until;
    thread->goal = spot->goal;
}

struct debugger_thread *debugger_thread_of(struct debugger *d, struct task *task)
{
    if (task->thread != 0)
        return debugger_find(d, task->thread);
    struct debugger_thread *thread =
        !d->over && is_debugged(d, task) ? calloc(1, sizeof(*thread)) : NULL;
    if (thread == NULL)
        return NULL;
    thread->next = d->threads;
    d->threads = thread;
    thread->reason = "";
    thread->task = task;
    thread->id = ++d->newest_thread;
    if (can_go_back(d))
        take_its_place(d, thread);
    task->thread = thread->id;
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

/* Is its next line the first that is looked at? */
static bool enters(const struct task *task, const struct debugger_thread *thread)
{
    return active->stops_at_entry && task == task->invocation->main &&
           (thread == NULL || thread->lines == 0);
}

/* In a run that was made again: was it further when it was sent back, or another one was? */
static bool is_silent(const struct debugger_thread *thread)
{
    return active->back != 0 ||
           (thread != NULL && thread->until != 0 && thread->lines <= thread->until);
}

static bool watches(lua_State *co)
{
    struct task *task = vm_of(co)->task;
    if (!is_debugged(active, task) || active->over)
        return false;
    const struct debugger_thread *thread =
        task->thread != 0 ? debugger_find(active, task->thread) : NULL;
    return can_go_back(active) || (thread != NULL && thread->mode != DEBUGGER_RUN) ||
           enters(task, thread) || has_breakpoints(active, task->invocation->instance);
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

/* NULL: for none, but a breakpoint's. */
static const char *why_stands(const struct debugger_thread *thread, lua_State *L, bool first)
{
    if (is_silent(thread)) {
        bool arrives = thread != NULL && thread->goal != NULL && thread->lines == thread->until;
        return arrives ? thread->goal : NULL;
    }
    if (first)
        return "entry";
    if (thread == NULL || !step_ends(thread, L))
        return NULL;
    return thread->pausing ? "pause" : "step";
}

static bool may_stand(const struct debugger_thread *thread, bool first, int line)
{
    return first || can_go_back(active) || (thread != NULL && thread->mode != DEBUGGER_RUN) ||
           breakpoints_may(&active->breakpoints, line);
}

static void stand(lua_State *L, lua_Debug *ar, const char *reason, const struct breakpoint *b)
{
    struct debugger_thread *thread = debugger_thread_of(active, vm_of(L)->task);
    if (thread == NULL)
        return;
    if (thread->lines == 0)
        thread->lines = 1;
    thread->reason = reason != NULL ? reason : "";
    thread->breakpoint = b != NULL ? b->id : 0;
    inspect_note(&thread->place, L, ar);
    vm_of(L)->yield = VM_YIELD_STAND;
    lua_yield(L, 0); /* returns: in a hook the yield comes after it */
}

static void on_line(lua_State *L, lua_Debug *ar)
{
    struct task *task = vm_of(L)->task;
    if (active == NULL || active->over || !is_debugged(active, task))
        return;
    struct debugger_thread *thread = task->thread != 0 ? debugger_find(active, task->thread) : NULL;
    bool first = enters(task, thread), is_deaf = !vm_can_yield(L);
    if (!may_stand(thread, first, ar->currentline) || !lua_getinfo(L, "S", ar) ||
        *ar->source != '@')
        return;
    if (thread == NULL && can_go_back(active))
        thread = debugger_thread_of(active, task);
    if (thread != NULL && !is_deaf)
        thread->lines++;
    const char *reason = why_stands(thread, L, first);
    const struct breakpoint *b =
        breakpoints_find(&active->breakpoints, ar->source + 1, ar->currentline);
    if (b == NULL && reason == NULL)
        return;
    if (!is_deaf)
        stand(L, ar, reason, b);
    else if (!is_silent(thread))
        tell_deaf(L, ar);
}

/* ---- runs that are made again ---- */

/* Its tasks are left to who ends it; nothing of them is told. */
static void end_run(struct debugger *d)
{
    d->over = true;
    while (d->threads != NULL) {
        struct task *task = d->threads->task;
        if (d->threads->stands)
            invocation_go_on(task->invocation);
        free_thread(d, d->threads);
    }
    d->listener->again(d->listener->arg);
}

/* At an error there is no line: it comes there after all of them. */
static struct debugger_spot spot_at(const struct debugger_thread *thread)
{
    return (struct debugger_spot){.thread = thread->id,
                                  .until = thread->at_error ? UINT64_MAX : thread->lines,
                                  .goal = thread->stands ? thread->reason : NULL};
}

/* The line before; at an error the one that raised it. */
static struct debugger_spot spot_before(const struct debugger_thread *thread)
{
    uint64_t until = thread->lines - (thread->at_error ? 0 : 1);
    return (struct debugger_spot){
        .thread = thread->id, .until = until > 0 ? until : 1, .goal = until > 0 ? "step" : "entry"};
}

void debugger_go_back(struct debugger *d, struct debugger_thread *thread, bool to_breakpoint)
{
    unsigned count = 0;
    for (const struct debugger_thread *one = d->threads; one != NULL; one = one->next)
        count++;
    struct debugger_spot *spots = calloc(count + 1, sizeof(*spots));
    if (spots == NULL)
        return;
    free(d->spots);
    d->spots = spots;
    d->spot_count = 0;
    for (const struct debugger_thread *one = d->threads; one != NULL; one = one->next)
        spots[d->spot_count++] = one == thread && !to_breakpoint ? spot_before(one) : spot_at(one);
    d->back = thread->id;
    d->looks = to_breakpoint;
    end_run(d);
}

void debugger_begin_run(struct debugger *d)
{
    d->over = false;
    breakpoints_begin(&d->breakpoints);
}

bool debugger_stands(const struct debugger *d)
{
    const struct debugger_thread *thread = d->threads;
    while (thread != NULL && !thread->stands)
        thread = thread->next;
    return thread != NULL;
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
    bool silent = is_silent(thread);
    char why[512] = "";
    struct buf text = BUF_INIT;
    bool stands = b->condition == NULL || inspect_holds(&thread->place, b->condition, why);
    if (why[0] != '\0' && !silent) {
        buf_printf(&text, "the condition of a breakpoint fails: %s\n", why);
        tell(thread, &text);
    }
    stands = stands && breakpoints_hit(b);
    if (stands && b->log != NULL && !silent) {
        buf_clear(&text);
        inspect_log(&thread->place, b->log, &text);
        buf_add_char(&text, '\n');
        tell(thread, &text);
    }
    buf_free(&text);
    return stands && b->log == NULL;
}

/* In a run that was made again. False: it goes on to where it was. */
static bool has_arrived(struct debugger_thread *thread)
{
    return thread->goal != NULL && (thread->at_error || thread->lines == thread->until);
}

/* True: the run is over, since the breakpoint that it goes back to is known now. */
static bool looks_further(struct debugger_thread *thread)
{
    if (!active->looks || thread->id != active->back)
        return false;
    struct debugger_spot *spot = spot_of(active, thread->id);
    spot->until = thread->met > 0 ? thread->met : 1;
    spot->goal = thread->met > 0 ? "breakpoint" : "entry";
    active->looks = false;
    end_run(active);
    return true;
}

static void arrive(struct debugger_thread *thread)
{
    if (thread->id == active->back)
        active->back = 0;
    thread->until = 0;
    thread->goal = NULL;
}

/* Why it stands: "" if it does not. */
static const char *judge(struct debugger_thread *thread, struct buf *text)
{
    unsigned id = thread->breakpoint;
    thread->breakpoint = 0;
    if (thread->at_error) {
        thread->place.line = 0;
        inspect_error(&thread->place, text);
        return "exception";
    }
    struct breakpoint *b = id != 0 ? breakpoints_by_id(&active->breakpoints, id) : NULL;
    bool is_met = b != NULL && meets(thread, b), silent = is_silent(thread);
    if (is_met && silent)
        thread->met = thread->lines;
    if (!is_met || (silent && strcmp(thread->reason, "breakpoint") != 0))
        return thread->reason;
    thread->breakpoint = id;
    return "breakpoint";
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
    thread->stands = true;
    thread->at_error = task->stood != LUA_YIELD;
    if (has_arrived(thread) && looks_further(thread))
        return;
    thread->reason = judge(thread, &text);
    if (has_arrived(thread))
        arrive(thread);
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

/* One that stood at its error was sent there; else it was further. */
static bool was_further(const struct task *task)
{
    const struct debugger_thread *thread =
        task->thread != 0 ? debugger_find(active, task->thread) : NULL;
    return is_silent(thread) && (thread == NULL || thread->until != UINT64_MAX);
}

static bool stops(struct task *task)
{
    return active->stops_at_errors && is_debugged(active, task) && !active->over &&
           !was_further(task) && task->budget->end == BUDGET_RUNNING &&
           !inspect_raised_answer(task);
}

static void tell_lost(void)
{
    static const char text[] =
        "this run ended before it came to that place again: its script does something else now\n";
    active->back = 0;
    active->listener->output(active->listener->arg, STR(text), NULL, 0);
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
    if (id == active->back)
        tell_lost();
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
    d->stops_at_errors = d->stops_at_entry = d->told_deaf = d->over = false;
    d->back = 0;
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
    free(d->spots);
    d->spots = NULL;
    d->spot_count = 0;
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
