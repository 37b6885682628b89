/* A process that crashes adds its stack to FAULT_FILE.crash, innermost frame first, one
 * `object+offset symbol` a line, so that a test can tell whose fault it was. Not beside a
 * sanitizer, which tells more. */
#include "shim.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FRAMES_MAX = 48, HANDLER_FRAMES = 2 };
static char crash_path[4096];

static void on_crash(int signal)
{
    void *frames[FRAMES_MAX];
    char line[512];
    shim_end();
    int count = backtrace(frames, FRAMES_MAX);
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int len = snprintf(line, sizeof(line), "signal %d in %d\n", signal, getpid());
    for (int i = HANDLER_FRAMES; fd >= 0 && i <= count; i++) {
        if (write(fd, line, (size_t)len) < 0 || i == count)
            break;
        Dl_info at = {0};
        (void)dladdr(frames[i], &at);
        len =
            snprintf(line, sizeof(line), "%.300s+%#tx %.100s\n", at.dli_fname ? at.dli_fname : "?",
                     (char *)frames[i] - (char *)at.dli_fbase, at.dli_sname ? at.dli_sname : "?");
    }
    if (fd >= 0)
        close(fd);
}

/* The instruction runs again after the handler, and then ends the process as it would have. */
__attribute__((constructor)) static void watch_crashes(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    const char *control_path = getenv("FAULT_FILE");
    void *first[1];
    if (control_path == NULL)
        return;
    (void)backtrace(first, 1); /* it loads a library the first time */
    (void)snprintf(crash_path, sizeof(crash_path), "%s.crash", control_path);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction action = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND};
        sigaction(signals[i], &action, NULL);
    }
}
