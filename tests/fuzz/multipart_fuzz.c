/* Any bytes as a form, whole and cut in two: the same events. And as the data of a part, which
 * comes back whole. */
#include "fuzz.h"
#include "base/buf.h"
#include "http/multipart.h"

#define HEAD "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"

static enum multipart_event feed(struct multipart_reader *r, struct str bytes, struct buf *out)
{
    enum multipart_event event;
    while ((event = multipart_feed(r, &bytes)) == MULTIPART_PART || event == MULTIPART_DATA) {
        if (event == MULTIPART_PART) {
            buf_add_str(out, STR("\nPART "));
            buf_add_str(out, r->part.name);
            buf_add_str(out, r->part.filename.ptr != NULL ? r->part.filename : STR("-"));
            buf_add_str(out, r->part.type.ptr != NULL ? r->part.type : STR("-"));
        } else {
            require(r->data.len > 0, "data is some");
            buf_add_str(out, r->data);
        }
    }
    require(event == MULTIPART_FAULT || bytes.len == 0, "all is used");
    return event;
}

/* In two pieces that lie alone, so that a read behind them is seen. */
static void check_cut(struct str body, size_t cut, struct str said, enum multipart_event end)
{
    struct multipart_reader r;
    struct buf out = BUF_INIT;
    const struct str parts[] = {{body.ptr, cut}, str_skip(body, cut)};
    enum multipart_event event = MULTIPART_MORE;
    multipart_init(&r, STR("b"));
    for (size_t i = 0; i < 2; i++) {
        char *copy = malloc(parts[i].len > 0 ? parts[i].len : 1);
        memcpy(copy, parts[i].ptr, parts[i].len);
        event = feed(&r, (struct str){copy, parts[i].len}, &out);
        free(copy);
    }
    require(event == end && str_eq(buf_str(&out), said), "however it is cut");
    buf_free(&out);
}

static void check_any(struct str body)
{
    struct multipart_reader r;
    struct buf out = BUF_INIT;
    multipart_init(&r, STR("b"));
    enum multipart_event end = feed(&r, body, &out);
    size_t step = body.len / 64 + 1;
    for (size_t cut = 0; cut <= body.len; cut += step)
        check_cut(body, cut, buf_str(&out), end);
    buf_free(&out);
}

static void check_data(struct arena *arena, struct str data)
{
    struct multipart_reader r;
    struct str body = arena_printf(arena, HEAD "%.*s\r\n--b--", STR_ARG(data));
    multipart_init(&r, STR("b"));
    require(multipart_feed(&r, &body) == MULTIPART_PART, "a part");
    require(str_eq(r.part.name, STR("a")), "of that name");
    if (data.len > 0)
        require(multipart_feed(&r, &body) == MULTIPART_DATA && str_eq(r.data, data),
                "as it was put in");
    require(multipart_feed(&r, &body) == MULTIPART_END, "and no other");
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
