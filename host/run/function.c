/* A function: slots, queue, generations. */
#include "run/function.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "journal/hook.h"
#include "options/options.h"
#include "run/input.h"
#include "run/invocation.h"
#include "run/outcome.h"
#include "run/websocket.h"

struct function *function_new(const struct function_spec *spec, const struct services *services,
                              const struct binding *bindings, const struct function *before)
{
    struct function *function = calloc(1, sizeof(*function));
    if (function == NULL)
        return NULL;
    function->base = spec;
    function->spec = spec;
    function->services = services;
    function->bindings = bindings;
    if (before != NULL) {
        function->generation = before->generation;
        function->served = origin_ref(before->current != NULL   ? before->current->origin
                                      : before->earlier != NULL ? before->earlier
                                                                : before->served);
    }
    function->metrics = &function->unshared;
    if (services->metrics != NULL)
        function->metrics =
            &services->page->functions[metrics_place(services->metrics, spec->name)];
    list_init(&function->invocations);
    list_init(&function->queue);
    list_init(&function->receiving);
    return function;
}

void function_begin_with(struct function *function, struct origin *earlier, uint64_t content,
                         unsigned generation)
{
    function->earlier = origin_ref(earlier);
    function->renewing = earlier != NULL;
    function->content = content;
    function->generation = generation;
}

bool function_is_idle(const struct function *function)
{
    return function->running == 0 && function->awaited == 0 && list_is_empty(&function->queue);
}

static void cancel_load(struct function *function)
{
    function->load_again = false;
    if (function->loading == NULL)
        return;
    if (function->trying)
        function->services->trials->cancel(function->services->trials_arg, function);
    else
        instance_cancel_load(function->loading);
    function->trying = false;
    instance_unref(function->loading);
    function->loading = NULL;
}

void function_free(struct function *function)
{
    if (function == NULL)
        return;
    cancel_load(function);
    instance_unref(function->current);
    instance_unref(function->fallback);
    origin_unref(function->origin);
    origin_unref(function->earlier);
    origin_unref(function->served);
    free(function);
}

/* ---- generations ---- */

static void start_queued(struct function *function);

static void log_load(const struct function *function, const struct instance *instance, bool refused)
{
    struct log_line line;
    bool good = instance->state == INSTANCE_READY;
    if ((good && function->spec->is_dev) || !log_wants(good ? LOG_INFO : LOG_ERROR))
        return;
    /* To people `dev` says at its start, all in one line, what there is. */
    if (good && function->services->dev && function->generation == 1 &&
        log_format() == LOG_FORMAT_TEXT)
        return;
    log_begin(&line, good ? LOG_INFO : LOG_ERROR,
              good      ? "function loaded"
              : refused ? "function is not taken up"
                        : "function does not load");
    log_str(&line, "function", function->spec->name);
    log_int(&line, "generation", function->generation);
    if (!good) {
        log_str(&line, "error", str_from(instance->error.text));
        if (function->current != NULL)
            log_str(&line, "serving", STR("the generation before"));
    } else if (function->remaking) {
        log_str(&line, "from", STR("the files that last loaded"));
    }
    log_end(&line);
}

static void drop_fallback(struct function *function)
{
    instance_unref(function->fallback);
    function->fallback = NULL;
}

static unsigned next_generation(const struct function *function, uint64_t content)
{
    const struct services *services = function->services;
    if (function->renewing && content == function->content)
        return function->generation;
    if (services->number == NULL)
        return function->generation + 1;
    return services->number(services->number_arg, function->base->name, content,
                            function->generation);
}

void function_close_websockets(struct function *function, const struct instance *instance)
{
    list_each(node, &function->invocations)
    {
        struct invocation *inv = container_of(node, struct invocation, in_function);
        if (instance != NULL && inv->instance != instance)
            continue;
        websocket_go_away(inv);
        invocation_leave(inv);
    }
}

static void swap_in(struct function *function, struct instance *instance)
{
    struct instance *before = function->current;
    drop_fallback(function);
    if (before != NULL && before->good > 0 && instance->spec.rollback > 0)
        function->fallback = instance_ref(before);
    function->suspended = false;
    function->generation = next_generation(function, instance->content);
    function->content = instance->content;
    function->renewing = false;
    instance->generation = function->generation;
    function->current = instance_ref(instance);
    function->spec = &instance->spec;
    if (before != NULL)
        function_close_websockets(function, before);
    instance_unref(before);
    origin_unref(function->earlier);
    origin_unref(function->served);
    function->earlier = function->served = NULL;
}

