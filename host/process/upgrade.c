/* Another program takes over. */
#include "process/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "process/notify.h"

#define VARIABLE "LUAFN_UPGRADE"

/* ---- in the old program ---- */

static void keep_open(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
}

/* "PARENT ADMIN CARRIED READY FOREIGN LISTEN..."; numbers, -1 for none. */
static void describe(const struct inherited *what, char *text, size_t size)
{
    int len = snprintf(text, size, "%d %d %d %d %d", (int)getppid(), what->admin_fd,
                       what->carried_fd, what->ready_fd, what->foreign);
    for (unsigned i = 0; i < what->listen_count; i++)
        len += snprintf(text + len, size - (size_t)len, " %d", what->listen_fds[i]);
}

static _Noreturn void become(char *const *argv, const struct inherited *what, const sigset_t *mask)
{
    char text[16 * (LISTENER_MAX + 5)], pid[16];
    /* Where nobody looks after the new one, it must not outlive the old one that is killed. */
    if (!notify_wanted())
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    describe(what, text, sizeof(text));
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv(VARIABLE, text, 1);
    if (getenv("WATCHDOG_PID") != NULL)
        setenv("WATCHDOG_PID", pid, 1);
    for (unsigned i = 0; i < what->listen_count; i++)
        keep_open(what->listen_fds[i]);
    keep_open(what->admin_fd);
    keep_open(what->carried_fd);
    keep_open(what->ready_fd);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(argv[0], argv);
    log_message(LOG_ERROR, "%s cannot be run: %s", argv[0], strerror(errno));
    _exit(127);
}

bool upgrade_begin(struct upgrade *upgrade, char *const *argv, const struct inherited *what,
                   const sigset_t *mask)
{
    int pipe_fds[2];
    if (upgrade->state != UPGRADE_NONE || argv == NULL) {
        log_message(LOG_WARN, argv == NULL ? "no upgrade: only serve can be upgraded"
                                           : "no upgrade: another is under way");
        return false;
    }
    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        log_message(LOG_ERROR, "no upgrade: %s", strerror(errno));
        return false;
    }
    struct inherited all = *what;
    all.ready_fd = pipe_fds[1];
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        become(argv, &all, mask);
    close(pipe_fds[1]);
    if (pid == -1) {
        log_message(LOG_ERROR, "no upgrade: %s", strerror(errno));
        close(pipe_fds[0]);
        return false;
    }
    *upgrade =
        (struct upgrade){.state = UPGRADE_STARTING,
                         .pid = pid,
                         .ready_fd = pipe_fds[0],
                         .deadline_ns = clock_monotonic_ns() + (uint64_t)(LIMIT_UPGRADE * 1e9)};
    return true;
}

static void give_up(struct upgrade *upgrade)
{
    log_message(LOG_ERROR, "the new program does not serve; the one before goes on");
    close(upgrade->ready_fd);
    if (!upgrade->ended)
        kill(upgrade->pid, SIGKILL);
    *upgrade = (struct upgrade){.state = UPGRADE_NONE};
}

bool upgrade_check(struct upgrade *upgrade)
{
    char byte;
    if (upgrade->state != UPGRADE_STARTING)
        return false;
    ssize_t got = read(upgrade->ready_fd, &byte, 1);
    if (got == 1) {
        close(upgrade->ready_fd);
        upgrade->state = UPGRADE_DONE;
        return true;
    }
    if (got == 0 || upgrade->ended || clock_monotonic_ns() > upgrade->deadline_ns)
        give_up(upgrade);
    return false;
}

void upgrade_on_exit(struct upgrade *upgrade, pid_t pid, int status)
{
    if (upgrade->state == UPGRADE_NONE || pid != upgrade->pid)
        return;
    upgrade->ended = true;
    upgrade->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void upgrade_forget(struct upgrade *upgrade)
{
    if (upgrade->state == UPGRADE_STARTING)
        close(upgrade->ready_fd);
}

/* ---- in the new program ---- */

static bool take_number(struct str *rest, long *out)
{
    struct str word;
    char text[16];
    if (!str_split_next(rest, ' ', &word) || word.len == 0 || word.len >= sizeof(text))
        return false;
    memcpy(text, word.ptr, word.len);
    text[word.len] = '\0';
    char *end;
    *out = strtol(text, &end, 10);
    return *end == '\0' && *out >= -1;
}

bool upgrade_inherited(struct inherited *out)
{
    const char *text = getenv(VARIABLE);
    *out = (struct inherited){.admin_fd = -1, .carried_fd = -1, .ready_fd = -1};
    if (text == NULL)
        return false;
    char copy[16 * (LISTENER_MAX + 5)];
    snprintf(copy, sizeof(copy), "%s", text);
    unsetenv(VARIABLE);
    struct str rest = str_from(copy);
    long parent, admin, carried, ready, foreign, fd;
    if (!take_number(&rest, &parent) || (pid_t)parent != getppid() || !take_number(&rest, &admin) ||
        !take_number(&rest, &carried) || !take_number(&rest, &ready) ||
        !take_number(&rest, &foreign))
        return false;
    out->admin_fd = (int)admin;
    out->carried_fd = (int)carried;
    out->ready_fd = (int)ready;
    out->foreign = foreign != 0;
    while (rest.ptr != NULL && out->listen_count < LISTENER_MAX && take_number(&rest, &fd))
        out->listen_fds[out->listen_count++] = (int)fd;
    fcntl(out->carried_fd, F_SETFD, FD_CLOEXEC);
    fcntl(out->ready_fd, F_SETFD, FD_CLOEXEC);
    return true;
}

void upgrade_tell_ready(int fd)
{
    if (fd < 0)
        return;
    (void)!write(fd, "1", 1);
    close(fd);
}
