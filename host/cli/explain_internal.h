/* What the files of `luafn explain` share. */
#ifndef LUAFN_CLI_EXPLAIN_INTERNAL_H
#define LUAFN_CLI_EXPLAIN_INTERNAL_H

#include "cli/explain_rows.h"

void explain_add(struct explain *e, const char *check, enum explain_result result,
                 struct str expected, struct str actual);
enum explain_result explain_if(bool good);
/* Text in quotes, as explain_value gives it. */
struct str explain_text(struct arena *arena, struct str text);

/* ---- explain_claims.c ---- */
void explain_add_times(struct explain *e, const json_t *claims, bool needs_exp);
void explain_add_profile(struct explain *e, const struct token *token);
void explain_add_rules(struct explain *e, const json_t *all);

#endif
