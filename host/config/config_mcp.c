/* mcp = { path = "/mcp", name =, version =, instructions =, list = "all" } */
#include "config/config_mcp.h"

static int read_path(struct options_reader *r, struct str *path)
{
    options_str(r, "path", path);
    bool plain = path->len > 1 && path->ptr[0] == '/' && !str_ends_with(*path, STR("/")) &&
                 str_find_text(*path, STR("/:")) == path->len &&
                 str_find(*path, '*') == path->len && str_find(*path, '?') == path->len &&
                 str_find_text(*path, STR("//")) == path->len;
    return r->rc != 0 || plain ? r->rc
                               : options_fault(r, "path",
                                               "'%.*s' must be a path without parameters, such as "
                                               "\"/mcp\"",
                                               STR_ARG(*path));
}

static int read_list(struct options_reader *r, bool *all)
{
    struct str list = {NULL, 0};
    options_str(r, "list", &list);
    *all = str_eq(list, STR("all"));
    return r->rc != 0 || list.ptr == NULL || *all
               ? r->rc
               : options_fault(r, "list",
                               "must be \"all\"; without it a caller sees what he may call");
}

int config_read_mcp(struct options_reader *r, struct config *config)
{
    static const char *const keys[] = {"path", "name", "version", "instructions", "list", NULL};
    struct mcp_spec *mcp = &config->mcp;
    *mcp =
        (struct mcp_spec){.path = STR("/mcp"), .name = STR("luafn"), .version = STR(LUAFN_VERSION)};
    if (!options_get(r, "mcp"))
        return r->rc;
    if (!lua_istable(r->L, -1))
        return options_fault(r, "mcp",
                             "must be a table such as { path = \"/mcp\", name = \"shows\" }");
    mcp->given = true;
    size_t before = options_enter(r, "mcp", 0);
    options_check_keys(r, keys);
    read_path(r, &mcp->path);
    options_str(r, "name", &mcp->name);
    options_str(r, "version", &mcp->version);
    options_str(r, "instructions", &mcp->instructions);
    read_list(r, &mcp->list_all);
    options_leave(r, before);
    lua_pop(r->L, 1);
    return r->rc;
}
