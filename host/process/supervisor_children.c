/* Workers: made, watched, replaced. */
#include "process/supervisor_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "process/keeper.h"
#include "process/stand_in.h"

enum { BLAMES_MAX = 3, BLAME_SECONDS = 60, RESPAWN_MS = 200, RESPAWN_SHIFT_MAX = 6 };
enum { UNSERVED_MS = 1000 };

static struct worker_metrics *page_of(struct supervisor *s, unsigned index)
{
    return &s->carried.metrics->pages[s->carried.first_page + index];
}

/* ---- birth ---- */

/* In a new process: what all kinds of children do first, and are given. */
static struct worker_options be_a_child(struct supervisor *s)
{
    /* When the parent is killed, its workers must not hold the port. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != s->self)
        _exit(WORKER_EXIT_FAILED);
    close(s->signal_fd);
    close(s->keep_fds[0]);
    upgrade_forget(&s->upgrade);
    if (s->options->ready_fd >= 0)
        close(s->options->ready_fd);
    signal(SIGHUP, SIG_IGN); /* until the worker listens to it; its slot says that there was one */
    signal(SIGUSR2, SIG_IGN);
    sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
    struct worker_options options = s->options->worker;
    options.listen_fds = s->fds;
    options.listen_count = s->listener_count;
    options.keep_fd = s->keep_fds[1];
    options.table = s->carried.workers;
    options.app.kept = keeper_read(s->kept_file);
    return options;
}

static _Noreturn void run_child(struct supervisor *s, unsigned index)
{
    struct worker_options options = be_a_child(s);
    options.slot = &s->carried.workers->slots[index];
    options.suspensions = s->carried.suspensions;
    options.app.replaces = s->announced;
    replay_share(s->carried.proofs);
    revocations_share(s->carried.revocations);
    channels_share(s->carried.channels);
    nonce_secret_share(s->carried.nonces);
    options.app.board = s->carried.board;
    options.app.rates = s->carried.rates;
    options.app.deliveries = s->carried.deliveries;
    options.app.generations = s->carried.generations;
    options.app.tell_notes = index == 0;
    options.app.metrics = s->carried.metrics;
    options.app.page = s->carried.first_page + index;
    options.app.running_name = options.slot->running;
    int status = worker_run(&options);
    exit(status); /* the memory stays mapped: the kernel looks there for locks that are held */
}

void children_spawn(struct supervisor *s, unsigned index)
{
    struct child *child = &s->children[index];
    atomic_store(&s->carried.workers->slots[index].heartbeat_ns, clock_monotonic_ns());
    atomic_store(&s->carried.workers->slots[index].ready, 0);
    s->carried.workers->slots[index].running[0] = '\0';
    /* Before it died, the one before may have given more than was there at the last look. */
    keeper_take(s->keep_fds[0], &s->kept_file);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        run_child(s, index);
    if (pid == -1) {
        log_message(LOG_ERROR, "cannot start a worker: %s", strerror(errno));
        child->respawn_at_ns = clock_monotonic_ns() + 1000000000u;
        return;
    }
    *child =
        (struct child){.pid = pid, .born_ns = clock_monotonic_ns(), .failures = child->failures};
}

void children_signal(struct supervisor *s, int signal)
{
    for (unsigned i = 0; i < s->options->workers; i++) {
        if (s->children[i].pid > 0)
            kill(s->children[i].pid, signal);
    }
    if (s->stand_in > 0)
        kill(s->stand_in, signal);
}

/* ---- death ---- */

unsigned children_alive(const struct supervisor *s)
{
    unsigned count = 0;
    for (unsigned i = 0; i < s->options->workers; i++)
        count += s->children[i].pid > 0;
    return count + (s->stand_in > 0);
}

