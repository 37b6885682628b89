/* The parent process. */
#include "supervisor.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/limits.h"

enum { BLAMES_MAX = 3, BLAME_SECONDS = 60 };
enum { WORKERS_MAX = 256, CHECK_MS = 100, RESPAWN_MS = 200, EXIT_GRACE_S = 2 };

struct child {
    pid_t pid; /* 0: none */
    uint64_t born_ns;
    uint64_t respawn_at_ns; /* 0: not waiting */
    bool was_ready;
};

/* Memory that parent and children share. */
struct shared {
    struct suspension suspensions[SUSPENSIONS_MAX];
    struct worker_slot slots[WORKERS_MAX];
    struct schedule_board board;
    struct rate_table rates;
};

/* A worker that was killed while this function ran. */
struct blame {
    char name[VM_NAME_BYTES];
    uint64_t at_ns;
};

struct supervisor {
    struct blame blames[16]; /* the newest ones, in a ring */
    unsigned blame_count;
    struct supervisor_options *options;
    const struct listener *listeners;
    unsigned listener_count;
    int fds[SUPERVISOR_LISTEN_MAX];
    struct shared *shared; /* with the children */
    struct child children[WORKERS_MAX];
    int signal_fd;
    sigset_t old_mask;
    pid_t self;
    bool announced;
    bool stopping;
    uint64_t kill_at_ns; /* when draining takes too long */
    int status;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- sockets ---- */

static int split_address(const char *address, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL) {
        snprintf(host, size, "127.0.0.1");
        *port = address;
        return 0;
    }
    size_t len = (size_t)(colon - address);
    if (len >= 2 && address[0] == '[' && colon[-1] == ']') {
        address++;
        len -= 2;
    }
    if (len >= size)
        return -EINVAL;
    snprintf(host, size, "%.*s", (int)len, address);
    *port = colon + 1;
    return 0;
}

static void describe(int fd, const char *scheme, char *url, size_t size)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    char host[64] = "?", port[16] = "?";
    getsockname(fd, (struct sockaddr *)&address, &len);
    getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    bool v6 = address.ss_family == AF_INET6;
    snprintf(url, size, "%s://%s%s%s:%s", scheme, v6 ? "[" : "", host, v6 ? "]" : "", port);
}

static int bind_one(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    info->ai_protocol);
    if (fd == -1)
        return -errno;
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    /* Listening here, not only in the workers, makes a port that is taken fail now. */
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, 511) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

int supervisor_bind(const char *address, const char *scheme, struct listener *out, struct err *err)
{
    char host[256];
    const char *port;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    uint64_t number;
    if (split_address(address, host, sizeof(host), &port) != 0 ||
        str_to_u64(str_from(port), 65535, &number) != 0 ||
        getaddrinfo(host, port, &hints, &list) != 0)
        return err_set(err, -EINVAL,
                       "'%s' is not an address; write HOST:PORT, such as 127.0.0.1:8888", address);
    out->fd = bind_one(list);
    freeaddrinfo(list);
    if (out->fd == -EADDRINUSE)
        return err_set(
            err, out->fd,
            "%s is in use already; stop the other program, or take another port with --listen %s:0",
            address, host);
    if (out->fd < 0)
        return err_set(err, out->fd, "cannot listen on %s: %s", address, strerror(-out->fd));
    describe(out->fd, scheme, out->url, sizeof(out->url));
    return 0;
}

/* ---- children ---- */

static _Noreturn void run_child(struct supervisor *s, unsigned index)
{
    /* When the parent is killed, its workers must not hold the port. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != s->self)
        _exit(WORKER_EXIT_FAILED);
    close(s->signal_fd);
    sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
    struct worker_options options = s->options->worker;
    options.listen_fds = s->fds;
    options.listen_count = s->listener_count;
    options.slot = &s->shared->slots[index];
    options.suspensions = s->shared->suspensions;
    options.app.board = &s->shared->board;
    options.app.rates = &s->shared->rates;
    options.app.running_name = options.slot->running;
    int status = worker_run(&options);
    munmap(s->shared, sizeof(*s->shared));
    exit(status);
}

static void spawn(struct supervisor *s, unsigned index)
{
    struct child *child = &s->children[index];
    atomic_store(&s->shared->slots[index].heartbeat_ns, now_ns());
    atomic_store(&s->shared->slots[index].ready, 0);
    s->shared->slots[index].running[0] = '\0';
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        run_child(s, index);
    if (pid == -1) {
        log_message(LOG_ERROR, "cannot start a worker: %s", strerror(errno));
        child->respawn_at_ns = now_ns() + 1000000000u;
        return;
    }
    *child = (struct child){.pid = pid, .born_ns = now_ns()};
}

static void signal_all(struct supervisor *s, int signal)
{
    for (unsigned i = 0; i < s->options->workers; i++) {
        if (s->children[i].pid > 0)
            kill(s->children[i].pid, signal);
    }
}

static unsigned alive(const struct supervisor *s)
{
    unsigned count = 0;
    for (unsigned i = 0; i < s->options->workers; i++)
        count += s->children[i].pid > 0;
    return count;
}

static void begin_stop(struct supervisor *s, int status)
{
    if (s->stopping) {
        signal_all(s, SIGKILL);
        return;
    }
    s->stopping = true;
    s->status = status;
    s->kill_at_ns = now_ns() + (uint64_t)((s->options->worker.drain + EXIT_GRACE_S) * 1e9);
    signal_all(s, SIGTERM);
}

static void log_death(const struct child *child, int status)
{
    struct log_line line;
    log_begin(&line, LOG_ERROR, "worker ended; another takes its place");
    log_int(&line, "pid", child->pid);
    if (WIFSIGNALED(status))
        log_int(&line, "signal", WTERMSIG(status));
    else
        log_int(&line, "status", WEXITSTATUS(status));
    log_end(&line);
}

static void on_child_end(struct supervisor *s, struct child *child, int status)
{
    bool refused = WIFEXITED(status) && WEXITSTATUS(status) != WORKER_EXIT_OK && !s->announced;
    if (refused && !s->stopping) {
        child->pid = 0;
        begin_stop(s, WORKER_EXIT_FAILED); /* the worker has said why */
        return;
    }
    if (!s->stopping) {
        log_death(child, status);
        /* One that dies young waits a little, so that a broken one does not eat the machine. */
        bool young = now_ns() - child->born_ns < 1000000000u;
        child->respawn_at_ns = now_ns() + (young ? RESPAWN_MS * 1000000u : 1);
    } else if (s->status == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == WORKER_EXIT_OK) &&
               !WIFSIGNALED(status)) {
        s->status = WORKER_EXIT_FAILED;
    }
    child->pid = 0;
}

