/* What the commands of `luafn` share. Each is a file of its own that exports one entry of the table
 * in commands.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum { EXIT_GOOD = 0, EXIT_FAULT = 1, EXIT_USAGE = 2 };

struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};

extern const struct command command_audit, command_check, command_completion, command_dev,
    command_explain, command_help, command_invoke, command_journal, command_lambda, command_live,
    command_migrate, command_new, command_pack, command_queue, command_replay, command_revoke,
    command_routes, command_serve, command_tail, command_test, command_token;
/* The table, in the order of the list; ends with NULL. main sets it before a command runs. */
extern const struct command *const *cli_commands;

/* Its page, share/help/NAME.txt, as `luafn help NAME` prints it: usage, what it does in one
 * sentence, then what there is to tell, options, and an example. */
struct str cli_page(const struct command *command);
/* Appends a paragraph of the page as one line: 0 is the usage, 1 the sentence. */
void cli_paragraph(const struct command *command, unsigned index, struct buf *out);

/* One option of a command. Kinds: FLAG takes no value; TEXT the last one given; LIST all of them;
 * ADDRESS is a TEXT that may be left out where no HOST:PORT or port follows: empty then. */
enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_LIST, OPTION_ADDRESS };

enum { OPTION_LIST_MAX = 16 };

struct option_list {
    const char *items[OPTION_LIST_MAX];
    unsigned count;
};

struct option {
    const char *name; /* "--listen"; NULL ends the list */
    enum option_kind kind;
    void *out; /* bool *, const char **, struct option_list * */
};

/* Takes options ("--name value" or "--name=value") off argv; what is left goes to `rest` (at most
 * `rest_max`). In a packed program --config is what it has unpacked. 0, or EXIT_USAGE after one
 * line on stderr that says what to type, or EXIT_FAULT. */
int cli_parse(const struct command *command, int argc, char **argv, const struct option *options,
              const char **rest, int rest_max, int *rest_count);

/* One line on stderr, "luafn NAME: ...; usage ..."; returns EXIT_USAGE. */
int cli_usage(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A fault on stderr; returns EXIT_FAULT. */
int cli_fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A text on stdout; why it does not take it is told by cli_flush. */
void cli_write(struct str text);

/* Sees to it that what was printed gets where it should: a full disk must not leave half a file
 * behind with exit status 0. EXIT_GOOD, or EXIT_FAULT after one line on stderr; without it for who
 * closes a pipe early, as `head` does. */
int cli_flush(const char *name);

/* The path of `name` in the folder that holds functions.lua. 0, or -1 where it is too long. */
int cli_beside(const char *config_file, const char *name, char *out, size_t size)
    __attribute__((warn_unused_result));

/* The path of `name` (NULL: none) in the folder where the host keeps what outlives it: ".luafn"
 * beside functions.lua, or in the place that is set (base/place.h). Where the folder of
 * functions.lua is a link, as `current -> releases/42`, and has no
 * ".luafn" of its own, it is ".luafn/current" beside that link, so that it outlives a release, too.
 * Looks, makes nothing. 0, or -1 where it is too long. */
int cli_state_path(const char *config_file, const char *name, char *out, size_t size)
    __attribute__((warn_unused_result));

/* The same, made when missing, with all links followed: it stays where it is while they are
 * swapped. 0, or a negative errno when it cannot be made: the host then keeps nothing on disk. */
int cli_state_folder(const char *config_file, const char *sub, char *out, unsigned size);
