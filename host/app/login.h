/* Sessions of browsers (auth = { login = true }): what is in their cookies, and what it counts for.
 *
 * A session is the access token that the issuer gave for its user, with what renews it, sealed
 * (auth/sealed.h) in a cookie of a "__Host-" name; where that is too large for one, in the store,
 * and in the cookie which one it is (app_session.c). A policy with `login` judges that token as if
 * it had come as a Bearer token, where no Authorization came; there is no second engine. */
#pragma once

#include <jansson.h>

#include "auth/policy.h"
#include "config/config.h"
#include "http/exchange.h"

/* Of a session, once opened; in an arena. */
struct login_session {
    struct str token;          /* the access token; empty: it is in the store, under the id */
    struct str refresh;        /* what renews it; empty: nothing does */
    struct str endpoint;       /* ... there */
    struct str id;             /* its own, random */
    struct str sid, sub;       /* of the ID token; sid may be empty */
    struct str hint;           /* that token itself, for signing out; may be empty */
    double signed_in, expires; /* seconds since 1970, as the two below */
    double token_ends, renew;  /* the second: when it is time to */
};

/* A browser keeps 4096 bytes a cookie, with its name and attributes. */
enum { LOGIN_COOKIE_BYTES = 3800 };

/* The one cookie of that name; ptr NULL: none, or several. */
struct str login_cookie(const struct exchange *ex, struct str name);

/* The request's session, sealed, as its cookie has it; ptr NULL: none. Takes all cookies of
 * logins out of the request's headers, as they are nobody else's. 0 or -ENOMEM. */
int login_take(struct exchange *ex, struct str *sealed) __attribute__((warn_unused_result));

/* When its token ends: as that says (it came from the issuer itself), or the issuer beside it: in
 * `life` seconds; 0: it does not. */
void login_set_times(struct login_session *session, double life);

/* For what something is sealed: one is nothing for the others, so that who reads the store has
 * nobody's cookie. */
enum login_purpose {
    LOGIN_COOKIE, /* a session, for its browser */
    LOGIN_STORE,  /* ... for the store, where it is too large for that */
    LOGIN_NOTE,   /* a new cookie, for others who renew the same session */
    LOGIN_FLOW    /* what a sign-in began with, for its browser */
};

/* Opens a session. 0; -ENOENT: it is none of ours, of another issuer, has expired, or was ended;
 * -ENOMEM. */
int login_open(const struct config *config, struct arena *arena, enum login_purpose purpose,
               struct str sealed, double now, struct login_session *session)
    __attribute__((warn_unused_result));
/* The other way, in the arena; for a cookie without the hint, where it is that for which it does
 * not fit. 0 or -ENOMEM. */
int login_seal(const struct config *config, struct arena *arena, enum login_purpose purpose,
               const struct login_session *session, struct str *sealed)
    __attribute__((warn_unused_result));

/* The same of any text, and of any JSON (a new reference; NULL where it is not 0). 0, -ENOENT or
 * -ENOMEM. */
int login_open_text(const struct config *config, struct arena *arena, enum login_purpose purpose,
                    struct str sealed, struct str *text) __attribute__((warn_unused_result));
int login_seal_text(const struct config *config, struct arena *arena, enum login_purpose purpose,
                    struct str text, struct str *sealed) __attribute__((warn_unused_result));
int login_open_json(const struct config *config, struct arena *arena, enum login_purpose purpose,
                    struct str sealed, json_t **json) __attribute__((warn_unused_result));
int login_seal_json(const struct config *config, struct arena *arena, enum login_purpose purpose,
                    const json_t *json, struct str *sealed) __attribute__((warn_unused_result));

/* The answer, whichever it will be, brings this session to the browser; empty: ends its own. 0 or
 * -ENOMEM. */
int login_give(struct exchange *ex, struct str sealed) __attribute__((warn_unused_result));
/* One more Set-Cookie of such a cookie; `age` in seconds, negative: until the browser ends. */
int login_set_cookie(struct exchange *ex, struct str name, struct str value, int age)
    __attribute__((warn_unused_result));

/* A member's text, copied; empty where it is none; ptr NULL: out of memory. */
struct str login_text(struct arena *arena, const json_t *json, const char *name);
/* Is it this one? */
bool login_is_text(const json_t *json, const char *name, struct str wanted);

/* At which browsers sign in. */
struct str login_issuer(const struct config *config);

/* Is the request of a page of this very origin, or of no page, as its browser says? `silent`: what
 * counts for one that says nothing. */
bool login_is_same_origin(const struct exchange *ex, bool silent);

/* Is it a browser that goes somewhere, and could keep a session? */
bool login_can_begin(const struct exchange *ex);

/* As policy_check, with the session's token where the policy takes one. `session` NULL: none. */
enum policy_result login_check(const struct policy *policy, struct exchange *ex,
                               const struct login_session *session, double now, bool keys_final,
                               struct verdict *verdict);

/* By what a session is revoked that is ended here. */
struct revocation login_revocation(struct str id, double now);

/* The secrets: the configuration's, or the host's own. At least one, of which the first seals. */
const struct str *login_secrets(const struct config_login *login, unsigned *count);
