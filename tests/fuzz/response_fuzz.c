/* Status, fields and texts of any kind: one head with one end, framing that nobody can add to, and
 * an error that is JSON. */
#include <jansson.h>

#include "fuzz.h"
#include "http/response.h"

static const char *line_end(const char *p, const char *end)
{
    for (; p + 1 < end; p++) {
        if (p[0] == '\r' || p[0] == '\n')
            return p;
    }
    return NULL;
}

struct seen {
    unsigned lengths, codings, dates;
};

static void check_field(struct str line, struct seen *seen)
{
    size_t colon = str_find(line, ':');
    struct str name = {line.ptr, colon};
    require(header_name_is_valid(name) && colon < line.len, "a field's name");
    require(header_value_is_valid(str_skip(line, colon + 1)), "a field's value");
    seen->lengths += str_eq_nocase(name, STR("content-length"));
    seen->codings += str_eq_nocase(name, STR("transfer-encoding"));
    seen->dates += str_eq_nocase(name, STR("date"));
}

static void check_head(const struct response *res, int version, struct str head)
{
    const char *p = head.ptr, *end = head.ptr + head.len, *eol;
    struct seen seen = {0};
    require(str_starts_with(head, STR("HTTP/1.1 ")), "a status line");
    for (bool first = true; (eol = line_end(p, end)) != NULL && eol > p; first = false) {
        require(eol[0] == '\r' && eol[1] == '\n', "CR LF");
        if (!first)
            check_field((struct str){p, (size_t)(eol - p)}, &seen);
        p = eol + 2;
    }
    require(p + 2 == end && memcmp(p, "\r\n", 2) == 0, "one empty line, at the end");
    bool body = response_has_body(res->status);
    require(seen.dates == 1, "one date");
    require(seen.codings == (res->streamed && body && version > 0 ? 1u : 0u), "chunked");
    require(seen.lengths <= (res->streamed ? 0u : 1u), "one length");
    require(seen.lengths == 1 || res->streamed || !body, "a length");
}

static void check_error(struct arena *arena, struct str text)
{
    struct response res = {0};
    require(response_set_error(&res, arena, 400, STR("code"), text) == 0, "memory");
    json_t *json =
        json_loadb(res.body.ptr, res.body.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    require(json_is_object(json) && json_object_size(json) == 2, "an object");
    require(json_is_string(json_object_get(json, "error_description")), "a text");
    json_decref(json);
    require_sendable(&res.headers);
}

/* First line: a byte of flags, the status. Then fields, `name: value`. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    struct arena arena;
    arena_init(&arena);
    struct str rest = whole_input(data + 4, size - 4), line;
    struct response res = {.status = (int16_t)(data[1] | data[2] << 8),
                           .close = (data[0] & 1) != 0};
    struct request req = {.version_minor = (data[0] & 2) != 0, .method = data[3] % METHOD_COUNT};
    res.streamed = (data[0] & 4) != 0;
    check_error(&arena, rest);
    while ((line = next_line(&rest)).len > 0) {
        size_t colon = str_find(line, ':');
        struct str name = {line.ptr, colon};
        struct str value = colon < line.len ? str_trim(str_skip(line, colon + 1)) : STR("");
        if (header_name_is_valid(name) && header_value_is_valid(value))
            require(headers_add(&res.headers, &arena, name, value) == 0, "memory");
    }
    res.body = rest.ptr != NULL ? rest : STR("");
    struct buf out = BUF_INIT;
    response_mend(&res, &arena);
    response_write_head(&res, &req, (data[0] & 8) != 0, &out);
    check_head(&res, req.version_minor, buf_str(&out));
    buf_free(&out);
    arena_free(&arena);
    return 0;
}
