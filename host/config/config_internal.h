/* How functions.lua is read, between the files that read it. All of these run under lua_pcall, with
 * the table of functions.lua at the top of the stack; 0, or a negative errno with the reason in the
 * reader's err. */
#pragma once

#include "config/config.h"
#include "options/options.h"

/* Runs the text and reads what it returns into `config`. `shown` is the file's name in messages. */
int config_run(struct config *config, struct str source, const char *shown, struct err *err)
    __attribute__((warn_unused_result));

/* Every member; goes on after a fault, so that all are told. */
int config_read_top(struct options_reader *r, struct config *config);
