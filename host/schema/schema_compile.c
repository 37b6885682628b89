/* A schema is compiled in three steps: the document becomes nodes with rules; references are
 * followed, which may find more schemas; and none may lead in a circle about the same value. */
#include "schema/schema_compile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/embedded.h"
#include "json/strict.h"
#include "schema/schema_regex.h"
#include "schema/schema_uri.h"

struct schema_reference {
    struct schema_rule *rule;
    const struct schema_resource *resource; /* where it stands */
    struct str path;
    bool dynamic;
    struct schema_reference *next;
};

/* ---- faults ---- */

static void write_path(struct schema_compiler *compiler, struct buf *out)
{
    if (compiler->place != NULL)
        schema_write_place(out, compiler->place);
    else
        buf_add_str(out, compiler->path);
}

int schema_compile_fault(struct schema_compiler *compiler, const char *format, ...)
{
    struct buf path = BUF_INIT;
    va_list args;
    if (compiler->code != 0)
        return -1;
    compiler->code = EINVAL;
    va_start(args, format);
    vsnprintf(compiler->fault->text, sizeof(compiler->fault->text), format, args);
    va_end(args);
    write_path(compiler, &path);
    snprintf(compiler->fault->path, sizeof(compiler->fault->path), "%.*s", STR_ARG(buf_str(&path)));
    buf_free(&path);
    return -1;
}

int schema_compile_no_memory(struct schema_compiler *compiler)
{
    if (compiler->code == 0)
        snprintf(compiler->fault->text, sizeof(compiler->fault->text), "out of memory");
    compiler->code = compiler->code != 0 ? compiler->code : ENOMEM;
    return -1;
}

void *schema_compile_alloc(struct schema_compiler *compiler, size_t size)
{
    struct schema *schema = compiler->schema;
    void *memory = NULL;
    if (schema->arena.total + schema->pattern_bytes > LIMIT_SCHEMA_BYTES) {
        schema_compile_fault(compiler, "is too large: a schema may take %d bytes",
                             LIMIT_SCHEMA_BYTES);
        return NULL;
    }
    memory = arena_zalloc(&schema->arena, size);
    if (memory == NULL)
        schema_compile_no_memory(compiler);
    return memory;
}

static struct str checked(struct schema_compiler *compiler, struct str text)
{
    if (text.ptr == NULL)
        schema_compile_no_memory(compiler);
    return text;
}

static struct str path_text(struct schema_compiler *compiler)
{
    struct buf path = BUF_INIT;
    write_path(compiler, &path);
    struct str copy = {NULL, 0};
    if (!buf_failed(&path))
        copy = arena_copy(&compiler->schema->arena, buf_str(&path));
    buf_free(&path);
    return checked(compiler, copy);
}

/* ---- names: $id, $anchor, $dynamicAnchor ---- */

static struct schema_resource *find_resource(const struct schema *schema, struct str uri)
{
    struct schema_resource *r = schema->resources;
    while (r != NULL && !str_eq(r->uri, uri))
        r = r->next;
    return r;
}

static struct schema_resource *add_resource(struct schema_compiler *compiler, struct str uri)
{
    struct schema_resource *resource = schema_compile_alloc(compiler, sizeof(*resource));
    if (resource == NULL)
        return NULL;
    resource->uri = uri;
    resource->next = compiler->schema->resources;
    compiler->schema->resources = resource;
    return resource;
}

static int fault_of_member(struct schema_compiler *compiler, const char *name, const char *text)
{
    struct schema_place place = {compiler->place, str_from(name), 0};
    compiler->place = &place;
    schema_compile_fault(compiler, "%s", text);
    compiler->place = place.up;
    return -1;
}

static int read_id(struct schema_compiler *compiler, struct schema_node *node)
{
    const json_t *id = json_object_get(node->source, "$id");
    struct str fragment, uri;
    if (id == NULL)
        return 0;
    if (!json_is_string(id))
        return fault_of_member(compiler, "$id", "must be a text");
    uri = checked(compiler, schema_uri_resolve(&compiler->schema->arena, compiler->resource->uri,
                                               schema_string(id), &fragment));
    if (uri.ptr == NULL)
        return -1;
    if (fragment.len > 0)
        return fault_of_member(compiler, "$id", "must not have a fragment; that is `$anchor`");
    struct schema_resource *other = find_resource(compiler->schema, uri);
    if (other != NULL && (other != compiler->resource || other->root != node))
        return fault_of_member(compiler, "$id", "is that of another schema in this one");
    node->resource = other != NULL ? other : add_resource(compiler, uri);
    if (node->resource == NULL)
        return -1;
    node->resource->root = node;
    return 0;
}

static bool is_anchor(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool begins = c == '_' || (str_is_alnum(c) && c > '9');
        if (!begins && (i == 0 || (c != '-' && c != '.' && !str_is_alnum(c))))
            return false;
    }
    return name.len > 0;
}

