/* Names of methods. */
#include "http/request.h"

#include <errno.h>

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
