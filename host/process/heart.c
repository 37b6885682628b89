#include "process/heart.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"

/* Does the process wait for the machine alone, and what processor time has it had? false where the
 * kernel does not tell. */
static bool waits_for_machine(pid_t pid, uint64_t *cpu_ns)
{
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    const char *rest = strrchr(text, ')'); /* behind the name, which may contain anything */
    if (rest == NULL || rest[1] == '\0')
        return false;
    enum { STATE, USER_TICKS = 11, KERNEL_TICKS };
    struct str fields = str_from(rest + 2), field;
    uint64_t ticks[2] = {0};
    bool waits = false;
    for (int i = STATE; i <= KERNEL_TICKS && str_split_next(&fields, ' ', &field); i++) {
        if (i == STATE)
            waits = str_eq(field, STR("R")) || str_eq(field, STR("D"));
        else if (i >= USER_TICKS && str_to_u64(field, UINT64_MAX, &ticks[i - USER_TICKS]) != 0)
            return false;
    }
    *cpu_ns = (ticks[0] + ticks[1]) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
    return waits;
}

uint64_t heart_stopped_ns(struct heart *heart, pid_t pid, uint64_t beat_ns)
{
    const uint64_t unseen = (uint64_t)(LIMIT_WATCHDOG / 4 * 1e9);
    uint64_t now = clock_monotonic_ns(), cpu = 0;
    if (now - beat_ns < unseen)
        return 0;
    bool waits = waits_for_machine(pid, &cpu);
    if (heart->beat_ns != beat_ns)
        *heart = (struct heart){.beat_ns = beat_ns, .since_ns = now, .cpu_ns = cpu};
    return unseen + (waits ? cpu - heart->cpu_ns : now - heart->since_ns);
}
