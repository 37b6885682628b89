/* What the files of `luafn audit` share. */
#pragma once

#include "auth/keyset.h"
#include "base/arena.h"
#include "cli/audit_probe.h"
#include "cli/cli.h"

enum { AUDIT_ROUTES = 256, AUDIT_FORGED = 5 };

/* What no webhook may take. */
struct forged {
    const char *name;
    struct headers headers; /* in the audit's arena */
};

struct target {
    struct str method, path, body; /* body: JSON, or empty */
    bool asks;                     /* its policy asks for a token: without one nobody may come in */
    bool is_site;                  /* by a rule of `protect` */
    struct forged forged[AUDIT_FORGED]; /* of a webhook: in place of tokens */
    unsigned forged_count;
};

struct audit {
    const struct command *command; /* for messages of usage */
    const char *config_file, *key_set_url;
    bool revokes; /* and then tries what it has revoked */
    struct arena arena;
    struct probe probe;
    struct probe_answer answer;
    struct str origin; /* "http://host:port" */
    struct str host;
    struct target targets[AUDIT_ROUTES];
    unsigned target_count;
    struct str issuer, audience; /* of forged tokens that have no good one to copy */
    struct str token;            /* a good one; ptr NULL: none */
    struct keyset *keys;         /* owned; NULL: not known */
    int verdict;                 /* exit status; EXIT_USAGE: the token is no signed one */
};

/* Origin and routes, from the URL and the configuration; issuer, audience and kept keys from the
 * latter. 0, EXIT_USAGE or EXIT_FAULT, said on stderr. */
int audit_find_targets(struct audit *a, const char *url);

/* The issuer's key set: of --jwks, of .luafn/, or of the host itself where it is an issuer. Finding
 * none is no fault, unless it was asked for. As above. */
int audit_find_keys(struct audit *a);

/* The key that the issuer of these tokens signs with, where that is the dev issuer of this folder:
 * a reference, or NULL. */
struct key *audit_find_maker(const struct audit *a);

/* What `luafn revoke` does. `kind`: "sub", "sid" or "jti". 0, or a negative errno with the reason.
 */
int audit_revoke(const struct audit *a, struct str kind, struct str id, struct str issuer,
                 struct err *err) __attribute__((warn_unused_result));

/* Fires share/audit.lua's attacks at all targets, and prints what becomes of them. An exit status.
 */
int audit_attack(struct audit *a);
