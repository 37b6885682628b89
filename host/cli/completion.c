/* luafn completion: scripts for shells, which share/completion.lua makes from the commands' pages.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "lua/own_script.h"

static void set_paragraph(lua_State *L, const struct command *command, unsigned index,
                          const char *name)
{
    static struct buf text;
    buf_clear(&text);
    cli_paragraph(command, index, &text);
    lua_pushlstring(L, text.data, text.len);
    lua_setfield(L, -2, name);
}

/* stack: the script */
static void print_script(lua_State *L, void *shell)
{
    lua_pushstring(L, shell);
    lua_newtable(L);
    for (lua_Integer i = 0; cli_commands[i] != NULL; i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, cli_commands[i]->name);
        lua_setfield(L, -2, "name");
        set_paragraph(L, cli_commands[i], 0, "usage");
        set_paragraph(L, cli_commands[i], 1, "summary");
        lua_rawseti(L, -2, i + 1);
    }
    lua_call(L, 2, 0);
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    const char *shell = NULL;
    struct err err;
    int rc = cli_parse(&command_completion, argc, argv, options, &shell, 1, NULL);
    if (rc != 0)
        return rc;
    if (shell == NULL)
        return cli_usage(&command_completion, "the shell is missing");
    if (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0 && strcmp(shell, "fish") != 0)
        return cli_usage(&command_completion, "'%s' is not bash, zsh or fish", shell);
    if (own_script_run("share/completion.lua", print_script, (char *)(uintptr_t)shell, &err) != 0)
        return cli_fault("%s", err.text);
    return EXIT_GOOD;
}

const struct command command_completion = {"completion", run};