static const struct schema_anchor *find_anchor(const struct schema_resource *resource,
                                               struct str name)
{
    const struct schema_anchor *a = resource->anchors;
    while (a != NULL && !str_eq(a->name, name))
        a = a->next;
    return a;
}

static int read_anchor(struct schema_compiler *compiler, struct schema_node *node, const char *key)
{
    const json_t *name = json_object_get(node->source, key);
    if (name == NULL)
        return 0;
    if (!json_is_string(name) || !is_anchor(schema_string(name)))
        return fault_of_member(compiler, key, "must be a name: letters, digits, and - _ .");
    const struct schema_anchor *other = find_anchor(node->resource, schema_string(name));
    if (other != NULL && other->node != node)
        return fault_of_member(compiler, key, "is that of another schema in this one");
    struct schema_anchor *anchor = schema_compile_alloc(compiler, sizeof(*anchor));
    if (anchor == NULL)
        return -1;
    *anchor = (struct schema_anchor){schema_string(name), strcmp(key, "$dynamicAnchor") == 0, node,
                                     node->resource->anchors};
    node->resource->anchors = anchor;
    return 0;
}

/* ---- nodes ---- */

/* The keyword, where the node has it. */
static int read_keyword(struct schema_compiler *compiler, struct schema_node *node,
                        const struct schema_keyword *keyword)
{
    const json_t *arg = json_object_get(node->source, keyword->name);
    struct schema_rule *rule = &node->rules[node->rule_count];
    struct schema_place place = {compiler->place, str_from(keyword->name), 0};
    if (arg == NULL)
        return 0;
    *rule = (struct schema_rule){.keyword = keyword, .arg = arg};
    compiler->place = &place;
    int rc = keyword->read(compiler, rule);
    compiler->place = place.up;
    node->rule_count += keyword->check != NULL;
    return rc;
}

static int read_keywords(struct schema_compiler *compiler, struct schema_node *node)
{
    size_t most = json_object_size(node->source) + 1;
    node->rules = schema_compile_alloc(compiler, most * sizeof(*node->rules));
    int rc = node->rules != NULL ? 0 : -1;
    for (const struct schema_keyword *k = compiler->keywords; rc == 0 && k->name != NULL; k++)
        rc = read_keyword(compiler, node, k);
    return rc;
}

static int read_node(struct schema_compiler *compiler, struct schema_node *node)
{
    struct schema_node *outer_node = compiler->node;
    struct schema_resource *outer = compiler->resource;
    node->resource = outer;
    if (outer->root == NULL)
        outer->root = node;
    if (read_id(compiler, node) != 0 || read_anchor(compiler, node, "$anchor") != 0 ||
        read_anchor(compiler, node, "$dynamicAnchor") != 0)
        return -1;
    compiler->node = node;
    compiler->resource = node->resource;
    compiler->depth++;
    int rc = read_keywords(compiler, node);
    compiler->depth--;
    compiler->node = outer_node;
    compiler->resource = outer;
    return rc;
}

/* NULL with the fault told. */
static struct schema_node *compile_node(struct schema_compiler *compiler, const json_t *source)
{
    struct schema *schema = compiler->schema;
    if (!json_is_object(source) && !json_is_boolean(source)) {
        schema_compile_fault(compiler, "must be a schema: a table of keywords, true or false");
        return NULL;
    }
    if (compiler->depth >= LIMIT_JSON_DEPTH || ++schema->node_count > LIMIT_SCHEMA_NODES) {
        schema_compile_fault(compiler, "is too large: at most %d schemas in one, %d in each other",
                             LIMIT_SCHEMA_NODES, LIMIT_JSON_DEPTH);
        return NULL;
    }
    struct schema_node *node = schema_compile_alloc(compiler, sizeof(*node));
    if (node == NULL)
        return NULL;
    node->source = source;
    node->path = path_text(compiler);
    node->resource = compiler->resource;
    node->next = schema->nodes;
    schema->nodes = node;
    if (node->path.ptr == NULL || (json_is_object(source) && read_node(compiler, node) != 0))
        return NULL;
    if (compiler->resource->root == NULL)
        compiler->resource->root = node;
    return node;
}

static struct schema_node *compile_at(struct schema_compiler *compiler, const json_t *source,
                                      struct schema_place place)
{
    place.up = compiler->place;
    compiler->place = &place;
    struct schema_node *node = compile_node(compiler, source);
    compiler->place = place.up;
    return node;
}

static int make_nodes(struct schema_compiler *compiler, struct schema_rule *rule, size_t count)
{
    rule->count = (unsigned)count;
    rule->nodes = schema_compile_alloc(compiler, (count + 1) * sizeof(struct schema_node *));
    return rule->nodes != NULL ? 0 : -1;
}

