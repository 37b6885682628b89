/* Any bytes as a form, whose parts lie within it, and as the data of a part, which comes back
 * whole. */
#include "fuzz.h"
#include "http/multipart.h"

#define HEAD "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"

static void check_inside(struct str all, struct str part)
{
    require(part.ptr == NULL || (part.ptr >= all.ptr && part.ptr + part.len <= all.ptr + all.len),
            "within the body");
}

static void check_any(struct str body)
{
    struct multipart_part part;
    struct str rest;
    if (!multipart_begin(body, STR("b"), &rest))
        return;
    for (size_t i = 0; multipart_next(&rest, STR("b"), &part) == 1; i++) {
        require(i < body.len && part.name.ptr != NULL, "it ends");
        check_inside(body, part.name);
        check_inside(body, part.filename);
        check_inside(body, part.type);
        check_inside(body, part.data);
    }
}

static void check_data(struct arena *arena, struct str data)
{
    struct multipart_part part;
    struct str rest, body = arena_printf(arena, HEAD "%.*s\r\n--b--", STR_ARG(data));
    require(multipart_begin(body, STR("b"), &rest), "a form");
    require(multipart_next(&rest, STR("b"), &part) == 1, "a part");
    require(str_eq(part.data, data) && str_eq(part.name, STR("a")), "as it was put in");
    require(multipart_next(&rest, STR("b"), &part) == 0, "and no other");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct str input = whole_input(data, size), boundary;
    arena_init(&arena);
    check_any(input);
    (void)multipart_boundary(input, &boundary);
    if (memchr(input.ptr, '\0', input.len) == NULL &&
        str_find_text(input, STR("\r\n--b")) == input.len && !str_starts_with(input, STR("--b")))
        check_data(&arena, input);
    arena_free(&arena);
    return 0;
}
