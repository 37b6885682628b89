/* luafn: finds the command and runs it. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/commands.h"
#include "cli/version.h"

/* `luafn serve --help`, and at the end of a longer line, where it is not the value of an option. */
static bool asks_for_help(int argc, char **argv)
{
    const char *last = argv[argc - 1];
    return argc > 2 && (strcmp(last, "--help") == 0 || strcmp(last, "-h") == 0) &&
           (argc == 3 || argv[argc - 2][0] != '-');
}

static int end(const char *name, int status)
{
    int rc = cli_flush(name);
    return status != EXIT_GOOD ? status : rc;
}

/* NULL: none is near. */
static const char *nearest_command(const char *name)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    for (const struct command *const *c = commands; *c != NULL; c++) {
        unsigned distance = str_distance(str_from((*c)->name), str_from(name));
        if (distance < best_distance) {
            best_distance = distance;
            best = (*c)->name;
        }
    }
    return best;
}

int main(int argc, char **argv)
{
    /* The "C" locale stays: Lua's comparisons and number formats depend on it. */
    signal(SIGPIPE, SIG_IGN);
    cli_commands = commands;
    if (argc < 2) {
        fprintf(stderr,
                "luafn: a command is missing; type `luafn help`, or `luafn new hello` to begin\n");
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0)
        return end(name, version_print());
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return end(name, command_help.run(1, argv + 1));
    for (const struct command *const *c = commands; *c != NULL; c++) {
        char *help[] = {(char *)(uintptr_t) "help", argv[1]};
        if (strcmp((*c)->name, name) == 0 && asks_for_help(argc, argv))
            return end(name, command_help.run(2, help));
        if (strcmp((*c)->name, name) == 0)
            return end(name, (*c)->run(argc - 1, argv + 1));
    }
    const char *near = nearest_command(name);
    fprintf(stderr, "luafn: there is no command '%s'; %s%s%stype `luafn help`\n", name,
            near != NULL ? "did you mean `" : "", near != NULL ? near : "",
            near != NULL ? "`? Else " : "");
    return EXIT_USAGE;
}