int schema_compile_one(struct schema_compiler *compiler, struct schema_rule *rule)
{
    if (make_nodes(compiler, rule, 1) != 0)
        return -1;
    rule->nodes[0] = compile_node(compiler, rule->arg);
    return rule->nodes[0] != NULL ? 0 : -1;
}

int schema_compile_list(struct schema_compiler *compiler, struct schema_rule *rule)
{
    size_t count = json_array_size(rule->arg);
    if (count == 0)
        return schema_compile_fault(compiler, "must be a list of schemas, of one at least");
    if (make_nodes(compiler, rule, count) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        rule->nodes[i] =
            compile_at(compiler, json_array_get(rule->arg, i), (struct schema_place){.index = i});
        if (rule->nodes[i] == NULL)
            return -1;
    }
    return 0;
}

int schema_compile_members(struct schema_compiler *compiler, struct schema_rule *rule)
{
    if (!json_is_object(rule->arg))
        return schema_compile_fault(compiler, "must be a table of names, each with a schema");
    if (make_nodes(compiler, rule, json_object_size(rule->arg)) != 0)
        return -1;
    unsigned i = 0;
    for (void *it = schema_first(rule->arg); it != NULL; it = schema_next(rule->arg, it), i++) {
        rule->nodes[i] = compile_at(compiler, json_object_iter_value(it),
                                    (struct schema_place){.name = schema_key(it)});
        if (rule->nodes[i] == NULL)
            return -1;
    }
    return 0;
}

int schema_compile_beside(struct schema_compiler *compiler, const char *name,
                          struct schema_node **out)
{
    const json_t *source = json_object_get(compiler->node->source, name);
    struct schema_place place = {compiler->place->up, str_from(name), 0};
    const struct schema_place *here = compiler->place;
    if (source == NULL)
        return 0;
    compiler->place = &place;
    *out = compile_node(compiler, source);
    compiler->place = here;
    return *out != NULL ? 0 : -1;
}

struct schema_regex *schema_compile_pattern(struct schema_compiler *compiler, struct str pattern)
{
    struct schema *schema = compiler->schema;
    char why[160];
    struct schema_regex *regex = schema_regex_new(pattern, why, sizeof(why));
    if (regex == NULL && errno == ENOMEM) {
        schema_compile_no_memory(compiler);
    } else if (regex == NULL) {
        schema_compile_fault(compiler, "'%.*s' is no regular expression: %s", STR_ARG(pattern),
                             why);
    } else if (arena_defer(&schema->arena, (void (*)(void *))schema_regex_free, regex) != 0) {
        schema_regex_free(regex);
        regex = NULL;
        schema_compile_no_memory(compiler);
    } else {
        schema->pattern_bytes += schema_regex_size(regex);
    }
    return regex;
}

/* ---- references ---- */

int schema_compile_reference(struct schema_compiler *compiler, struct schema_rule *rule,
                             bool dynamic)
{
    if (!json_is_string(rule->arg))
        return schema_compile_fault(compiler, "must be a text, such as \"#/$defs/name\"");
    struct schema_reference *reference = schema_compile_alloc(compiler, sizeof(*reference));
    if (reference == NULL || make_nodes(compiler, rule, 1) != 0)
        return -1;
    *reference = (struct schema_reference){rule, compiler->resource, path_text(compiler), dynamic,
                                           compiler->references};
    compiler->references = reference;
    return reference->path.ptr != NULL ? 0 : -1;
}

#define META_URI "https://json-schema.org/draft/2020-12/schema"

/* The schema of schemas, which is part of the program. */
static struct schema_resource *load_meta(struct schema_compiler *compiler)
{
    const struct embedded_file *file = embedded_find("share/schema-2020-12.json");
    struct schema *schema = compiler->schema;
    schema->meta = strict_json_watched((struct str){file->data, file->len}, 0, NULL);
    struct schema_resource *resource = add_resource(compiler, STR(META_URI));
    if (schema->meta == NULL)
        schema_compile_no_memory(compiler);
    if (resource == NULL || schema->meta == NULL)
        return NULL;
    compiler->resource = resource;
    return compile_node(compiler, schema->meta) != NULL ? resource : NULL;
}

static struct schema_node *node_of(const struct schema *schema, const json_t *source)
{
    struct schema_node *node = json_is_object(source) ? schema->nodes : NULL;
    while (node != NULL && node->source != source)
        node = node->next;
    return node;
}

/* "~1" is "/", "~0" is "~"; in place. */
static struct str unescape(char *text, size_t len)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        bool escaped = text[i] == '~' && i + 1 < len && (text[i + 1] == '0' || text[i + 1] == '1');
        text[out++] = !escaped ? text[i] : text[i + 1] == '0' ? '~' : '/';
        i += escaped;
    }
    return (struct str){text, out};
}

