/* Documents and challenges of a protected resource. */
#include "app/resource.h"

#include <errno.h>
#include <jansson.h>

#include "json/dump.h"

#define WELL_KNOWN "/.well-known/oauth-protected-resource"

/* ---- identifiers ---- */

/* Up to the first parameter, without a slash at its end. */
static struct str fixed_part(struct str pattern)
{
    struct str rest = pattern, segment;
    size_t end = 0;
    while (str_split_next(&rest, '/', &segment)) {
        size_t begin = (size_t)(segment.ptr - pattern.ptr);
        if (str_starts_with(segment, STR(":")) || str_eq(segment, STR("*")))
            break;
        end = segment.len > 0 ? begin + segment.len : end;
    }
    return (struct str){pattern.ptr, end};
}

/* Its own, and that of tools; one that names none and is no tool has the standard one. */
static unsigned count_paths(const struct function_spec *spec)
{
    return spec->path_count + (spec->tool != NULL || spec->path_count == 0);
}

/* The function's path `n` as a resource's (its first is 0), which begins with a slash; empty: the
 * host's. False: it has no more. Borrowed from the function or in `arena`; ptr NULL: out of memory.
 */
static bool path_at(const struct config *config, const struct function_spec *spec, unsigned n,
                    struct arena *arena, struct str *path)
{
    if (n >= count_paths(spec))
        return false;
    *path = n < spec->path_count ? fixed_part(spec->paths[n])
            : spec->tool != NULL
                ? config->mcp.path
                : arena_printf(arena, "%.*s/%.*s", STR_ARG(config->prefix), STR_ARG(spec->name));
    return true;
}

struct str *resource_audiences_at(const struct config *config, struct str pattern,
                                  struct arena *arena, unsigned *count)
{
    struct str *list = arena_zalloc(arena, 2 * sizeof(*list));
    if (list == NULL)
        return NULL;
    list[0] = config->resource;
    list[1] =
        arena_printf(arena, "%.*s%.*s", STR_ARG(config->resource), STR_ARG(fixed_part(pattern)));
    *count = 2;
    return list[1].ptr != NULL ? list : NULL;
}

struct str *resource_audiences(const struct config *config, const struct function_spec *spec,
                               struct arena *arena, unsigned *count)
{
    unsigned paths = count_paths(spec);
    struct str *list = arena_zalloc(arena, (paths + 1) * sizeof(*list)), path;
    if (list == NULL)
        return NULL;
    list[0] = config->resource;
    *count = paths + 1;
    for (unsigned i = 0; i < paths && path_at(config, spec, i, arena, &path); i++) {
        list[i + 1] = arena_printf(arena, "%.*s%.*s", STR_ARG(config->resource), STR_ARG(path));
        if (path.ptr == NULL || list[i + 1].ptr == NULL)
            return NULL;
    }
    return list;
}

/* Where the host's address ends and the path of `auth.resource`, if it has one, begins. */
static size_t origin_len(struct str resource)
{
    size_t begin = str_find_text(resource, STR("://")) + 3;
    return begin < resource.len ? begin + str_find(str_skip(resource, begin), '/') : resource.len;
}

/* The host's own identifier: as configured, or as this client calls it. ptr NULL: it has not said a
 * name that a challenge can repeat, or out of memory. */
static struct str base_of(const struct config *config, struct exchange *ex)
{
    if (config->resource.len > 0)
        return config->resource;
    if (!policy_is_scope_text(ex->req.host))
        return (struct str){NULL, 0};
    return arena_printf(&ex->arena, "%.*s://%.*s", STR_ARG(ex->req.scheme), STR_ARG(ex->req.host));
}

/* ---- the document ---- */

struct document {
    const struct deployment *deployment;
    struct arena *arena;
    json_t *servers, *scopes; /* owned */
    struct str path;          /* empty: the host as a whole */
    bool proofs;              /* some function takes proofs of possession, */
    bool proofs_needed;       /* or all ask for them */
    bool certs;               /* some function asks for tokens that are bound to certificates */
    bool found;
};

static void add_once(json_t *list, struct str text)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (str_eq((struct str){json_string_value(item), json_string_length(item)}, text))
            return;
    }
    (void)!json_array_append_new(list, json_stringn(text.ptr, text.len));
}