/* What the files had to say. */
static void note_load(struct function *function, const struct instance *instance)
{
    function->failed = instance->state == INSTANCE_FAILED;
    if (function->failed)
        function->error = instance->error;
    function->tried = instance->content;
    origin_unref(function->origin);
    function->origin = origin_ref(instance->origin);
}

/* Nothing serves, and something did from other files than these. */
static bool can_remake(const struct function *function)
{
    return function->current == NULL && !function->remaking && function->earlier == NULL &&
           function->served != NULL && origin_hash(function->served) != function->tried;
}

static void begin(struct function *function, struct origin *earlier);

static void end_load(struct function *function)
{
    function->remaking = false;
    if (function->on_loaded != NULL)
        function->on_loaded(function);
    start_queued(function);
    if (function->load_again) {
        function->load_again = false;
        function_load(function);
    }
}

/* It takes the place of another, and is another: not a fresh state for the same version. */
static bool is_to_be_tried(const struct function *function, const struct instance *instance)
{
    if (function->services->trials == NULL || function->remaking || function->renewing ||
        instance->spec.is_dev)
        return false;
    return function->current != NULL ? function->current->content != instance->content
                                     : function->served != NULL;
}

/* False: it is not tried. */
static bool try(struct function *function, struct instance *instance)
{
    if (!is_to_be_tried(function, instance))
        return false;
    bool waited = function->loading != NULL;
    function->loading = waited ? instance : instance_ref(instance);
    function->trying =
        function->services->trials->begin(function->services->trials_arg, function, instance);
    if (!function->trying && !waited) {
        function->loading = NULL;
        instance_unref(instance);
    }
    return function->trying;
}

static void settle(struct function *function, struct instance *instance, bool refused);

static void on_instance_loaded(struct instance *instance, void *arg)
{
    struct function *function = arg;
    if (instance->state == INSTANCE_READY &&
        (instance_read_options(instance, &instance->error) != 0 ||
         (function->prepare != NULL &&
          function->prepare(function, instance, &instance->error) != 0)))
        instance->state = INSTANCE_FAILED;
    instance->content = origin_hash(instance->origin);
    if (instance->state == INSTANCE_READY && origin_settle(instance->origin) != 0) {
        err_set(&instance->error, 0, "out of memory");
        instance->state = INSTANCE_FAILED;
    }
    if (instance->state != INSTANCE_READY || !try(function, instance))
        settle(function, instance, false);
}

void function_settle(struct function *function, const struct err *why)
{
    struct instance *instance = function->loading;
    function->trying = false;
    if (why != NULL) {
        instance->error = *why;
        instance->state = INSTANCE_FAILED;
    }
    settle(function, instance, why != NULL);
}

static void settle(struct function *function, struct instance *instance, bool refused)
{
    if (!function->remaking)
        note_load(function, instance);
    if (instance->state == INSTANCE_READY) {
        function->metrics->loads++;
        swap_in(function, instance);
    } else {
        function->metrics->load_failures++;
    }
    log_load(function, instance, refused);
    bool was_async = function->loading != NULL;
    function->loading = NULL;
    if (was_async)
        instance_unref(instance);
    if (can_remake(function)) {
        function->remaking = true;
        begin(function, function->served);
    } else {
        end_load(function);
    }
}

/* A fresh state for the version that serves is made from what that was made from: the files may be
 * broken by now. */
static struct origin *earlier_of(const struct function *function)
{
    return function->renewing && function->current != NULL ? function->current->origin
                                                           : function->earlier;
}

void function_load(struct function *function)
{
    if (function->ended || function->fixed)
        return;
    if (function->loading != NULL) {
        function->load_again = true;
        return;
    }
    begin(function, earlier_of(function));
}

void function_hold(struct function *function, struct instance *instance)
{
    function->fixed = true;
    function->current = instance_ref(instance);
    function->spec = &instance->spec;
}

static void begin(struct function *function, struct origin *earlier)
{
    struct instance *instance =
        instance_load(function->base, function->services, function->bindings, earlier,
                      on_instance_loaded, function);
    if (instance == NULL) {
        function->failed = true;
        err_set(&function->error, 0, "out of memory while loading %.*s",
                STR_ARG(function->spec->name));
        end_load(function);
    } else if (instance->state == INSTANCE_LOADING) {
        function->loading = instance;
    } else {
        instance_unref(instance);
    }
}

/* ---- taking a generation back ---- */

