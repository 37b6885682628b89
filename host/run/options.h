/* Reading option tables (functions.lua and what a script returns) into plain structs, every fault
 * with file:line.
 *
 * The readers run under lua_pcall: they may raise when out of memory, and use raw access, so that
 * no metamethod runs. */
#ifndef LUAFN_RUN_OPTIONS_H
#define LUAFN_RUN_OPTIONS_H

#include <lua.h>

#include "base/arena.h"
#include "base/err.h"
#include "run/spec.h"

struct options_reader {
    lua_State *L;
    struct arena *arena; /* everything that is read is copied into it */
    struct err *err;     /* filled by the first fault */
    const char *file;    /* for messages: "functions.lua" */
    struct str source;   /* its text, for line numbers; may be empty */
    char path[256];      /* of the table that is being read: "functions.me"; empty at the top */
};

enum options_origin { OPTIONS_CONFIG, OPTIONS_SCRIPT };

/* ---- for readers of one table: the table is at the top of the stack ---- */

/* Fills err with "file:line: path: message" for the member `key` (NULL: the table itself). Returns
 * -EINVAL. */
int options_fault(struct options_reader *r, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Every key must be in `known` (NULL-terminated); -EINVAL names the nearest known one. */
int options_check_keys(struct options_reader *r, const char *const *known);
/* Pushes the member (raw) when it is there and not nil, and returns true; else pushes nothing. */
bool options_get(struct options_reader *r, const char *key);
/* Goes into the member table at the top of the stack (`key` or, with NULL, number `index`); `leave`
 * with what enter returned. */
size_t options_enter(struct options_reader *r, const char *key, unsigned index);
void options_leave(struct options_reader *r, size_t before);

/* Members of a type. Absent: 0 and *out unchanged. Wrong type or value: -EINVAL. */
int options_str(struct options_reader *r, const char *key, struct str *out);
int options_bool(struct options_reader *r, const char *key, bool *out);
int options_seconds(struct options_reader *r, const char *key, double min, double max, double *out);
int options_size(struct options_reader *r, const char *key, size_t min, size_t max, size_t *out);
int options_count(struct options_reader *r, const char *key, unsigned min, unsigned max,
                  unsigned *out);
/* A text or a list of texts. */
int options_str_list(struct options_reader *r, const char *key, struct str **out, unsigned *count);

/* ---- whole tables ---- */

/* One function's options; keys that `spec` says functions.lua gave are left alone for
 * OPTIONS_SCRIPT. */
int options_read_function(struct options_reader *r, struct function_spec *spec,
                          enum options_origin origin);

/* What a verifier is made of (`auth` of functions.lua, a function's own, jwt.verifier's argument):
 * known keys. */
extern const char *const verifier_keys[]; /* known keys, NULL-terminated */
/* The table at the top of the stack. Unknown keys are the caller's to refuse. */
int options_read_verifier(struct options_reader *r, struct verifier_spec *out);

#endif
