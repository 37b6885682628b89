/* What `luafn token` and `luafn explain` agree on. */
#ifndef LUAFN_CLI_TOKEN_H
#define LUAFN_CLI_TOKEN_H

/* JWT_ISSUER and JWT_AUDIENCE where the environment does not say them: those of `luafn dev` on its
 * usual port. Name, value, ..., NULL. */
extern const char *const token_dev_defaults[];

#endif
