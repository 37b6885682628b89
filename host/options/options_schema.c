/* Reading JSON Schemas from option tables. */
#include <errno.h>
#include <stdio.h>

#include "lua/tree.h"
#include "options/options.h"
#include "schema/schema.h"

/* A JSON Pointer as faults name members: "/properties/age" is "input.properties.age", "/allOf/1" is
 * "input.allOf[2]". */
static void write_path(char *out, size_t size, const char *key, const char *pointer)
{
    size_t used = (size_t)snprintf(out, size, "%s", key);
    struct str rest = str_from(pointer), name;
    if (rest.len > 0)
        rest = str_skip(rest, 1);
    else
        rest.ptr = NULL;
    while (str_split_next(&rest, '/', &name) && used < size) {
        uint64_t index;
        bool is_index = str_to_u64(name, 1000000, &index) == 0;
        int len = is_index ? snprintf(out + used, size - used, "[%u]", (unsigned)index + 1)
                           : snprintf(out + used, size - used, ".%.*s", STR_ARG(name));
        used += (size_t)len;
    }
}

static int compile(struct options_reader *r, const char *key, const json_t *source,
                   const struct schema **out)
{
    struct schema_fault fault;
    char path[256];
    struct schema *schema = schema_new(source, &fault);
    if (schema == NULL && errno == ENOMEM)
        return options_no_memory(r);
    if (schema == NULL) {
        write_path(path, sizeof(path), key, fault.path);
        return options_fault(r, path, "%s", fault.text);
    }
    if (arena_defer(r->arena, (void (*)(void *))schema_free, schema) != 0) {
        schema_free(schema);
        return options_no_memory(r);
    }
    *out = schema;
    return 0;
}

int options_schema(struct options_reader *r, const char *key, const struct schema **out)
{
    struct tree_fault fault;
    char path[256];
    if (!options_get(r, key))
        return r->rc;
    json_t *source = tree_read(r->L, -1, &fault);
    lua_pop(r->L, 1);
    if (source == NULL && errno == ENOMEM)
        return options_no_memory(r);
    if (source == NULL) {
        write_path(path, sizeof(path), key, fault.path);
        return options_fault(r, path, "%s", fault.text);
    }
    int rc = compile(r, key, source, out);
    json_decref(source);
    return rc;
}
