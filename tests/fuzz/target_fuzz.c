/* Any bytes as a path and as a query: one normal form, out of which no second decoding leads. */
#include <errno.h>

#include "fuzz.h"
#include "http/target.h"

static void check_normal(struct arena *arena, struct str path)
{
    struct str again, rest = path, segment;
    require(path.len > 0 && path.ptr[0] == '/', "it begins with '/'");
    require(target_normalize_path(arena, path, &again) == 0 && str_eq(path, again),
            "it stays as it is");
    while (str_split_next(&rest, '/', &segment)) {
        struct str name = target_percent_decode(arena, segment, false);
        require(!str_eq(name, STR(".")) && !str_eq(name, STR("..")), "no dot segments");
        require(str_find(name, '/') == name.len && str_find(name, '\\') == name.len,
                "no separator");
        require(strlen(name.ptr) == name.len, "no NUL");
        require(str_is_utf8(name), "text");
    }
}

static void check_query(struct arena *arena, struct str query)
{
    struct query_pair *pairs = NULL;
    int count = target_parse_query(arena, query, &pairs);
    size_t bytes = 0;
    require(count >= 0, "pairs");
    for (int i = 0; i < count; i++)
        bytes += pairs[i].name.len + pairs[i].value.len + 1;
    require(bytes <= query.len + 1, "no longer than they were");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct str input = whole_input(data, size), path;
    arena_init(&arena);
    int rc = target_normalize_path(&arena, input, &path);
    require(rc == 0 || rc == -EINVAL, "a verdict");
    if (rc == 0)
        check_normal(&arena, path);
    check_query(&arena, input);
    arena_free(&arena);
    return 0;
}
