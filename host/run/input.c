/* What a function says of its requests' body and query. */
#include "run/input.h"

#include <errno.h>

#include "http/content_type.h"
#include "http/target.h"
#include "json/strict.h"
#include "schema/schema.h"

static bool refuse(struct exchange *ex, int status, const char *code, struct str text)
{
    ex->error_code = code;
    if (response_set_error(&ex->res, &ex->arena, status, str_from(code), text) != 0)
        ex->res.status = status;
    return false;
}

static bool refuse_for_memory(struct exchange *ex)
{
    return refuse(ex, 500, "out_of_memory", STR("The host is out of memory"));
}

static void refuse_errors(struct exchange *ex, const struct schema_errors *errors)
{
    struct buf out = BUF_INIT;
    buf_add_str(&out, STR("{\"error\":\"invalid_input\",\"errors\":"));
    schema_write_errors(&out, errors);
    buf_add_char(&out, '}');
    struct str body = {NULL, 0};
    if (!buf_failed(&out))
        body = arena_copy(&ex->arena, buf_str(&out));
    buf_free(&out);
    if (body.ptr == NULL)
        refuse_for_memory(ex);
    else
        refuse(ex, 422, "invalid_input", STR(""));
    if (ex->res.status == 422)
        ex->res.body = body;
}

/* The value against the schema; owns the value, which is in *kept afterwards, if that is wanted. */
static bool judge(const struct schema *schema, json_t *value, struct exchange *ex,
                  const json_t **kept)
{
    struct schema_errors *errors = arena_alloc(&ex->arena, sizeof(*errors));
    if (errors == NULL || arena_defer(&ex->arena, (void (*)(void *))json_decref, value) != 0) {
        json_decref(value);
        return refuse_for_memory(ex);
    }
    int rc = schema_check(schema, value, SCHEMA_JSON, &ex->arena, errors);
    if (rc == -ENOMEM)
        return refuse_for_memory(ex);
    if (rc != 0)
        refuse_errors(ex, errors);
    else if (kept != NULL)
        *kept = value;
    return rc == 0;
}

/* ---- the body ---- */

static bool has_body(const struct exchange *ex)
{
    enum http_method method = ex->req.method;
    return ex->req.body.len > 0 || method == METHOD_POST || method == METHOD_PUT ||
           method == METHOD_PATCH;
}

static bool judge_body(const struct schema *schema, struct exchange *ex)
{
    const struct str *type = headers_get(&ex->req.headers, STR("content-type"));
    const char *why = NULL;
    if (!has_body(ex))
        return true;
    if (type != NULL && !content_type_is_json(*type)) {
        struct str text =
            arena_printf(&ex->arena, "The body should be JSON, not %.*s", STR_ARG(*type));
        return refuse(ex, 415, "unsupported_media_type", text.ptr != NULL ? text : STR(""));
    }
    json_t *value = strict_json_load_any(ex->req.body, &why);
    if (value == NULL && errno == ENOMEM)
        return refuse_for_memory(ex);
    if (value == NULL) {
        struct str text = arena_printf(&ex->arena, "The body is not read as JSON: %s", why);
        return refuse(ex, 400, "invalid_json", text.ptr != NULL ? text : STR(""));
    }
    return judge(schema, value, ex, NULL);
}

/* ---- the query ---- */

/* The values of that name, of which `pairs[first]` is the first. */
static json_t *read_values(const struct schema *schema, const struct query_pair *pairs, int count,
                           int first, struct str *values)
{
    unsigned found = 0;
    for (int i = first; i < count; i++) {
        if (str_eq(pairs[i].name, pairs[first].name))
            values[found++] = pairs[i].value;
    }
    return schema_read_texts(schema, pairs[first].name, values, found);
}

/* NULL: out of memory. */
static json_t *read_query(const struct schema *schema, const struct query_pair *pairs, int count,
                          struct str *values)
{
    json_t *query = json_object();
    for (int i = 0; i < count && query != NULL; i++) {
        struct str name = pairs[i].name;
        json_t *value = json_object_getn(query, name.ptr, name.len);
        if (value != NULL)
            continue;
        value = read_values(schema, pairs, count, i, values);
        if (json_object_setn_new_nocheck(query, name.ptr, name.len, value) != 0) {
            json_decref(query);
            query = NULL;
        }
    }
    return query;
}

static bool judge_query(const struct schema *schema, struct exchange *ex, const json_t **query)
{
    struct query_pair *pairs = NULL;
    if (str_count(ex->req.query, '&') >= LIMIT_FORM_FIELDS)
        return refuse(ex, 413, "too_large", STR("The query has too many fields"));
    int count = target_parse_query(&ex->arena, ex->req.query, &pairs);
    struct str *values = arena_alloc(&ex->arena, (size_t)(count > 0 ? count : 1) * sizeof(*values));
    if (count < 0 || values == NULL)
        return refuse_for_memory(ex);
    for (int i = 0; i < count; i++) {
        if (!str_is_utf8(pairs[i].name) || !str_is_utf8(pairs[i].value))
            return refuse(ex, 400, "invalid_query", STR("The query is not UTF-8"));
    }
    json_t *value = read_query(schema, pairs, count, values);
    return value != NULL ? judge(schema, value, ex, query) : refuse_for_memory(ex);
}

bool input_judge(const struct function_spec *spec, struct exchange *ex, const json_t **query)
{
    return (spec->query == NULL || judge_query(spec->query, ex, query)) &&
           (spec->input == NULL || judge_body(spec->input, ex));
}
