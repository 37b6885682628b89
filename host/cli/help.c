/* luafn help [COMMAND], luafn --version. */
#include <lua.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/buf.h"
#include "cli/cli.h"

enum { WIDTH = 80 };

static size_t blanks(struct str line)
{
    size_t count = 0;
    while (count < line.len && line.ptr[count] == ' ')
        count++;
    return count;
}

/* Where the lines below a line begin: under the text behind two blanks, or under its own beginning.
 */
static size_t hanging(struct str line)
{
    size_t own = blanks(line);
    for (size_t i = own; i + 2 < line.len && i < WIDTH / 2; i++) {
        if (line.ptr[i] == ' ' && line.ptr[i + 1] == ' ' && line.ptr[i + 2] != ' ')
            return i + 2;
    }
    return own;
}

/* One line, in as many as it takes; a word that is longer than a line stays whole. */
static void print_line(struct str line, size_t indent)
{
    for (size_t room = WIDTH, least = indent; line.len > room; room = WIDTH - indent, least = 0) {
        size_t cut = room;
        while (cut > least && line.ptr[cut] != ' ')
            cut--;
        if (cut == least)
            break;
        printf("%.*s\n%*s", (int)cut, line.ptr, (int)indent, "");
        line = str_skip(line, cut + 1);
    }
    printf("%.*s\n", STR_ARG(line));
}

/* A line that stands where the one before it would go on belongs to it. */
static void print_wrapped(struct str text)
{
    struct buf paragraph = BUF_INIT;
    struct str line;
    while (str_split_next(&text, '\n', &line)) {
        bool goes_on =
            paragraph.len > 0 && line.len > 0 && blanks(line) == hanging(buf_str(&paragraph));
        if (!goes_on && paragraph.len > 0) {
            print_line(buf_str(&paragraph), hanging(buf_str(&paragraph)));
            buf_clear(&paragraph);
        }
        if (line.len == 0)
            printf("\n");
        else if (goes_on)
            buf_printf(&paragraph, " %.*s", STR_ARG(str_skip(line, blanks(line))));
        else
            buf_add_str(&paragraph, line);
    }
    if (paragraph.len > 0)
        print_line(buf_str(&paragraph), hanging(buf_str(&paragraph)));
    buf_free(&paragraph);
}

static void print_list(void)
{
    char line[256];
    print_wrapped(
        STR("luafn " LUAFN_VERSION
            ": small Lua functions behind HTTP routes, guarded by token checks, reloaded as they "
            "change.\n\nusage: luafn COMMAND [OPTIONS]\n"));
    for (const struct command *const *c = cli_commands; *c != NULL; c++) {
        snprintf(line, sizeof(line), "  %-10s  %s", (*c)->name, (*c)->summary);
        print_wrapped(str_from(line));
    }
    print_wrapped(STR("\n`luafn help COMMAND` tells more. To begin, in an empty folder: luafn new "
                      "hello && luafn dev"));
}

static void print_command(const struct command *c)
{
    char usage[512];
    snprintf(usage, sizeof(usage), "usage: luafn %s %s", c->name, c->arguments);
    print_line(str_from(usage), 4);
    printf("\n");
    print_wrapped(str_from(c->summary));
    struct str help = str_from(c->help);
    help.len -= str_ends_with(help, STR("\n"));
    print_wrapped(help);
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
            print_command(*c);
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