static void roll_back(struct function *function)
{
    struct instance *failed = function->current;
    function->metrics->rollbacks++;
    function->failed = true;
    err_set(&function->error, 0,
            "generation %u failed its first %u requests; generation %u serves again",
            failed->generation, failed->bad, function->fallback->generation);
    log_message(LOG_ERROR, "%.*s: %s", STR_ARG(function->base->name), function->error.text);
    function->current = function->fallback;
    function->spec = &function->current->spec;
    function->fallback = NULL;
    instance_unref(failed);
    if (function->on_loaded != NULL)
        function->on_loaded(function);
}

/* A run on that instance has a result: a new generation that fails its first `rollback` runs is
 * taken back, where the one before had good ones. */
static void judge(struct function *function, struct instance *instance, bool good)
{
    instance->good += good;
    instance->bad += !good;
    if (function->fallback == NULL || instance != function->current)
        return;
    if (good)
        drop_fallback(function);
    else if (instance->bad >= instance->spec.rollback)
        roll_back(function);
}

/* ---- slots ---- */

static void answer_unstarted(struct call *call, void (*set)(struct call *))
{
    claims_unref(call->claims);
    call->claims = NULL;
    call->ex->on_gone = NULL;
    call->ex->owner = NULL;
    set(call);
    exchange_answer(call->ex);
}

static void set_no_slot(struct call *call)
{
    call->function->metrics->no_slot++;
    outcome_set_no_slot(call->function->spec, call->ex);
}

static void set_not_loaded(struct call *call)
{
    outcome_set_not_loaded(call->function->error.text, call->function->services->dev, call->ex);
}

static void set_suspended(struct call *call)
{
    outcome_set_suspended(call->ex);
}

static void set_loading(struct call *call)
{
    outcome_set_loading(call->ex);
}

static void set_cancelled(struct call *call)
{
    outcome_set_limit(BUDGET_CANCELLED, call->function->spec, NULL, false, call->ex);
}

/* The answer is there. */
static void set_nothing(struct call *call)
{
    (void)call;
}

static void end_wait(struct call *call)
{
    list_remove(&call->waiting);
    call->ex->on_gone = NULL;
    call->ex->owner = NULL;
}

static void unqueue(struct call *call)
{
    end_wait(call);
    call->function->queued--;
}

static void on_gone_while_queued(struct exchange *ex)
{
    struct call *call = ex->owner;
    unqueue(call);
    claims_unref(call->claims);
    call->function->metrics->cancelled++;
    exchange_release(ex);
}

static void release_instance(void *instance)
{
    instance_unref(instance);
}

/* It waits from here on, and whom one version let in must not run on another that would not. */
static void remember(struct call *call)
{
    struct instance *current = call->function->current;
    if (call->waited)
        return;
    call->waited = true;
    if (current != NULL && arena_defer(&call->ex->arena, release_instance, current) == 0)
        call->judged = instance_ref(current);
}

/* The version that it runs on: the one that serves, or where that asks for something else, the one
 * that let it in. NULL: that was functions.lua alone. */
static struct instance *version_of(const struct call *call)
{
    const struct function *function = call->function;
    struct instance *current = function->current, *judged = call->judged;
    if (!call->waited || judged == current)
        return current;
    const struct function_spec *spec = judged != NULL ? &judged->spec : function->base;
    bool alike = options_is_given(function->base, STR("auth")) ||
                 (spec->policy.kind == POLICY_UNSET && current->spec.policy.kind == POLICY_UNSET);
    bool same = judged != NULL && judged->content == current->content;
    return same || (alike && call->tool == NULL) ? current : judged;
}

static void enqueue(struct call *call)
{
    struct function *function = call->function;
    remember(call);
    function->queued++;
    list_push(&function->queue, &call->waiting);
    exchange_hold(call->ex);
    call->ex->on_gone = on_gone_while_queued;
    call->ex->owner = call;
}

static void refuse(struct call *call, const struct http_fault *fault)
{
    claims_unref(call->claims);
    call->claims = NULL;
    exchange_refuse(call->ex, fault);
}

static void release_slot(struct function *function, bool spoiled)
{
    function->running--;
    if (spoiled) {
        function->renewing = true;
        function_load(function);
    }
    start_queued(function);
}

