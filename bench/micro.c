/* What a function costs before its first request: making its state and loading a script.
 *
 *     make bench-micro            times and memory
 *     make bench-micro ARGS="scripts/me.lua 200"
 *
 * Under callgrind with few rounds it gives instruction counts that a busy machine does not change.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "bindings/bindings.h"
#include "run/instance.h"

static double cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static long anonymous_kib(void)
{
    long kib = -1;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, "RssAnon: %ld", &kib);
    if (file != NULL)
        fclose(file);
    return kib;
}

/* Scripts want an issuer and an audience. */
static const char *get_env(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return "https://issuer.example/";
}

static bool is_default(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return true;
}

static void on_loaded(struct instance *instance, void *arg)
{
    (void)arg;
    if (instance->state == INSTANCE_READY)
        return;
    fprintf(stderr, "%s\n", instance->error.text);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    const char *given = argc > 1 ? argv[1] : "scripts/me.lua";
    unsigned count = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 500;
    char script[4096], root[4096];
    if (realpath(given, script) == NULL || getcwd(root, sizeof(root)) == NULL || count == 0) {
        fprintf(stderr, "usage: micro SCRIPT COUNT\n");
        return 2;
    }
    const struct services services = {.getenv = get_env, .env_is_default = is_default};
    const struct function_spec spec = {.name = STR("micro"),
                                       .script = str_from(script),
                                       .root = str_from(root),
                                       .memory = LIMIT_FN_MEMORY,
                                       .timeout = LIMIT_FN_TIMEOUT,
                                       .cpu = LIMIT_FN_CPU};
    struct instance **instances = calloc(count, sizeof(struct instance *));
    double *took = calloc(count, sizeof(double));
    if (instances == NULL || took == NULL || budget_start() != 0)
        return 1;
    instance_unref(instance_load(&spec, &services, bindings, on_loaded, NULL)); /* warms up */
    long before = anonymous_kib();
    for (unsigned i = 0; i < count; i++) {
        double began = cpu_us();
        instances[i] = instance_load(&spec, &services, bindings, on_loaded, NULL);
        took[i] = cpu_us() - began;
        if (instances[i] == NULL)
            return 1;
    }
    long after = anonymous_kib();
    qsort(took, count, sizeof(double), compare);
    printf("%s, %u instances\n  make and load: median %.0f us of processor time, 99th %.0f us\n"
           "  memory: %zu bytes in the state, %.1f KiB of the process each\n",
           given, count, took[count / 2], took[count * 99 / 100], instances[0]->vm->used,
           (double)(after - before) / count);
    for (unsigned i = 0; i < count; i++)
        instance_unref(instances[i]);
    free(instances);
    free(took);
    budget_stop();
    return 0;
}
