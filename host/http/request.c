/* Names of methods, and requests that are made by hand. */
#include "http/request.h"

#include <errno.h>

#include "http/target.h"

static const struct str names[METHOD_COUNT] = {
    [METHOD_GET] = {"GET", 3},         [METHOD_HEAD] = {"HEAD", 4},
    [METHOD_POST] = {"POST", 4},       [METHOD_PUT] = {"PUT", 3},
    [METHOD_PATCH] = {"PATCH", 5},     [METHOD_DELETE] = {"DELETE", 6},
    [METHOD_OPTIONS] = {"OPTIONS", 7},
};

const char *request_method_name(enum http_method method)
{
    return (unsigned)method < METHOD_COUNT ? names[method].ptr : "";
}

int request_method_parse(struct str name, enum http_method *out)
{
    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        if (str_eq(names[i], name)) {
            *out = (enum http_method)i;
            return 0;
        }
    }
    return -EINVAL;
}

int request_normalize_path(const struct request *req, struct arena *arena, struct str *out)
{
    struct request_note *note = request_note_of(req, req->path);
    if (note != NULL && note->path.ptr == req->path.ptr && note->path.len == req->path.len) {
        *out = req->path;
        return 0;
    }
    int rc = target_normalize_path(arena, req->path, out);
    if (rc == 0 && note != NULL && out->ptr == req->path.ptr)
        note->path = *out;
    return rc;
}

/* ---- made by hand ---- */

static int out_of_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "out of memory");
}

int request_set_target(struct request *req, struct arena *arena, struct str target, struct err *err)
{
    for (size_t i = 0; i < target.len; i++) {
        if ((unsigned char)target.ptr[i] <= ' ' || target.ptr[i] == 127 || target.ptr[i] == '#')
            return err_set(err, -EINVAL,
                           "the path '%.*s' has a character that must be written "
                           "%%%02X",
                           STR_ARG(target), (unsigned char)target.ptr[i]);
    }
    if (target.len == 0 || target.ptr[0] != '/')
        return err_set(err, -EINVAL, "the path '%.*s' does not begin with '/'", STR_ARG(target));
    req->target = arena_copy(arena, target);
    if (req->target.ptr == NULL)
        return out_of_memory(err);
    size_t mark = str_find(req->target, '?');
    req->path = (struct str){req->target.ptr, mark};
    req->query = mark < target.len ? str_skip(req->target, mark + 1) : (struct str){NULL, 0};
    return 0;
}

int request_add_header(struct request *req, struct arena *arena, struct str name, struct str value,
                       struct err *err)
{
    value = str_trim(value);
    if (!header_name_is_valid(name))
        return err_set(err, -EINVAL, "'%.*s' is no header's name", STR_ARG(name));
    if (!header_value_is_valid(value))
        return err_set(err, -EINVAL, "the value of the header '%.*s' cannot be sent",
                       STR_ARG(name));
    name = arena_lower(arena, name);
    struct str copy = arena_copy(arena, value);
    if (name.ptr == NULL || copy.ptr == NULL)
        return out_of_memory(err);
    return headers_add(&req->headers, arena, name, copy) == 0 ? 0 : out_of_memory(err);
}
