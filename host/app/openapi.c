/* The deployment as an OpenAPI 3.1 document. */
#include "app/openapi.h"

#include <stdio.h>

#include "auth/policy.h"

/* What is under way. */
struct document {
    const struct deployment *deployment;
    struct buf *out;
    struct arena arena;
    struct shape *shapes; /* of the paths that are written */
    unsigned *operations; /* how many each function has, by method */
};

/* A path without the names of its parameters: two that differ in those alone are the same one. */
struct shape {
    struct shape *next;
    struct str text;
};

static const char *const operation_names[METHOD_COUNT] = {"get",   "head",   "post",   "put",
                                                          "patch", "delete", "options"};

/* Our pattern as OpenAPI writes paths: ":id" and ":id?" become "{id}", a final star "{splat}". A
 * parameter has to be there in OpenAPI: without its last one the path is another. `named` false:
 * the shape. In the arena; ptr is NULL when out of memory. */
static struct str path_text(struct arena *arena, struct str pattern, bool whole, bool named)
{
    struct buf text = BUF_INIT;
    struct str rest = str_skip(pattern, 1), segment;
    while (str_split_next(&rest, '/', &segment)) {
        bool optional = str_ends_with(segment, STR("?")), splat = str_eq(segment, STR("*"));
        bool parameter = splat || (segment.len > 1 && segment.ptr[0] == ':');
        if (segment.len == 0 || ((optional || splat) && !whole))
            continue;
        struct str name = splat ? STR("splat") : str_skip(segment, parameter ? 1 : 0);
        name.len -= parameter && optional;
        if (!parameter)
            buf_printf(&text, "/%.*s", STR_ARG(name));
        else
            buf_printf(&text, "/{%.*s}", named ? (int)name.len : 0, name.ptr);
    }
    struct str copy = text.len > 0 ? arena_copy(arena, buf_str(&text)) : STR("/");
    if (buf_failed(&text))
        copy.ptr = NULL;
    buf_free(&text);
    return copy;
}

static bool has_optional_part(struct str pattern)
{
    return str_ends_with(pattern, STR("/*")) || str_ends_with(pattern, STR("?"));
}

/* The proof of possession, as a header beside `Authorization`. */
static void add_proof(struct buf *out, enum dpop_mode mode, const char *separator)
{
    if (mode >= DPOP_OPTIONAL)
        buf_printf(out,
                   "%s{\"in\":\"header\",\"name\":\"DPoP\",\"required\":%s,\"schema\":{\"type\":"
                   "\"string\"},\"description\":\"A proof of possession (RFC 9449)%s\"}",
                   separator, mode == DPOP_REQUIRED ? "true" : "false",
                   mode == DPOP_REQUIRED ? "" : ", for a token that is bound to a key");
}

/* Those that stand in braces. */
static void add_parameters(struct buf *out, struct str path, const struct policy *policy)
{
    struct str rest = path, segment;
    const char *separator = "";
    buf_add_str(out, STR(",\"parameters\":["));
    while (str_split_next(&rest, '/', &segment)) {
        if (segment.len < 2 || segment.ptr[0] != '{')
            continue;
        buf_printf(
            out, "%s{\"in\":\"path\",\"required\":true,\"schema\":{\"type\":\"string\"},\"name\":",
            separator);
        buf_add_json(out, (struct str){segment.ptr + 1, segment.len - 2});
        buf_add_char(out, '}');
        separator = ",";
    }
    if (policy->kind == POLICY_TOKEN)
        add_proof(out, policy_dpop(policy), separator);
    buf_add_char(out, ']');
}

/* "any" of several scopes: one alternative each; "all": one requirement with all of them. */
static void add_security(struct buf *out, const struct policy *policy)
{
    bool alternatives = policy->scope_any && policy->scope_count > 0;
    buf_add_str(out, STR(",\"security\":[{\"issuer\":["));
    for (unsigned i = 0; i < policy->scope_count; i++) {
        if (i > 0)
            buf_add_str(out, alternatives ? STR("]},{\"issuer\":[") : STR(","));
        buf_add_json(out, policy->scopes[i]);
    }
    buf_add_str(out, STR("]}]"));
    if (policy->role.len > 0) {
        buf_add_str(out, STR(",\"x-luafn-role\":"));
        buf_add_json(out, policy->role);
    }
}

