/* The deployment as an OpenAPI 3.1 document. */
#include "app/openapi.h"

#include <stdio.h>

#include "auth/policy.h"

static const char *const operation_names[METHOD_COUNT] = {"get",   "head",   "post",   "put",
                                                          "patch", "delete", "options"};

/* Our pattern as OpenAPI writes paths: ":id" and ":id?" become "{id}", a final star "{splat}". */
static void add_path(struct buf *out, struct str pattern)
{
    struct buf text = BUF_INIT;
    struct str rest = pattern, segment;
    bool first = true;
    while (str_split_next(&rest, '/', &segment)) {
        if (!first)
            buf_add_char(&text, '/');
        first = false;
        bool optional = str_ends_with(segment, STR("?"));
        if (segment.len > 1 && segment.ptr[0] == ':')
            buf_printf(&text, "{%.*s}", (int)(segment.len - 1 - optional), segment.ptr + 1);
        else if (str_eq(segment, STR("*")))
            buf_add_str(&text, STR("{splat}"));
        else
            buf_add_str(&text, segment);
    }
    buf_add_json(out, buf_str(&text));
    out->failed = out->failed || text.failed;
    buf_free(&text);
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

static void add_parameters(struct buf *out, struct str pattern, const struct policy *policy)
{
    struct str rest = pattern, segment;
    const char *separator = "";
    buf_add_str(out, STR(",\"parameters\":["));
    while (str_split_next(&rest, '/', &segment)) {
        bool splat = str_eq(segment, STR("*"));
        if (!splat && (segment.len < 2 || segment.ptr[0] != ':'))
            continue;
        struct str name = splat ? STR("splat") : str_skip(segment, 1);
        if (str_ends_with(name, STR("?")))
            name.len--;
        buf_printf(
            out, "%s{\"in\":\"path\",\"required\":true,\"schema\":{\"type\":\"string\"},\"name\":",
            separator);
        buf_add_json(out, name);
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
    buf_add_char(out, '}');
}

static void add_operation(struct buf *out, const struct function_spec *spec, struct str pattern,
                          unsigned method)
{
    char id[192];
    snprintf(id, sizeof(id), "%s_%.*s", operation_names[method], STR_ARG(spec->name));
    buf_printf(out, "\"%s\":{\"operationId\":", operation_names[method]);
    buf_add_json(out, str_from(id));
    add_parameters(out, pattern, &spec->policy);
    if (spec->policy.kind == POLICY_TOKEN)
        add_security(out, &spec->policy);
    else if (spec->policy.kind == POLICY_PUBLIC)
        buf_add_str(out, STR(",\"security\":[]"));
    add_responses(out, spec);
    buf_add_char(out, '}');
}

/* Where a function takes every method, the two that people mean are listed. */
static void add_route(struct buf *out, const struct function_spec *spec, struct str pattern)
{
    unsigned methods = spec->methods == METHOD_ALL
                           ? METHOD_BIT(METHOD_GET) | METHOD_BIT(METHOD_POST)
                           : spec->methods;
    const char *separator = "";
    add_path(out, pattern);
    buf_add_str(out, STR(":{"));
    for (unsigned m = 0; m < METHOD_COUNT; m++) {
        if ((methods & METHOD_BIT(m)) == 0)
            continue;
        buf_add_str(out, str_from(separator));
        add_operation(out, spec, pattern, m);
        separator = ",";
    }
    buf_add_char(out, '}');
}

static void add_paths(struct buf *out, const struct deployment *d)
{
    const char *separator = "";
    for (unsigned i = 0; i < d->function_count; i++) {
        const struct function_spec *spec = d->functions[i]->spec;
        char standard[512];
        snprintf(standard, sizeof(standard), "%.*s/%.*s", STR_ARG(d->config->prefix),
                 STR_ARG(spec->name));
        for (unsigned p = 0; !spec->is_dev && p < (spec->path_count > 0 ? spec->path_count : 1);
             p++) {
            buf_add_str(out, str_from(separator));
            add_route(out, spec, spec->path_count > 0 ? spec->paths[p] : str_from(standard));
            separator = ",";
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

void openapi_write(const struct deployment *deployment, struct buf *out)
{
    buf_add_str(
        out,
        STR("{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"luafn\",\"version\":\"1\"},\"paths\":{"));
    add_paths(out, deployment);
    buf_add_str(out, STR("},"));
    add_components(out, deployment);
    buf_add_char(out, '}');
}
