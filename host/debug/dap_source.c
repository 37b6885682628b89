/* Paths of the client, and names of sources in Lua: whose root the client has elsewhere, they are
 * what it finds below its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debug/dap_internal.h"

/* The rest of `path` below `folder`, without the slash between; ptr NULL: it is not below it. */
static struct str below(struct str path, struct str folder)
{
    while (folder.len > 0 && folder.ptr[folder.len - 1] == '/')
        folder.len--;
    if (!str_starts_with(path, folder) || path.len <= folder.len || path.ptr[folder.len] != '/')
        return (struct str){NULL, 0};
    return str_skip(path, folder.len + 1);
}

static bool join(struct str folder, struct str rest, char *out, size_t size)
{
    int len = snprintf(out, size, "%.*s/%.*s", STR_ARG(folder), STR_ARG(rest));
    return len > 0 && (size_t)len < size;
}

struct str dap_root(const struct dap *dap)
{
    return dap->place->options.root(dap->place->options.arg);
}

bool dap_find_source(const struct dap *dap, const char *path, char out[4096], const char **name)
{
    char real[4096], real_root[4096], root[4096];
    struct str rest = {NULL, 0};
    snprintf(root, sizeof(root), "%.*s", STR_ARG(dap_root(dap)));
    if (dap->local_root != NULL)
        rest = below(str_from(path), str_from(dap->local_root));
    if (rest.ptr == NULL || !join(str_from(dap->remote_root), rest, out, 4096))
        snprintf(out, 4096, "%s", path);
    rest = below(str_from(out), str_from(root));
    if (rest.ptr == NULL && realpath(out, real) != NULL && realpath(root, real_root) != NULL) {
        snprintf(out, 4096, "%s", real);
        rest = below(str_from(out), str_from(real_root));
    }
    const char *slash = strrchr(out, '/');
    *name = rest.ptr != NULL ? rest.ptr : slash != NULL ? slash + 1 : out;
    return **name != '\0';
}

json_t *dap_make_source(const struct dap *dap, const char *source)
{
    char path[4096], there[4096];
    if (*source != '@')
        return json_pack("{s:s}", "name", *source == '=' ? source + 1 : "(text)");
    const char *slash = strrchr(source, '/');
    const char *name = slash != NULL ? slash + 1 : source + 1;
    if (!join(dap_root(dap), str_from(source + 1), path, sizeof(path)))
        return json_pack("{s:s}", "name", name);
    struct str rest = dap->local_root != NULL ? below(str_from(path), str_from(dap->remote_root))
                                              : (struct str){NULL, 0};
    bool mapped = rest.ptr != NULL && join(str_from(dap->local_root), rest, there, sizeof(there));
    return json_pack("{s:s,s:s}", "name", name, "path", mapped ? there : path);
}
