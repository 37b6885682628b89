/* The parent process: signals, and what happens over time. */
#include "process/supervisor_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "process/keeper.h"
#include "process/notify.h"

enum { CHECK_MS = 100, EXIT_GRACE_S = 2 };

/* ---- ending ---- */

/* Our own descriptors go first: what connects after the last worker's look into the queue is
 * refused, not left waiting for nobody. */
static void take_nothing_new(struct supervisor *s)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        if (s->fds[i] >= 0)
            close(s->fds[i]);
        s->fds[i] = -1;
    }
}

static void stop(struct supervisor *s, int status)
{
    if (s->stopping)
        return;
    s->stopping = true;
    s->status = status;
    s->kill_at_ns =
        clock_monotonic_ns() + (uint64_t)((s->options->worker.drain + EXIT_GRACE_S) * 1e9);
    if (s->upgrade.state != UPGRADE_DONE)
        notify_send("STOPPING=1\nSTATUS=answering what runs");
    take_nothing_new(s);
    bool last = s->upgrade.state == UPGRADE_NONE && !s->options->foreign;
    for (unsigned i = 0; last && i < s->listener_count; i++)
        listener_remove(&s->listeners[i]);
    for (unsigned i = 0; i < s->options->workers; i++)
        atomic_store(&s->carried.workers->slots[i].last, last);
    children_signal(s, SIGTERM);
}

/* ---- reloading ---- */

static void reload(struct supervisor *s)
{
    if (s->stopping)
        return;
    s->reloading = true;
    notify_send("RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading",
                (unsigned long long)(clock_monotonic_ns() / 1000));
    for (unsigned i = 0; i < s->options->workers; i++)
        atomic_fetch_add(&s->carried.workers->slots[i].reload_asked, 1);
    children_signal(s, SIGHUP);
}

static void tell_state(struct supervisor *s, const char *before)
{
    notify_send("%sSTATUS=%u of %u workers serve", before, children_check(s), s->options->workers);
}

static void check_reload(struct supervisor *s)
{
    if (!s->reloading || !s->announced)
        return;
    for (unsigned i = 0; i < s->options->workers; i++) {
        if (s->children[i].pid > 0 && workers_reload_is_due(&s->carried.workers->slots[i]))
            return;
    }
    s->reloading = false;
    tell_state(s, "READY=1\n");
}

/* ---- upgrading ---- */

static void begin_upgrade(struct supervisor *s)
{
    struct inherited what = {.listen_count = s->listener_count,
                             .admin_fd = s->options->worker.admin_fd,
                             .carried_fd = s->carried.fd,
                             .foreign = s->options->foreign};
    if (!s->announced || s->stopping)
        return;
    memcpy(what.listen_fds, s->fds, sizeof(s->fds));
    if (upgrade_begin(&s->upgrade, s->options->argv, &what, &s->old_mask))
        log_message(LOG_INFO, "upgrade: the new program is process %d", (int)s->upgrade.pid);
}

static void check_upgrade(struct supervisor *s)
{
    bool both_end = s->told_to_stop && s->upgrade.ended;
    if (both_end || !upgrade_check(&s->upgrade))
        return;
    log_message(LOG_INFO, "upgrade: the new program serves; this one answers what runs");
    s->carried.metrics->upgrades++;
    notify_send("MAINPID=%d", (int)s->upgrade.pid);
    stop(s, 0);
}

/* A service manager has been told who is in charge now. Anybody else knows this process only, which
 * stays as a mere go-between. */
static bool is_go_between(const struct supervisor *s)
{
    return s->upgrade.state == UPGRADE_DONE && !notify_wanted();
}

/* Somebody wants an end: the second time, of what still runs as well. Of a new program, too, that
 * has not told that it serves: some of its workers may answer already. */
static void on_stop_signal(struct supervisor *s)
{
    if (s->told_to_stop)
        children_signal(s, SIGKILL);
    if (s->upgrade.state == UPGRADE_STARTING && !s->upgrade.ended)
        kill(s->upgrade.pid, SIGTERM);
    s->told_to_stop = true;
    stop(s, 0);
}

/* ---- what happens over time ---- */

