/* tool = { description =, input =, output =, title =, annotations = } */
#include "options/options_tool.h"

#include <errno.h>

#include "base/limits.h"
#include "http/headers.h"
#include "lua/tree.h"
#include "schema/schema.h"

/* ---- x-mcp-header ---- */

static const char HEADER[] = "x-mcp-header";

/* How many properties are marked so, wherever they are. */
static unsigned count_marks(const json_t *schema)
{
    unsigned count = json_is_string(json_object_get(schema, HEADER));
    const char *name;
    size_t i;
    json_t *child;
    json_object_foreach((json_t *)(uintptr_t)schema, name, child) count += count_marks(child);
    json_array_foreach(schema, i, child) count += count_marks(child);
    return count;
}

static bool is_taken(const struct tool_spec *tool, struct str name)
{
    for (unsigned i = 0; i < tool->header_count; i++) {
        if (str_eq_nocase(tool->headers[i].name, name))
            return true;
    }
    return false;
}

static int add_header(struct options_reader *r, struct tool_spec *tool, const json_t *schema,
                      const struct tool_header *parent, const char *property)
{
    const json_t *mark = json_object_get(schema, HEADER);
    const char *type = json_string_value(json_object_get(schema, "type"));
    struct str name = {json_string_value(mark), json_string_length(mark)};
    if (!header_name_is_valid(name))
        return options_fault(r, "input", "%s: '%.*s' is no name for a header", property,
                             STR_ARG(name));
    if (is_taken(tool, name))
        return options_fault(r, "input", "%s: there is a header '%.*s' already", property,
                             STR_ARG(name));
    if (type == NULL || (strcmp(type, "string") != 0 && strcmp(type, "integer") != 0 &&
                         strcmp(type, "boolean") != 0))
        return options_fault(r, "input", "%s: only a string, integer or boolean has a header",
                             property);
    struct tool_header *header = &tool->headers[tool->header_count++];
    *header = *parent;
    header->name = arena_copy(r->arena, name);
    return header->name.ptr != NULL ? 0 : options_no_memory(r);
}

/* Those that are reached by `properties` alone. */
static int find_headers(struct options_reader *r, struct tool_spec *tool, const json_t *schema,
                        const struct tool_header *at)
{
    const char *name;
    json_t *child;
    json_object_foreach(json_object_get(schema, "properties"), name, child)
    {
        struct tool_header here = *at;
        if (here.depth == TOOL_HEADER_DEPTH)
            return 0;
        here.path[here.depth++] = name;
        if (json_is_string(json_object_get(child, HEADER)) &&
            add_header(r, tool, child, &here, name) != 0)
            return r->rc;
        if (find_headers(r, tool, child, &here) != 0)
            return r->rc;
    }
    return r->rc;
}

static int read_headers(struct options_reader *r, struct tool_spec *tool)
{
    const json_t *input = schema_source(tool->input);
    unsigned count = count_marks(input);
    const struct tool_header none = {.depth = 0};
    if (count == 0)
        return r->rc;
    tool->headers = arena_zalloc(r->arena, count * sizeof(*tool->headers));
    if (tool->headers == NULL)
        return options_no_memory(r);
    find_headers(r, tool, input, &none);
    if (r->rc == 0 && tool->header_count != count)
        options_fault(r, "input",
                      "%s is for properties that are reached by `properties` alone, %d levels "
                      "deep at most",
                      HEADER, TOOL_HEADER_DEPTH);
    return r->rc;
}

/* ---- the parts ---- */

/* Clients of every version take a schema of an object, and no other. */
static const struct schema *read_schema(struct options_reader *r, const char *key)
{
    const struct schema *schema = NULL;
    if (options_schema(r, key, &schema) != 0 || schema == NULL)
        return NULL;
    const char *type = json_string_value(json_object_get(schema_source(schema), "type"));
    if (type == NULL || strcmp(type, "object") != 0)
        options_fault(
            r, key, "must be the schema of an object: { type = \"object\", properties = { ... } }");
    return schema;
}

/* A new reference; NULL: none, or a fault. */
static json_t *read_annotations(struct options_reader *r)
{
    static const char *const keys[] = {"title",          "readOnlyHint",  "destructiveHint",
                                       "idempotentHint", "openWorldHint", NULL};
    struct str title;
    bool hint;
    struct tree_fault fault;
    if (!options_get(r, "annotations"))
        return NULL;
    if (!lua_istable(r->L, -1)) {
        options_fault(r, "annotations", "must be a table such as { readOnlyHint = true }");
        return NULL;
    }
    size_t before = options_enter(r, "annotations", 0);
    options_check_keys(r, keys);
    options_str(r, "title", &title);
    for (unsigned i = 1; keys[i] != NULL; i++)
        options_bool(r, keys[i], &hint);
    json_t *annotations = r->rc == 0 ? tree_read(r->L, -1, &fault) : NULL;
    if (r->rc == 0 && annotations == NULL && errno == ENOMEM)
        options_no_memory(r);
    else if (r->rc == 0 && annotations == NULL)
        options_fault(r, NULL, "%s", fault.text);
    options_leave(r, before);
    lua_pop(r->L, 1);
    return annotations;
}