static void add_responses(struct buf *out, const struct function_spec *spec)
{
    const struct policy *policy = &spec->policy;
    buf_add_str(out, STR(",\"responses\":{"));
    buf_add_str(out, spec->background ? STR("\"202\":{\"description\":\"Accepted\"}")
                                      : STR("\"200\":{\"description\":\"The handler's answer\"}"));
    if (policy->kind == POLICY_TOKEN) {
        buf_add_str(
            out,
            STR(",\"401\":{\"$ref\":\"#/components/responses/refused\"},\"503\":{\"$ref\":\"#/components/responses/refused\"}"));
        if (policy->scope_count > 0 || policy->role.len > 0 || policy->claims != NULL)
            buf_add_str(out, STR(",\"403\":{\"$ref\":\"#/components/responses/refused\"}"));
    }
    if (spec->rate_limit.limit > 0)
        buf_add_str(out, STR(",\"429\":{\"$ref\":\"#/components/responses/refused\"}"));
    buf_add_char(out, '}');
}

/* How many operations with that method it has now. */
static unsigned count_operation(struct document *doc, const struct function *function,
                                unsigned method)
{
    unsigned i = 0;
    while (doc->deployment->functions[i] != function)
        i++;
    return ++doc->operations[i * METHOD_COUNT + method];
}

static void add_operation(struct document *doc, const struct function *function, struct str path,
                          unsigned method)
{
    struct buf *out = doc->out;
    const struct function_spec *spec = function->spec;
    unsigned turn = count_operation(doc, function, method);
    struct str who = policy_text(&spec->policy, &doc->arena);
    /* An id is good once in a document. */
    struct str id = arena_printf(&doc->arena, turn > 1 ? "%s_%.*s.%u" : "%s_%.*s",
                                 operation_names[method], STR_ARG(spec->name), turn);
    struct str summary = arena_printf(&doc->arena, "%.*s: %.*s", STR_ARG(spec->name), STR_ARG(who));
    out->failed = out->failed || who.ptr == NULL || id.ptr == NULL || summary.ptr == NULL;
    if (out->failed)
        return;
    buf_printf(out, "\"%s\":{\"operationId\":", operation_names[method]);
    buf_add_json(out, id);
    buf_add_str(out, STR(",\"summary\":"));
    buf_add_json(out, summary);
    add_parameters(out, path, &spec->policy);
    if (method == METHOD_POST || method == METHOD_PUT || method == METHOD_PATCH)
        buf_add_str(out, STR(",\"requestBody\":{\"content\":{\"*/*\":{}}}"));
    if (spec->policy.kind == POLICY_TOKEN)
        add_security(out, &spec->policy);
    else if (spec->policy.kind == POLICY_PUBLIC)
        buf_add_str(out, STR(",\"security\":[]"));
    add_responses(out, spec);
    buf_add_char(out, '}');
}

/* False: it is there already. */
static bool note_shape(struct document *doc, struct str text)
{
    for (const struct shape *one = doc->shapes; one != NULL; one = one->next) {
        if (str_eq(one->text, text))
            return false;
    }
    struct shape *shape = arena_alloc(&doc->arena, sizeof(*shape));
    if (shape == NULL) {
        doc->out->failed = true;
        return false;
    }
    *shape = (struct shape){doc->shapes, text};
    doc->shapes = shape;
    return true;
}

/* Who answers there the router says: other functions may have the same path under other methods.
 * Scheduled ones run by themselves, and those of `dev` are not part of the deployment. */
static void add_path(struct document *doc, struct str pattern, bool whole)
{
    struct str path = path_text(&doc->arena, pattern, whole, true);
    struct str shape = path_text(&doc->arena, pattern, whole, false);
    doc->out->failed = doc->out->failed || path.ptr == NULL || shape.ptr == NULL;
    if (doc->out->failed || !note_shape(doc, shape))
        return;
    const char *separator = doc->shapes->next != NULL ? "," : "";
    buf_add_str(doc->out, str_from(separator));
    buf_add_json(doc->out, path);
    buf_add_str(doc->out, STR(":{"));
    separator = "";
    for (unsigned m = 0; m < METHOD_COUNT; m++) {
        struct route_match match;
        if (router_match(doc->deployment->router, (enum http_method)m, path, &match) != ROUTE_FOUND)
            continue;
        const struct function *function = match.target;
        if (function->spec->is_dev || function->spec->cron != NULL)
            continue;
        buf_add_str(doc->out, str_from(separator));
        add_operation(doc, function, path, m);
        separator = ",";
    }
    buf_add_char(doc->out, '}');
}