static const json_t *step_into(const json_t *value, struct str name)
{
    uint64_t index;
    if (json_is_object(value))
        return json_object_getn(value, name.ptr, name.len);
    if (json_is_array(value) && str_to_u64(name, LIMIT_SCHEMA_BYTES, &index) == 0)
        return json_array_get(value, (size_t)index);
    return NULL;
}

/* Follows the pointer; what it leads to may be a schema in a place that no keyword knows. */
static struct schema_node *follow_pointer(struct schema_compiler *compiler,
                                          struct schema_resource *resource, struct str pointer)
{
    const json_t *at = resource->root->source;
    struct str rest = str_skip(pointer, 1), name;
    compiler->resource = resource;
    while (at != NULL && str_split_next(&rest, '/', &name)) {
        at = step_into(at, unescape((char *)(uintptr_t)name.ptr, name.len));
        const struct schema_node *node = node_of(compiler->schema, at);
        if (node != NULL)
            compiler->resource = node->resource;
    }
    struct schema_node *known = node_of(compiler->schema, at);
    if (known != NULL)
        return known;
    return at != NULL ? compile_node(compiler, at) : NULL;
}

static struct schema_node *find_target(struct schema_compiler *compiler,
                                       const struct schema_reference *reference)
{
    struct arena *arena = &compiler->schema->arena;
    struct str fragment, text = schema_string(reference->rule->arg);
    struct str uri =
        checked(compiler, schema_uri_resolve(arena, reference->resource->uri, text, &fragment));
    if (uri.ptr == NULL)
        return NULL;
    struct schema_resource *resource = find_resource(compiler->schema, uri);
    if (resource == NULL && str_eq(uri, STR(META_URI)))
        resource = load_meta(compiler);
    else if (resource == NULL)
        schema_compile_fault(compiler,
                             "'%.*s' is no part of this schema, and others are not fetched",
                             STR_ARG(text));
    if (resource == NULL || fragment.len == 0)
        return resource != NULL ? resource->root : NULL;
    fragment = checked(compiler, schema_uri_decode(arena, fragment));
    if (fragment.ptr == NULL)
        return NULL;
    if (fragment.ptr[0] == '/')
        return follow_pointer(compiler, resource, fragment);
    const struct schema_anchor *anchor = find_anchor(resource, fragment);
    if (anchor != NULL && anchor->dynamic && reference->dynamic)
        reference->rule->anchor = anchor->name;
    return anchor != NULL ? anchor->node : NULL;
}

static int follow_references(struct schema_compiler *compiler)
{
    while (compiler->references != NULL) {
        struct schema_reference *reference = compiler->references;
        compiler->references = reference->next;
        compiler->path = reference->path;
        struct schema_node *target = find_target(compiler, reference);
        if (target == NULL)
            return schema_compile_fault(compiler, "'%.*s' leads nowhere in this schema",
                                        STR_ARG(schema_string(reference->rule->arg)));
        reference->rule->nodes[0] = target;
    }
    return 0;
}

/* ---- circles ---- */

static int find_circle(struct schema_compiler *compiler, struct schema_node *node)
{
    compiler->path = node->path;
    if (node->walking)
        return schema_compile_fault(
            compiler, "refers to itself about the same value, so that no check would end");
    if (node->walked)
        return 0;
    if (++compiler->depth > LIMIT_SCHEMA_NESTING)
        return schema_compile_fault(compiler, "refers on more than %d times in a row",
                                    LIMIT_SCHEMA_NESTING);
    int rc = 0;
    node->walking = true;
    for (unsigned i = 0; i < node->rule_count; i++) {
        const struct schema_rule *rule = &node->rules[i];
        for (unsigned k = 0; rc == 0 && rule->keyword->in_place && k < rule->count; k++)
            rc = rule->nodes[k] != NULL ? find_circle(compiler, rule->nodes[k]) : 0;
    }
    node->walking = false;
    node->walked = true;
    compiler->depth--;
    return rc;
}

int schema_compile(struct schema *schema, const struct schema_keyword *keywords,
                   struct schema_fault *fault)
{
    struct schema_place top = {NULL, {NULL, 0}, 0};
    struct schema_compiler compiler = {
        .schema = schema, .fault = fault, .keywords = keywords, .place = &top};
    compiler.resource = add_resource(&compiler, STR(""));
    if (compiler.resource != NULL)
        schema->root = compile_node(&compiler, schema->source);
    compiler.place = NULL;
    int rc = schema->root != NULL ? follow_references(&compiler) : -1;
    for (struct schema_node *node = schema->nodes; rc == 0 && node != NULL; node = node->next) {
        compiler.depth = 0;
        rc = find_circle(&compiler, node);
    }
    return rc != 0 ? compiler.code : 0;
}