static bool has_path(const struct document *doc, const struct function_spec *spec)
{
    struct str path;
    for (unsigned n = 0;
         path_at(doc->deployment->config, spec, n, doc->arena, &path) && path.ptr != NULL; n++) {
        if (doc->path.len == 0 || str_eq(path, doc->path))
            return true;
    }
    return false;
}

static bool takes_tokens(const struct policy *policy)
{
    return policy->kind != POLICY_PUBLIC && policy->kind != POLICY_WEBHOOK &&
           policy->verifier_count > 0;
}

static void add_policy(struct document *doc, const struct policy *policy)
{
    for (unsigned i = 0; i < policy->verifier_count; i++)
        add_once(doc->servers, policy->verifiers[i].issuer);
    for (unsigned i = 0; i < policy->scope_count; i++)
        add_once(doc->scopes, policy->scopes[i]);
    enum dpop_mode mode = policy_dpop(policy);
    doc->proofs = doc->proofs || mode >= DPOP_OPTIONAL;
    doc->proofs_needed = (doc->proofs_needed || !doc->found) && mode == DPOP_REQUIRED;
    doc->certs = doc->certs || policy_needs_cert(policy);
    doc->found = true;
}

/* A function that says nothing may check tokens in Lua, so it is one of them. */
static void add_function(struct document *doc, const struct function_spec *spec)
{
    if (!spec->is_dev && spec->cron == NULL && takes_tokens(&spec->policy) && has_path(doc, spec))
        add_policy(doc, &spec->policy);
}

static void add_rule(struct document *doc, const struct config_protect *rule)
{
    bool is_meant = doc->path.len == 0 || str_eq(fixed_part(rule->path), doc->path);
    if (is_meant && takes_tokens(&rule->policy))
        add_policy(doc, &rule->policy);
}

static json_t *list_of_words(struct str words)
{
    json_t *list = json_array();
    struct str word;
    while (str_split_next(&words, ' ', &word))
        (void)!json_array_append_new(list, json_stringn(word.ptr, word.len));
    return list;
}

/* RFC 9728 section 2; a list that is empty is left out (3.2). Owned by the caller. */
static json_t *make_document(const struct document *doc, struct str resource)
{
    json_t *root = json_object();
    (void)!json_object_set_new(root, "resource", json_stringn(resource.ptr, resource.len));
    (void)!json_object_set(root, "authorization_servers", doc->servers);
    if (json_array_size(doc->scopes) > 0)
        (void)!json_object_set(root, "scopes_supported", doc->scopes);
    (void)!json_object_set_new(root, "bearer_methods_supported", list_of_words(STR("header")));
    if (doc->proofs)
        (void)!json_object_set_new(root, "dpop_signing_alg_values_supported",
                                   list_of_words(STR(DPOP_ALGS)));
    if (doc->proofs_needed)
        (void)!json_object_set_new(root, "dpop_bound_access_tokens_required", json_true());
    if (doc->certs)
        (void)!json_object_set_new(root, "tls_client_certificate_bound_access_tokens", json_true());
    return root;
}

/* A document for everybody, whatever page asks (a preflight, too, for headers of a protocol). */
static int set_headers(struct exchange *ex, bool preflight)
{
    struct headers *headers = &ex->res.headers;
    struct arena *arena = &ex->arena;
    int rc = headers_add(headers, arena, STR("Access-Control-Allow-Origin"), STR("*"));
    if (rc == 0 && preflight)
        rc = headers_add(headers, arena, STR("Access-Control-Allow-Headers"), STR("*"));
    if (rc == 0 && !preflight)
        rc = headers_add(headers, arena, STR("Cache-Control"), STR("max-age=300"));
    return rc == 0 && !preflight ? headers_add(headers, arena, STR("Vary"), STR("Host")) : rc;
}

static void send_document(struct exchange *ex, const struct document *doc, struct str resource)
{
    json_t *root = make_document(doc, resource);
    char *text = dump_json_text(root, JSON_COMPACT);
    struct str body = text != NULL ? arena_copy(&ex->arena, str_from(text)) : (struct str){NULL, 0};
    free(text);
    json_decref(root);
    if (body.ptr == NULL ||
        response_set_body(&ex->res, &ex->arena, 200, STR("application/json"), body) != 0 ||
        set_headers(ex, false) != 0)
        ex->res = (struct response){.status = 500};
    exchange_answer(ex);
}

