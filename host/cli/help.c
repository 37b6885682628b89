/* luafn help [COMMAND], luafn --version. */
#include <lua.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "cli/cli.h"

static void print_list(void)
{
    printf(
        "luafn %s: small Lua functions behind HTTP routes, guarded by token checks, reloaded as they change.\n\n"
        "usage: luafn COMMAND [OPTIONS]\n\n",
        LUAFN_VERSION);
    for (const struct command *const *c = cli_commands; *c != NULL; c++)
        printf("  %-10s %s\n", (*c)->name, (*c)->summary);
    printf(
        "\n`luafn help COMMAND` tells more. To begin, in an empty folder: luafn new hello && luafn dev\n");
}

static int run(int argc, char **argv)
{
    const char *name = NULL;
    int count = 0;
    static const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_help, argc, argv, options, &name, 1, &count);
    if (rc != 0)
        return rc;
    if (count == 0) {
        print_list();
        return EXIT_GOOD;
    }
    for (const struct command *const *c = cli_commands; *c != NULL; c++) {
        if (strcmp((*c)->name, name) == 0) {
            printf("usage: luafn %s %s\n\n%s\n%s", (*c)->name, (*c)->arguments, (*c)->summary,
                   (*c)->help);
            return EXIT_GOOD;
        }
    }
    return cli_usage(&command_help, "there is no command '%s'; `luafn help` lists them", name);
}

const struct command command_help = {
    .name = "help",
    .arguments = "[COMMAND]",
    .summary = "Lists the commands, or tells about one.",
    .help = "\nExample:\n  luafn help serve\n",
    .run = run,
};
