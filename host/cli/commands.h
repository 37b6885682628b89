/* The table of commands, for main.c alone: a command that has to know the others reads
 * cli_commands. */
#pragma once

#include "cli/cli.h"

extern const struct command *const commands[]; /* in the order of the list; ends with NULL */
