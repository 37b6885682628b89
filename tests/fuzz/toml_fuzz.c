/* TOML: any bytes give a tree or a reason, and the tree keeps its own rules. */
#include <stdlib.h>

#include "base/limits.h"
#include "config/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Returns the number of values below. */
static unsigned walk(const struct toml *node, unsigned depth)
{
    unsigned count = 1;
    require(depth < 3 * LIMIT_TOML_DEPTH);
    for (const struct toml *item = node->first; item != NULL; item = item->next) {
        require(node->type == TOML_TABLE || node->type == TOML_ARRAY);
        require(item->next != NULL || node->last == item);
        if (node->type == TOML_TABLE)
            require(toml_get(node, item->key) == item);
        count += walk(item, depth + 1);
    }
    if (node->type == TOML_TEXT)
        require(str_is_utf8(node->text) && node->text.ptr[node->text.len] == '\0');
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct arena arena;
    struct err err = {""};
    arena_init(&arena);
    const struct toml *root = toml_parse(&arena, text, &err);
    if (root != NULL)
        require(walk(root, 0) <= LIMIT_TOML_NODES);
    else
        require(atoi(err.text) > 0);
    arena_free(&arena);
    return 0;
}
