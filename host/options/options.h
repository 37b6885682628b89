/* Reading option tables (functions.lua and what a script returns) into plain structs, every fault
 * with file:line.
 *
 * The readers run under lua_pcall: they may raise when out of memory, and use raw access, so that
 * no metamethod runs. */
#pragma once

#include <lua.h>

#include "base/arena.h"
#include "base/err.h"
#include "options/spec.h"

struct schema;

struct options_reader {
    lua_State *L;
    struct arena *arena; /* everything that is read is copied into it */
    struct err *err;     /* filled by the first fault */
    int rc;              /* 0, or what failed: then readers do nothing more, and return this */
    const char *file;    /* for messages: "functions.lua" */
    struct str source;   /* its text, for line numbers; may be empty */
    char path[256];      /* of the table that is being read: "functions.me"; empty at the top */
    struct err kept;     /* faults that reading went on after, a line each; empty at first */
    unsigned kept_count;
};

enum options_origin { OPTIONS_CONFIG, OPTIONS_SCRIPT };

/* ---- for readers of one table: the table is at the top of the stack. Who reads several members
 * need look at what failed but once, at the end ---- */

/* Fills err with "file:line: path: message" for the member `key` (NULL: the table itself). Returns
 * -EINVAL. */
int options_fault(struct options_reader *r, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for -ENOMEM. */
int options_no_memory(struct options_reader *r);
/* For readers that go on after a fault, so that a person sees all at once: `rc` is what reading one
 * member gave. A fault (-EINVAL) is kept, and 0 returned; anything else is returned as it is. */
int options_keep(struct options_reader *r, int rc);
/* At the end: 0, or -EINVAL with all that was kept, or as much as fits. */
int options_kept(struct options_reader *r);
/* Every key must be in `known` (NULL-terminated); -EINVAL names the nearest known one. */
int options_check_keys(struct options_reader *r, const char *const *known);
/* The known key (of a list that ends with NULL) that may have been meant by this one, or NULL. */
const char *options_nearest(const char *const *known, struct str key);
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
/* Has the table at the top of the stack the numbers 1 to n, and nothing else? n may be 0. */
bool options_is_list(lua_State *L);
/* A fault of the member `key`, that table, where it is no such list; `example` says how to write
 * one. */
int options_check_list(struct options_reader *r, const char *key, const char *example);
/* A text or a list of texts. */
int options_str_list(struct options_reader *r, const char *key, struct str **out, unsigned *count);

/* A JSON Schema, as a table: compiled, until the arena is freed. A fault names the place in it. */
int options_schema(struct options_reader *r, const char *key, const struct schema **out);

/* ---- whole tables ---- */

/* One function's options; keys that `spec` says functions.lua gave are left alone for
 * OPTIONS_SCRIPT. */
int options_read_function(struct options_reader *r, struct function_spec *spec,
                          enum options_origin origin);

/* `retry` of who says nothing: Netlify's. */
enum { OPTIONS_RETRY_DEFAULT = 2 };
extern const double options_retry_default[OPTIONS_RETRY_DEFAULT];

/* Did functions.lua give that key? */
bool options_is_given(const struct function_spec *spec, struct str key);

/* What a verifier is made of: `auth` of functions.lua, a function's own, jwt.verifier's argument.
 *
 * Refuses keys of the table at the top of the stack that are neither a verifier's nor `own`
 * (NULL-terminated). */
int options_check_verifier_keys(struct options_reader *r, const char *const *own);
/* A member that names a claim, or a path of names with dots to one. */
int options_read_claim_path(struct options_reader *r, const char *key, struct str *out);
/* The table at the top of the stack. Unknown keys are the caller's to refuse. */
int options_read_verifier(struct options_reader *r, struct verifier_spec *out);