/* As `tools/list` shows it; takes the annotations over. */
static int describe(struct options_reader *r, struct tool_spec *tool, struct str title,
                    json_t *annotations)
{
    json_t *all = json_object();
    int rc = json_object_set_new(all, "name", json_stringn(tool->name.ptr, tool->name.len));
    rc |= json_object_set_new(all, "description",
                              json_stringn(tool->description.ptr, tool->description.len));
    rc |= json_object_set(all, "inputSchema", (json_t *)(uintptr_t)schema_source(tool->input));
    if (title.ptr != NULL)
        rc |= json_object_set_new(all, "title", json_stringn(title.ptr, title.len));
    if (tool->output != NULL)
        rc |=
            json_object_set(all, "outputSchema", (json_t *)(uintptr_t)schema_source(tool->output));
    if (annotations != NULL)
        rc |= json_object_set_new(all, "annotations", annotations);
    size_t len = rc == 0 ? json_dumpb(all, NULL, 0, JSON_COMPACT | JSON_SORT_KEYS) : 0;
    char *text = len > 0 ? arena_alloc(r->arena, len) : NULL;
    if (text != NULL)
        tool->text = (struct str){text, json_dumpb(all, text, len, JSON_COMPACT | JSON_SORT_KEYS)};
    json_decref(all);
    return text != NULL && tool->text.len == len ? 0 : options_no_memory(r);
}

static void drop_schema(void *schema)
{
    schema_free(schema);
}

/* No arguments at all. */
static struct schema *make_empty(struct options_reader *r)
{
    struct schema_fault fault;
    json_t *source = json_pack("{s:s,s:b}", "type", "object", "additionalProperties", 0);
    struct schema *schema = source != NULL ? schema_new(source, &fault) : NULL;
    json_decref(source);
    if (schema != NULL && arena_defer(r->arena, drop_schema, schema) == 0)
        return schema;
    schema_free(schema);
    options_no_memory(r);
    return NULL;
}

static int read_parts(struct options_reader *r, struct tool_spec *tool)
{
    static const char *const keys[] = {"description", "input",       "output",
                                       "title",       "annotations", NULL};
    struct str title = {NULL, 0};
    options_check_keys(r, keys);
    options_str(r, "description", &tool->description);
    options_str(r, "title", &title);
    if (r->rc == 0 && tool->description.len == 0)
        options_fault(r, NULL, "`description` is missing: it tells a program what the tool is for");
    if (r->rc == 0 && (!str_is_utf8(tool->description) || !str_is_utf8(title)))
        options_fault(r, NULL, "has a text that is not UTF-8");
    if (r->rc == 0 && tool->name.len > LIMIT_TOOL_NAME)
        options_fault(r, NULL, "a tool's name, which is the function's, has %d characters at most",
                      LIMIT_TOOL_NAME);
    tool->input = read_schema(r, "input");
    tool->output = read_schema(r, "output");
    if (r->rc == 0 && tool->input == NULL)
        tool->input = make_empty(r);
    if (r->rc == 0)
        read_headers(r, tool);
    json_t *annotations = read_annotations(r);
    if (r->rc == 0)
        describe(r, tool, title, annotations);
    else
        json_decref(annotations);
    return r->rc;
}

int options_read_tool(struct options_reader *r, struct function_spec *spec)
{
    static const struct str own = {"luafn-dev-", 10};
    if (!options_get(r, "tool"))
        return r->rc;
    if (!lua_istable(r->L, -1))
        return options_fault(r, "tool",
                             "must be a table such as { description = \"Lists the shows\", input = "
                             "{ type = \"object\" } }");
    struct tool_spec *tool = arena_zalloc(r->arena, sizeof(*tool));
    if (tool == NULL)
        return options_no_memory(r);
    size_t before = options_enter(r, "tool", 0);
    tool->name = spec->name;
    if (spec->is_dev && str_starts_with(spec->name, own))
        tool->name = str_skip(spec->name, own.len);
    read_parts(r, tool);
    options_leave(r, before);
    lua_pop(r->L, 1);
    spec->tool = tool;
    return r->rc;
}