static void log_death(const struct child *child, int status, const char *message)
{
    struct log_line line;
    log_begin(&line, LOG_ERROR, message);
    log_int(&line, "pid", child->pid);
    if (WIFSIGNALED(status))
        log_int(&line, "signal", WTERMSIG(status));
    else
        log_int(&line, "status", WEXITSTATUS(status));
    log_end(&line);
}

/* Of one that was told to stop; SIGTERM may reach it before it listens to that. */
static bool has_stopped_well(int status)
{
    return WIFEXITED(status)
               ? WEXITSTATUS(status) == WORKER_EXIT_OK || WEXITSTATUS(status) == WORKER_EXIT_STORE
               : WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM;
}

/* One that dies young waits a little, and those that did not come to serve, one after the other,
 * ever longer, so that a broken one does not eat the machine. */
static uint64_t respawn_wait(unsigned failures)
{
    unsigned shift = failures < RESPAWN_SHIFT_MAX ? failures : RESPAWN_SHIFT_MAX;
    return failures == 0 ? 1 : ((uint64_t)RESPAWN_MS << (shift - 1)) * 1000000u;
}

/* The store's file is mapped: where it is cut or damaged, whoever reads it gets a signal. */
static bool may_be_of_the_store(int status, bool young)
{
    if (WIFEXITED(status))
        return WEXITSTATUS(status) == WORKER_EXIT_STORE;
    return WTERMSIG(status) == SIGBUS ||
           (young && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGABRT));
}

/* A process of its own does; meanwhile no worker is made that would open the file. */
static void look_at_store(struct supervisor *s)
{
    struct err err;
    const char *file = s->options->worker.app.kv_file;
    if (file != NULL && s->store_check == 0 && store_check_begin(file, &s->store_check, &err) != 0)
        log_message(LOG_ERROR, "%s", err.text);
    if (s->store_check < 0)
        s->store_check = 0;
}

static void on_store_looked_at(struct supervisor *s, int status)
{
    struct err err;
    s->store_check = 0;
    if (store_check_end(s->options->worker.app.kv_file, status, &err) != 0)
        log_message(LOG_ERROR, "%s", err.text);
}

static void on_end(struct supervisor *s, unsigned index, int status)
{
    struct child *child = &s->children[index];
    bool refused = WIFEXITED(status) && WEXITSTATUS(status) != WORKER_EXIT_OK && !s->announced;
    bool served = atomic_load(&s->carried.workers->slots[index].ready) != 0;
    bool young = !served || clock_monotonic_ns() - child->born_ns < 1000000000u;
    metrics_clear_gauges(page_of(s, index));
    atomic_store(&s->carried.workers->slots[index].ready, 0);
    if (refused && !s->stopping) {
        child->pid = 0;
        s->refused = true; /* the worker has said why */
        return;
    }
    if (!s->stopping) {
        log_death(child, status, "worker ended; another takes its place");
        s->carried.metrics->restarts++;
        if (may_be_of_the_store(status, young))
            look_at_store(s);
        child->failures = !served ? child->failures + 1 : young;
        child->respawn_at_ns = clock_monotonic_ns() + respawn_wait(child->failures);
    } else if (!has_stopped_well(status)) {
        log_death(child, status, "worker ended badly while it stopped");
        s->status = WORKER_EXIT_FAILED;
    }
    child->pid = 0;
}

void children_reap(struct supervisor *s)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return;
        upgrade_on_exit(&s->upgrade, pid, status);
        if (pid == s->store_check)
            on_store_looked_at(s, status);
        if (pid == s->stand_in)
            s->stand_in = 0;
        for (unsigned i = 0; i < s->options->workers; i++) {
            if (s->children[i].pid == pid)
                on_end(s, i, status);
        }
    }
}

/* ---- hearts ---- */

static struct suspension *find_suspension(struct supervisor *s, const char *name)
{
    struct suspension *list = s->carried.suspensions->list, *free_one = NULL;
    for (unsigned i = 0; i < LIMIT_SUSPENSIONS; i++) {
        if (atomic_load(&list[i].active) && strcmp(list[i].name, name) == 0)
            return &list[i];
        if (!atomic_load(&list[i].active))
            free_one = &list[i];
    }
    return free_one;
}

