/* luafn help [COMMAND]: the list of commands, or the page of one. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* Behind the command's name, with its further lines below its beginning. */
static void print_summary(const struct command *command)
{
    enum { INDENT = 14, ROOM = 80 - INDENT };
    struct buf text = BUF_INIT;
    cli_paragraph(command, 1, &text);
    struct str rest = buf_str(&text);
    printf("  %-10s  ", command->name);
    while (rest.len > ROOM) {
        size_t cut = ROOM;
        while (cut > 0 && rest.ptr[cut] != ' ')
            cut--;
        printf("%.*s\n%*s", (int)cut, rest.ptr, INDENT, "");
        rest = str_skip(rest, cut + 1);
    }
    printf("%.*s\n", STR_ARG(rest));
    buf_free(&text);
}

static void print_list(void)
{
    puts("luafn " LUAFN_VERSION ": small Lua functions behind HTTP routes, guarded by token\n"
         "checks, reloaded as they change.\n"
         "\n"
         "usage: luafn COMMAND [OPTIONS]\n");
    for (const struct command *const *c = cli_commands; *c != NULL; c++)
        print_summary(*c);
    puts("\n`luafn help COMMAND` tells more. To begin, in an empty folder: luafn new hello\n"
         "&& luafn dev");
}

static int run(int argc, char **argv)
{
    const char *name = NULL;
    static const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_help, argc, argv, options, &name, 1, NULL);
    if (rc != 0)
        return rc;
    if (name == NULL) {
        print_list();
        return EXIT_GOOD;
    }
    for (const struct command *const *c = cli_commands; *c != NULL; c++) {
        struct str page = cli_page(*c);
        if (strcmp((*c)->name, name) == 0) {
            cli_write(page);
            return EXIT_GOOD;
        }
    }
    return cli_usage(&command_help, "there is no command '%s'; `luafn help` lists them", name);
}

const struct command command_help = {"help", run};