static void run(struct call *call)
{
    static const struct invocation_owner owner = {.on_result = judge, .on_end = release_slot};
    struct instance *version = version_of(call);
    if (version == NULL) {
        answer_unstarted(call, set_loading);
        release_slot(call->function, false);
        return;
    }
    const struct function_spec *spec = &version->spec;
    if (call->tool == NULL && input_is_judged(spec) && !input_judge(spec, call->ex, &call->query)) {
        answer_unstarted(call, set_nothing);
        release_slot(call->function, false);
        return;
    }
    if (invocation_start(call, version, &owner))
        return;
    answer_unstarted(call, set_no_slot);
    release_slot(call->function, false);
}

/* ---- the body, in its slot ---- */

static void on_gone_while_receiving(struct exchange *ex)
{
    struct call *call = ex->owner;
    struct function *function = call->function;
    end_wait(call);
    claims_unref(call->claims);
    function->metrics->cancelled++;
    exchange_release(ex);
    release_slot(function, false);
}

static void on_body(struct exchange *ex)
{
    struct call *call = ex->owner;
    struct function *function = call->function;
    const struct http_fault *fault = exchange_body_fault(ex);
    end_wait(call);
    if (fault == NULL) {
        run(call);
    } else {
        refuse(call, fault);
        release_slot(function, false);
    }
    exchange_release(ex); /* the wait's */
}

static void receive(struct call *call)
{
    remember(call);
    exchange_hold(call->ex);
    list_push(&call->function->receiving, &call->waiting);
    call->ex->on_gone = on_gone_while_receiving;
    call->ex->owner = call;
    exchange_read_whole(call->ex, on_body);
}

/* A scheduled function that is called by hand has a body of its own. */
static void start(struct call *call)
{
    const struct function_spec *spec = call->function->spec;
    call->function->running++;
    if (call->ex->body == NULL || spec->stream_body || spec->cron != NULL)
        run(call);
    else
        receive(call);
}

static bool has_slot(const struct function *function)
{
    return function->current != NULL && function->running < function->spec->concurrency;
}

unsigned function_room(const struct function *function)
{
    bool open = !function->ended && !function->suspended && has_slot(function);
    return open ? function->spec->concurrency - function->running : 0;
}

bool function_accepts(const struct function *function)
{
    if (function->ended || function->suspended ||
        (function->current == NULL && function->loading == NULL))
        return false;
    return has_slot(function) || function->queued < function->spec->queue;
}

void function_call(struct call *call)
{
    struct function *function = call->function;
    const struct http_fault *fault;
    function->metrics->requests++;
    hook_moment(call->ex->hook, HOOK_CALLED);
    list_init(&call->waiting);
    if (function->ended)
        answer_unstarted(call, set_cancelled);
    else if (function->suspended)
        answer_unstarted(call, set_suspended);
    else if (function->current == NULL && function->loading == NULL)
        answer_unstarted(call, set_not_loaded);
    else if (!function_accepts(function))
        answer_unstarted(call, set_no_slot);
    else if (function->spec->cron == NULL &&
             (fault = exchange_limit_body(call->ex, function->spec->body)) != NULL)
        refuse(call, fault);
    else if (has_slot(function))
        start(call);
    else
        enqueue(call);
}

/* A call that ends at once frees its slot again from within: the loop below goes on, it does not
 * nest. */
static void start_queued(struct function *function)
{
    if (function->dispatching)
        return;
    function->dispatching = true;
    while (!list_is_empty(&function->queue) &&
           (function->current == NULL || function->running < function->spec->concurrency)) {
        struct call *call = container_of(function->queue.next, struct call, waiting);
        struct exchange *ex = call->ex;
        unqueue(call);
        if (function->current == NULL)
            answer_unstarted(call, set_not_loaded);
        else
            start(call);
        exchange_release(ex); /* the queue's */
        if (function->current == NULL && function->loading != NULL)
            break;
    }
    function->dispatching = false;
}

void function_cancel_all(struct function *function)
{
    function->ended = true;
    cancel_load(function);
    while (!list_is_empty(&function->queue)) {
        struct call *call = container_of(function->queue.next, struct call, waiting);
        struct exchange *ex = call->ex;
        unqueue(call);
        answer_unstarted(call, set_cancelled);
        exchange_release(ex);
    }
    while (!list_is_empty(&function->receiving)) {
        struct call *call = container_of(function->receiving.next, struct call, waiting);
        struct exchange *ex = call->ex;
        end_wait(call);
        answer_unstarted(call, set_cancelled);
        exchange_release(ex);
        release_slot(function, false);
    }
    while (!list_is_empty(&function->invocations)) {
        struct invocation *inv =
            container_of(function->invocations.next, struct invocation, in_function);
        invocation_cancel(inv, BUDGET_CANCELLED);
    }
}
