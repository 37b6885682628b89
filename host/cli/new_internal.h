/* What the files of `luafn new` share. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

struct new_template {
    const char *name;
    bool needs_auth; /* scripts/lib/auth.lua, and issuers in functions.lua */
};

struct new_function {
    const char *config_file, *name;
    const struct new_template *template;
    char root[4096];   /* of functions.lua, with the slash; "" for here */
    char folder[4096]; /* of scripts, below it: "scripts" */
    bool by_folder;    /* functions.lua names a folder: nothing is to be added */
    bool has_auth;     /* functions.lua names an issuer */
    struct buf config; /* owned: the text of functions.lua; empty when it is not there */
};

/* new_config.c: functions.lua. */

/* What it says already; nothing when it is not there. 0, or EXIT_FAULT after a line on stderr. */
int new_config_read(struct new_function *f);
/* Its text with one line more. False where there is no safe place for it, or no memory. */
bool new_config_insert(const struct new_function *f, struct buf *out);
/* Adds the function, or tells the person what to add. */
void new_config_add(struct new_function *f);
