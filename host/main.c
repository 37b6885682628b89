/* luafn: finds the command and runs it. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/version.h"

int main(int argc, char **argv)
{
    /* The "C" locale stays: Lua's comparisons and number formats depend on it. */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        fprintf(stderr,
                "luafn: a command is missing; type `luafn help`, or `luafn dev` to begin\n");
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0)
        return print_version();
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return command_help.run(1, argv + 1);
    for (const struct command *const *c = commands; *c != NULL; c++) {
        char *help[] = {(char *)(uintptr_t) "help", argv[1]};
        if (strcmp((*c)->name, name) == 0 && argc == 3 && strcmp(argv[2], "--help") == 0)
            return command_help.run(2, help);
        if (strcmp((*c)->name, name) == 0)
            return (*c)->run(argc - 1, argv + 1);
    }
    fprintf(stderr, "luafn: there is no command '%s'; type `luafn help`\n", name);
    return EXIT_USAGE;
}
