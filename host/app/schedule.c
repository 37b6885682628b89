/* The board of scheduled runs. */
#include "app/schedule.h"

#include <errno.h>
#include <time.h>

#include "base/log.h"

/* A changed expression is another schedule: it begins anew. */
static uint64_t key_of(struct str name, struct str expression)
{
    uint64_t key = str_hash(name) * 1099511628211u + str_hash(expression);
    return key != 0 ? key : 1;
}

static struct schedule_slot *find_slot(struct schedule_board *board, uint64_t key)
{
    for (uint64_t i = 0; i < LIMIT_SCHEDULES; i++) {
        struct schedule_slot *slot = &board->slots[(key + i) % LIMIT_SCHEDULES];
        uint64_t found = 0;
        if (atomic_compare_exchange_strong(&slot->key, &found, key) || found == key)
            return slot;
    }
    return NULL;
}

/* The newest due time up to `now`; there is one after `last`. Looks at ever longer spans of the
 * past, so that a long sleep costs few steps. */
static int64_t newest_due(const struct cron *cron, int64_t last, int64_t now)
{
    int64_t due = now + 1;
    for (int64_t span = LIMIT_SCHEDULE_LATE; due > now; span *= 2)
        due = cron_next(cron, now - span > last ? now - span : last);
    for (int64_t next = due; next >= 0 && next <= now; next = cron_next(cron, next))
        due = next;
    return due;
}

/* Would going on from `last` leave more than one turn out, and the schedule silent for long? */
static bool is_set_back(const struct cron *cron, int64_t last, int64_t now)
{
    if (last - now <= LIMIT_SCHEDULE_BACK)
        return false;
    int64_t next = cron_next(cron, now);
    int64_t after = next >= 0 ? cron_next(cron, next) : -1;
    return after >= 0 && after <= last;
}

struct schedule_slot *schedule_slot(struct schedule_board *board, struct str name,
                                    struct str expression)
{
    return find_slot(board, key_of(name, expression));
}

enum schedule_verdict schedule_judge(const struct cron *cron, int64_t last, int64_t now,
                                     struct schedule_turn *out)
{
    if (is_set_back(cron, last, now))
        return SCHEDULE_SET_BACK;
    int64_t first = cron_next(cron, last);
    if (first < 0 || first > now)
        return SCHEDULE_WAIT;
    out->due = now - first > LIMIT_SCHEDULE_LATE ? newest_due(cron, last, now) : first;
    out->missed = out->due != first;
    return SCHEDULE_RUN;
}

enum schedule_verdict schedule_take(struct schedule_board *board, struct str name,
                                    struct str expression, const struct cron *cron, int64_t now,
                                    struct schedule_turn *out)
{
    struct schedule_slot *slot = schedule_slot(board, name, expression);
    if (slot == NULL)
        return SCHEDULE_FULL;
    int64_t last = 0;
    if (atomic_compare_exchange_strong(&slot->last, &last, now))
        return SCHEDULE_WAIT;
    *out = (struct schedule_turn){.slot = slot};
    enum schedule_verdict verdict = schedule_judge(cron, last, now, out);
    if (verdict == SCHEDULE_WAIT)
        return SCHEDULE_WAIT;
    int64_t next = verdict == SCHEDULE_RUN ? out->due : now;
    if (!atomic_compare_exchange_strong(&slot->last, &last, next))
        return SCHEDULE_WAIT;
    if (verdict == SCHEDULE_SET_BACK)
        return SCHEDULE_SET_BACK;
    return shared_lock_try(&slot->running) ? SCHEDULE_RUN : SCHEDULE_OVERLAP;
}

void schedule_tell_full(struct str name, bool *told)
{
    if (!*told)
        log_message(LOG_ERROR, "more than %d schedules: %.*s is not run", LIMIT_SCHEDULES,
                    STR_ARG(name));
    *told = true;
}

void schedule_release(struct schedule_slot *slot)
{
    shared_lock_give(&slot->running);
}

/* ---- the request of a run ---- */

struct str schedule_write_time(int64_t at, char text[SCHEDULE_TIME_BYTES])
{
    struct tm tm;
    time_t seconds = (time_t)at;
    gmtime_r(&seconds, &tm);
    return (struct str){text, strftime(text, SCHEDULE_TIME_BYTES, "%Y-%m-%dT%H:%M:%S.000Z", &tm)};
}

struct str schedule_iso_time(struct arena *arena, int64_t at)
{
    char text[SCHEDULE_TIME_BYTES];
    return arena_copy(arena, schedule_write_time(at, text));
}

int schedule_request(struct exchange *ex, const struct cron *cron, int64_t due)
{
    struct arena *arena = &ex->arena;
    struct str next = schedule_iso_time(arena, cron_next(cron, due));
    struct request *req = &ex->req;
    req->method = METHOD_POST;
    req->method_name = STR("POST");
    req->headers = (struct headers){0};
    req->body = next.ptr != NULL ? arena_printf(arena, "{\"next_run\":\"%.*s\"}", STR_ARG(next))
                                 : (struct str){NULL, 0};
    bool ok =
        req->body.ptr != NULL &&
        headers_add(&req->headers, arena, STR("content-type"), STR("application/json")) == 0 &&
        headers_add(&req->headers, arena, STR("user-agent"), STR("luafn schedule")) == 0 &&
        headers_add(&req->headers, arena, STR("x-nf-event"), STR("schedule")) == 0;
    return ok ? 0 : -ENOMEM;
}