static void reap(struct supervisor *s)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return;
        for (unsigned i = 0; i < s->options->workers; i++) {
            if (s->children[i].pid == pid)
                on_child_end(s, &s->children[i], status);
        }
    }
}

/* ---- what happens over time ---- */

static struct suspension *find_suspension(struct supervisor *s, const char *name)
{
    struct suspension *list = s->shared->suspensions, *free_one = NULL;
    for (unsigned i = 0; i < SUSPENSIONS_MAX; i++) {
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
    b->at_ns = now_ns();
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
    struct worker_slot *slot = &s->shared->slots[index];
    uint64_t beat = atomic_load(&slot->heartbeat_ns);
    if (child->pid <= 0 || now_ns() - beat < (uint64_t)(LIMIT_WATCHDOG * 1e9))
        return;
    char name[VM_NAME_BYTES];
    memcpy(name, slot->running, sizeof(name));
    name[sizeof(name) - 1] = '\0';
    struct log_line line;
    log_begin(&line, LOG_ERROR, "a worker's loop has stopped; killing it");
    log_int(&line, "pid", child->pid);
    log_str(&line, "function", name[0] != '\0' ? str_from(name) : STR("(none)"));
    log_end(&line);
    kill(child->pid, SIGKILL);
    atomic_store(&slot->heartbeat_ns, now_ns());
    if (name[0] != '\0')
        blame(s, name);
}

static void announce(struct supervisor *s)
{
    for (unsigned i = 0; i < s->listener_count; i++)
        fprintf(stderr, "listening on %s\n", s->listeners[i].url);
    fflush(stderr);
    s->announced = true;
}

static void check(struct supervisor *s)
{
    unsigned ready = 0;
    for (unsigned i = 0; i < s->options->workers; i++) {
        struct child *child = &s->children[i];
        ready += child->pid > 0 && atomic_load(&s->shared->slots[i].ready) == 1;
        check_heart(s, i);
        if (child->pid == 0 && child->respawn_at_ns != 0 && !s->stopping &&
            now_ns() >= child->respawn_at_ns)
            spawn(s, i);
    }
    if (!s->announced && ready == s->options->workers)
        announce(s);
    if (s->stopping && now_ns() >= s->kill_at_ns)
        signal_all(s, SIGKILL);
}

static void on_signal(struct supervisor *s, int signal)
{
    switch (signal) {
    case SIGCHLD:
        reap(s);
        break;
    case SIGHUP:
        signal_all(s, SIGHUP);
        break;
    default:
        begin_stop(s, 0);
    }
}

static void read_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        on_signal(s, (int)info.ssi_signo);
}

static int set_up(struct supervisor *s)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, &s->old_mask);
    s->signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    s->shared =
        mmap(NULL, sizeof(*s->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s->signal_fd < 0 || s->shared == MAP_FAILED)
        return -errno;
    return rate_table_init(&s->shared->rates);
}

int supervisor_run(struct supervisor_options *options, const struct listener *listeners,
                   unsigned count)
{
    static struct supervisor s;
    if (options->workers > WORKERS_MAX)
        options->workers = WORKERS_MAX;
    s.options = options;
    s.listeners = listeners;
    s.listener_count = count;
    s.self = getpid();
    for (unsigned i = 0; i < count; i++)
        s.fds[i] = listeners[i].fd;
    if (set_up(&s) != 0) {
        log_message(LOG_ERROR, "cannot start: %s", strerror(errno));
        return 1;
    }
    for (unsigned i = 0; i < options->workers; i++)
        spawn(&s, i);
    while (!s.stopping || alive(&s) > 0) {
        struct pollfd poll_fd = {.fd = s.signal_fd, .events = POLLIN};
        poll(&poll_fd, 1, s.announced ? CHECK_MS : 5);
        read_signals(&s);
        check(&s);
    }
    munmap(s.shared, sizeof(*s.shared));
    close(s.signal_fd);
    return s.status;
}