static void announce(struct supervisor *s)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        if (i == 0 || strcmp(s->listeners[i].url, s->listeners[i - 1].url) != 0)
            fprintf(stderr, "listening on %s\n", s->listeners[i].url);
    }
    fflush(stderr);
    s->announced = true;
    carried_settle(&s->carried);
    upgrade_tell_ready(s->options->ready_fd);
    s->options->ready_fd = -1;
    tell_state(s, "READY=1\n");
}

/* A sign of life means that somebody answers: without a worker that does there is none. */
static void sign_of_life(struct supervisor *s, unsigned ready)
{
    uint64_t now = clock_monotonic_ns();
    if (s->watchdog_ns == 0 || now < s->next_sign_ns || (ready == 0 && !s->stopping))
        return;
    s->next_sign_ns = now + s->watchdog_ns;
    notify_send("WATCHDOG=1");
}

/* A worker says that its time is over, and ends. This is for one that did not come to it. */
static void end_what_is_left(struct supervisor *s)
{
    if (!s->killed && children_alive(s) > 0) {
        s->killed = true;
        log_message(LOG_WARN, "drain time is over; killing what does not end by itself");
    }
    children_signal(s, SIGKILL);
}

static void check(struct supervisor *s)
{
    unsigned ready = children_check(s);
    if (s->refused)
        stop(s, WORKER_EXIT_FAILED);
    if (!s->announced && ready == s->options->workers)
        announce(s);
    check_reload(s);
    check_upgrade(s);
    sign_of_life(s, ready);
    if (s->stopping && clock_monotonic_ns() >= s->kill_at_ns)
        end_what_is_left(s);
}

static void on_signal(struct supervisor *s, int signal)
{
    if (signal == SIGCHLD)
        children_reap(s);
    else if (is_go_between(s) && !s->upgrade.ended)
        kill(s->upgrade.pid, signal);
    else if (signal == SIGHUP && !s->hangup_ends)
        reload(s);
    else if (signal == SIGUSR2)
        begin_upgrade(s);
    else
        on_stop_signal(s);
}

static void read_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        on_signal(s, (int)info.ssi_signo);
}

/* In `dev`, which reloads by itself; unless it was told to outlive its terminal (nohup). */
static bool hangup_ends(const struct supervisor *s)
{
    struct sigaction now;
    return s->options->worker.app.dev && sigaction(SIGHUP, NULL, &now) == 0 &&
           now.sa_handler != SIG_IGN;
}

static int set_up(struct supervisor *s)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGCHLD};
    sigset_t mask;
    sigemptyset(&mask);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaddset(&mask, signals[i]);
    sigprocmask(SIG_BLOCK, &mask, &s->old_mask);
    s->signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->signal_fd < 0)
        return -errno;
    s->kept_file = -1;
    int rc = keeper_open(s->keep_fds);
    if (rc != 0)
        return rc;
    s->hangup_ends = hangup_ends(s);
    s->watchdog_ns = notify_watchdog();
    return carried_open(&s->carried, s->options->carried_fd, s->options->workers);
}

static bool is_over(const struct supervisor *s)
{
    bool waits_for_new = s->upgrade.state != UPGRADE_NONE && !notify_wanted() && !s->upgrade.ended;
    return s->stopping && children_alive(s) == 0 && !waits_for_new;
}

int supervisor_run(struct supervisor_options *options, const struct listener *listeners,
                   unsigned count)
{
    static struct supervisor s;
    s.options = options;
    s.listeners = listeners;
    s.listener_count = count;
    s.self = getpid();
    for (unsigned i = 0; i < count; i++)
        s.fds[i] = listeners[i].fd;
    int rc = set_up(&s);
    if (rc != 0) {
        log_message(LOG_ERROR, "cannot start: %s", strerror(-rc));
        return 1;
    }
    for (unsigned i = 0; i < options->workers; i++)
        children_spawn(&s, i);
    options->worker.app.config = NULL; /* it may be old when the next one is made */
    while (!is_over(&s)) {
        struct pollfd wanted[] = {{.fd = s.signal_fd, .events = POLLIN},
                                  {.fd = s.keep_fds[0], .events = POLLIN}};
        poll(wanted, 2, s.announced ? CHECK_MS : 5);
        keeper_take(s.keep_fds[0], &s.kept_file);
        read_signals(&s);
        check(&s);
    }
    carried_close(&s.carried);
    close(s.signal_fd);
    return is_go_between(&s) ? s.upgrade.exit_status : s.status;
}