/* In the path of the request, the well-known part stands before that of `auth.resource`. */
static bool read_path(const struct config *config, struct str path, struct str *out)
{
    if (!str_starts_with(path, STR(WELL_KNOWN)))
        return false;
    *out = str_skip(path, sizeof(WELL_KNOWN) - 1);
    struct str own = str_skip(config->resource, origin_len(config->resource));
    if (own.len > 0 && str_starts_with(*out, own))
        *out = str_skip(*out, own.len);
    if (str_eq(*out, STR("/")))
        *out = STR("");
    return out->len == 0 || out->ptr[0] == '/';
}

bool resource_answer(const struct deployment *d, struct exchange *ex, struct str path)
{
    struct document doc = {.deployment = d, .arena = &ex->arena};
    unsigned methods =
        METHOD_BIT(METHOD_GET) | METHOD_BIT(METHOD_HEAD) | METHOD_BIT(METHOD_OPTIONS);
    if ((methods & METHOD_BIT(ex->req.method)) == 0 || !read_path(d->config, path, &doc.path))
        return false;
    struct str base = base_of(d->config, ex);
    doc.servers = json_array();
    doc.scopes = json_array();
    for (unsigned i = 0; i < d->function_count; i++)
        add_function(&doc, d->functions[i]->spec);
    for (unsigned i = 0; i < d->config->protect_count; i++)
        add_rule(&doc, &d->config->protect[i]);
    bool ok = doc.found && base.ptr != NULL;
    if (ok && ex->req.method == METHOD_OPTIONS) {
        ex->res.status = set_headers(ex, true) == 0 ? 204 : 500;
        exchange_answer(ex);
    } else if (ok) {
        send_document(ex, &doc,
                      arena_printf(&ex->arena, "%.*s%.*s", STR_ARG(base), STR_ARG(doc.path)));
    }
    json_decref(doc.servers);
    json_decref(doc.scopes);
    return ok;
}

/* ---- the challenge ---- */

/* The path of the function that the request came by: the longest that leads there. */
static struct str path_of(const struct config *config, const struct function_spec *spec,
                          struct exchange *ex)
{
    struct str best = STR(""), path;
    for (unsigned n = 0; path_at(config, spec, n, &ex->arena, &path) && path.ptr != NULL; n++) {
        bool leads = str_starts_with(ex->req.path, path) &&
                     (path.len == ex->req.path.len || ex->req.path.ptr[path.len] == '/');
        if (leads && path.len > best.len)
            best = path;
    }
    return best;
}

static bool is_challenge(const struct header *header)
{
    return str_eq_nocase(header->name, STR("www-authenticate")) &&
           (str_starts_with(header->value, STR("Bearer ")) ||
            str_starts_with(header->value, STR("DPoP "))) &&
           str_find_text(header->value, STR("resource_metadata=")) == header->value.len;
}

void resource_challenge(const struct config *config, const struct function_spec *spec,
                        struct exchange *ex)
{
    if (takes_tokens(&spec->policy))
        resource_challenge_at(config, path_of(config, spec, ex), ex);
}

void resource_challenge_at(const struct config *config, struct str pattern, struct exchange *ex)
{
    struct str base = {NULL, 0}, path = fixed_part(pattern);
    for (uint32_t i = 0; i < ex->res.headers.len; i++) {
        struct header *header = &ex->res.headers.items[i];
        if (!is_challenge(header))
            continue;
        if (base.ptr == NULL)
            base = base_of(config, ex);
        if (base.ptr == NULL)
            return;
        size_t origin = origin_len(base);
        struct str value =
            arena_printf(&ex->arena, "%.*s, resource_metadata=\"%.*s" WELL_KNOWN "%.*s%.*s\"",
                         STR_ARG(header->value), (int)origin, base.ptr,
                         STR_ARG(str_skip(base, origin)), STR_ARG(path));
        if (value.ptr != NULL)
            header->value = value;
    }
}