/* Three hung workers in a minute while the same function ran: it is suspended until its files
 * change. */
static void blame(struct supervisor *s, const char *name)
{
    const unsigned ring = sizeof(s->blames) / sizeof(s->blames[0]);
    struct blame *b = &s->blames[s->blame_count++ % ring];
    b->at_ns = clock_monotonic_ns();
    snprintf(b->name, sizeof(b->name), "%s", name);
    unsigned count = 0;
    for (unsigned i = 0; i < ring; i++)
        count += strcmp(s->blames[i].name, name) == 0 &&
                 b->at_ns - s->blames[i].at_ns < BLAME_SECONDS * 1000000000ull;
    struct suspension *suspension = count >= BLAMES_MAX ? find_suspension(s, name) : NULL;
    if (suspension == NULL)
        return;
    snprintf(suspension->name, sizeof(suspension->name), "%s", name);
    atomic_store(&suspension->content, 0);
    atomic_store(&suspension->active, 1);
    log_message(
        LOG_ERROR,
        "function %s hung %u workers within a minute; it is suspended until its script changes",
        name, count);
}

static void check_heart(struct supervisor *s, unsigned index)
{
    struct child *child = &s->children[index];
    struct worker_slot *slot = &s->carried.workers->slots[index];
    uint64_t beat = atomic_load(&slot->heartbeat_ns);
    if (child->pid <= 0 ||
        heart_stopped_ns(&child->heart, child->pid, beat) < (uint64_t)(LIMIT_WATCHDOG * 1e9))
        return;
    char name[LIMIT_RUNNING_NAME];
    memcpy(name, slot->running, sizeof(name));
    name[sizeof(name) - 1] = '\0';
    struct log_line line;
    log_begin(&line, LOG_ERROR, "a worker's loop has stopped; killing it");
    log_int(&line, "pid", child->pid);
    log_str(&line, "function", name[0] != '\0' ? str_from(name) : STR("(none)"));
    log_end(&line);
    s->carried.metrics->hangs++;
    kill(child->pid, SIGKILL);
    atomic_store(&slot->heartbeat_ns, clock_monotonic_ns());
    if (name[0] != '\0')
        blame(s, name);
}

/* ---- while nobody serves ---- */

static void start_stand_in(struct supervisor *s)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct worker_options options = be_a_child(s);
        exit(stand_in_run(&options));
    }
    if (pid > 0) {
        s->stand_in = pid;
        log_message(LOG_ERROR, "no worker serves: requests are answered with 503");
    }
}

/* A moment without a worker is waited through, longer times are told. */
static void check_stand_in(struct supervisor *s, bool served)
{
    uint64_t now = clock_monotonic_ns();
    bool wanted = !served && !s->stopping;
    if (served || !s->announced)
        s->served_ns = now;
    if (s->stand_in == 0 && wanted && now - s->served_ns > UNSERVED_MS * 1000000ull)
        start_stand_in(s);
    if (s->stand_in > 0 && !wanted && !s->stand_in_told)
        kill(s->stand_in, SIGTERM);
    s->stand_in_told = s->stand_in > 0 && !wanted;
}

unsigned children_check(struct supervisor *s)
{
    unsigned ready = 0;
    for (unsigned i = 0; i < s->options->workers; i++) {
        struct child *child = &s->children[i];
        ready += child->pid > 0 && atomic_load(&s->carried.workers->slots[i].ready) == 1;
        check_heart(s, i);
        if (child->pid == 0 && child->respawn_at_ns != 0 && !s->stopping && s->store_check == 0 &&
            clock_monotonic_ns() >= child->respawn_at_ns)
            children_spawn(s, i);
    }
    check_stand_in(s, ready > 0);
    return ready;
}