static void add_paths(struct document *doc)
{
    const struct deployment *d = doc->deployment;
    for (unsigned i = 0; i < d->function_count; i++) {
        const struct function_spec *spec = d->functions[i]->spec;
        if (spec->is_dev || spec->cron != NULL)
            continue;
        char standard[512];
        snprintf(standard, sizeof(standard), "%.*s/%.*s", STR_ARG(d->config->prefix),
                 STR_ARG(spec->name));
        if (spec->path_count == 0)
            add_path(doc, str_from(standard), true);
        for (unsigned p = 0; p < spec->path_count; p++) {
            if (has_optional_part(spec->paths[p]))
                add_path(doc, spec->paths[p], false);
            add_path(doc, spec->paths[p], true);
        }
    }
}

static bool asks_provider(const struct deployment *d)
{
    for (unsigned i = 0; i < d->config->issuer_count; i++) {
        if (d->config->issuers[i].introspection.url.len > 0)
            return true;
    }
    return false;
}

/* The issuer's discovery document tells a client all the rest. */
static void add_components(struct buf *out, const struct deployment *d)
{
    buf_add_str(
        out,
        STR("\"components\":{\"responses\":{\"refused\":{\"description\":\"No, and why\",\"content\":{\"application/json\":{"
            "\"schema\":{\"type\":\"object\",\"required\":[\"error\",\"error_description\"],\"properties\":{"
            "\"error\":{\"type\":\"string\"},\"error_description\":{\"type\":\"string\"}}}}}}},\"securitySchemes\":{"));
    if (d->config->issuer_count > 0) {
        struct str issuer = d->config->issuers[0].verifier.issuer;
        struct str base = {issuer.ptr, issuer.len - (str_ends_with(issuer, STR("/")) ? 1 : 0)};
        struct buf url = BUF_INIT;
        buf_add_str(&url, base);
        buf_add_str(&url, STR("/.well-known/openid-configuration"));
        buf_add_str(out, STR("\"issuer\":{\"type\":\"openIdConnect\",\"openIdConnectUrl\":"));
        buf_add_json(out, buf_str(&url));
        if (asks_provider(d))
            buf_add_str(out, STR(",\"description\":\"A JWT, or an opaque token that the issuer is "
                                 "asked about (RFC 7662)\""));
        buf_add_char(out, '}');
        out->failed = out->failed || url.failed;
        buf_free(&url);
    } else {
        buf_add_str(
            out,
            STR("\"issuer\":{\"type\":\"http\",\"scheme\":\"bearer\",\"bearerFormat\":\"JWT\"}"));
    }
    buf_add_str(out, STR("}}"));
}

/* Where it is reached the host cannot know: a proxy may stand before it. `URL` says it, as at
 * Netlify; in `dev` it is there. */
static void add_servers(struct document *doc)
{
    const char *url = env_get(doc->deployment->config->env, "URL");
    if (url != NULL) {
        buf_add_str(doc->out, STR("\"servers\":[{\"url\":"));
        buf_add_json(doc->out, str_from(url));
        buf_add_str(doc->out, STR("}],"));
    } else {
        buf_add_str(
            doc->out,
            STR("\"servers\":[{\"url\":\"{origin}\",\"variables\":{\"origin\":{\"default\":"
                "\"http://127.0.0.1:8888\",\"description\":\"Where the host is reached. The "
                "variable URL of its environment says it here.\"}}}],"));
    }
}

void openapi_write(const struct deployment *deployment, struct buf *out)
{
    struct document doc = {.deployment = deployment, .out = out};
    arena_init(&doc.arena);
    doc.operations = arena_zalloc(&doc.arena, (deployment->function_count + 1) * METHOD_COUNT *
                                                  sizeof(*doc.operations));
    if (doc.operations == NULL) {
        out->failed = true;
        return;
    }
    buf_add_str(out,
                STR("{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"luafn\",\"version\":\"1\"},"));
    add_servers(&doc);
    buf_add_str(out, STR("\"paths\":{"));
    add_paths(&doc);
    buf_add_str(out, STR("},"));
    add_components(out, deployment);
    buf_add_char(out, '}');
    arena_free(&doc.arena);
}
