/* Who asks, for redirect rules with a Role condition: the roles of a verified token. A token that
 * is no good gives none, so that the rule does not match and the next one decides. */
#include "app/app.h"

#include "auth/verify.h"
#include "base/clock.h"

/* The token of the cookie that Netlify's login sets; ptr NULL: none, or more than one header. */
static struct str cookie_token(const struct request *req)
{
    const struct str *header = headers_get(&req->headers, STR("cookie"));
    struct str rest = {NULL, 0}, piece;
    if (header != NULL && headers_count(&req->headers, STR("cookie")) == 1)
        rest = *header;
    while (str_split_next(&rest, ';', &piece)) {
        piece = str_trim(piece);
        if (str_starts_with(piece, STR("nf_jwt=")))
            return str_skip(piece, 7);
    }
    return (struct str){NULL, 0};
}

/* Authorization counts where it is sent; else the cookie. */
static struct str find_token(const struct request *req)
{
    struct verdict ignored = {0};
    struct str token = {NULL, 0};
    uint32_t count = headers_count(&req->headers, STR("authorization"));
    if (count == 0)
        return cookie_token(req);
    if (count > 1 ||
        verify_read_header(headers_get(&req->headers, STR("authorization")), &token, &ignored) != 0)
        return (struct str){NULL, 0};
    return token;
}

static void add_role(struct app_roles *roles, struct arena *arena, const json_t *value)
{
    if (!json_is_string(value) || roles->count == APP_ROLES_MAX)
        return;
    struct str role = {json_string_value(value), json_string_length(value)};
    role = arena_copy(arena, role);
    if (role.ptr != NULL)
        roles->list[roles->count++] = role;
}

static void add_roles(struct app_roles *roles, struct arena *arena, const json_t *value)
{
    add_role(roles, arena, value);
    for (size_t i = 0; i < json_array_size(value); i++)
        add_role(roles, arena, json_array_get(value, i));
}

enum verify_status app_find_roles(struct app *app, struct exchange *ex, bool keys_final,
                                  struct app_roles *roles, struct verdict *verdict)
{
    const struct deployment *d = app->current;
    *verdict = (struct verdict){.status = VERIFY_REFUSED};
    roles->count = 0;
    struct str token = d->config->asks_role ? find_token(&ex->req) : (struct str){NULL, 0};
    if (token.ptr == NULL || d->services.verifier_count == 0)
        return VERIFY_REFUSED;
    verify_token(d->services.verifiers, d->services.verifier_count, token, clock_now(), keys_final,
                 &ex->arena, verdict);
    if (verdict->status != VERIFY_OK)
        return verdict->status;
    if (mtls_is_needed(verdict->verifier->mtls, verdict->claims) ||
        dpop_refuses_bearer(verdict->verifier->dpop.mode, verdict->claims->json)) {
        claims_unref(verdict->claims); /* no certificate and no proof is looked at here */
        verdict->claims = NULL;
        return verdict->status = VERIFY_REFUSED;
    }
    json_t *plain = claims_plain(verdict->claims, d->config->claim_namespace);
    add_roles(roles, &ex->arena, claims_roles(plain, d->config->claim_roles));
    add_roles(roles, &ex->arena, claims_at(plain, d->config->role_path));
    json_decref(plain);
    claims_unref(verdict->claims);
    verdict->claims = NULL;
    return VERIFY_OK;
}
