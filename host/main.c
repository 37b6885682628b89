/* luafn: finds the command and runs it. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/commands.h"
#include "cli/unpack.h"
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

static bool is_question(const char *word)
{
    return strcmp(word, "--version") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* A deployment that is packed is not written, and packed no second time. */
static bool wants_folder(const struct command *command)
{
    return command == &command_new || command == &command_dev || command == &command_pack;
}

static int run_command(const struct command *command, int argc, char **argv)
{
    char *help[] = {(char *)(uintptr_t) "help", argv[1]};
    if (asks_for_help(argc, argv))
        return command_help.run(2, help);
    if (wants_folder(command) && unpack_is_needed())
        return cli_usage(command, "the deployment is packed in this file, and stays as it is");
    return command->run(argc - 1, argv + 1);
}

/* `./FILE [OPTIONS]` of a packed deployment serves. */
static int serve_packed(int argc, char **argv)
{
    char **all = calloc((size_t)argc + 2, sizeof(*all));
    if (all == NULL)
        return cli_fault("out of memory");
    all[0] = argv[0];
    all[1] = (char *)(uintptr_t)command_serve.name;
    memcpy(all + 2, argv + 1, (size_t)(argc - 1) * sizeof(*all));
    int rc = run_command(&command_serve, argc + 1, all);
    free(all);
    return rc;
}

int main(int argc, char **argv)
{
    /* The "C" locale stays: Lua's comparisons and number formats depend on it. */
    signal(SIGPIPE, SIG_IGN);
    cli_commands = commands;
    bool implied = argc < 2 || (argv[1][0] == '-' && !is_question(argv[1]));
    if (implied && unpack_is_needed())
        return end(command_serve.name, serve_packed(argc, argv));
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
        if (strcmp((*c)->name, name) == 0)
            return end(name, run_command(*c, argc, argv));
    }
    const char *near = nearest_command(name);
    fprintf(stderr, "luafn: there is no command '%s'; %s%s%stype `luafn help`\n", name,
            near != NULL ? "did you mean `" : "", near != NULL ? near : "",
            near != NULL ? "`? Else " : "");
    return EXIT_USAGE;
}
