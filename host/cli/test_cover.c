/* Which lines of the scripts have run. A hook counts them as they begin; share/cover.lua tells. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "lua/own_script.h"
#include "cli/test_internal.h"
#include "lua/budget.h"

struct cover_file {
    struct cover_file *next;
    char *name;     /* owned: as error messages show it */
    unsigned lines; /* in `hits`, from 0 */
    uint64_t *hits; /* owned */
};

static struct {
    const char *config_file;
    struct cover_file *files;
    struct cover_file *last; /* that the hook met */
    bool failed;             /* out of memory */
} cover;

/* ---- counting ---- */

static struct cover_file *add_file(const char *name)
{
    struct cover_file *file = calloc(1, sizeof(*file));
    char *copy = strdup(name);
    if (file == NULL || copy == NULL) {
        free(file);
        free(copy);
        return NULL;
    }
    file->name = copy;
    file->next = cover.files;
    cover.files = file;
    return file;
}

static struct cover_file *find_file(const char *name)
{
    if (cover.last != NULL && strcmp(cover.last->name, name) == 0)
        return cover.last;
    struct cover_file *file = cover.files;
    while (file != NULL && strcmp(file->name, name) != 0)
        file = file->next;
    return file != NULL ? file : add_file(name);
}

static bool has_line(struct cover_file *file, unsigned line)
{
    if (line < file->lines)
        return true;
    unsigned lines = line * 2;
    uint64_t *hits = realloc(file->hits, lines * sizeof(*hits));
    if (hits == NULL)
        return false;
    memset(hits + file->lines, 0, (lines - file->lines) * sizeof(*hits));
    file->hits = hits;
    file->lines = lines;
    return true;
}

static void on_line(lua_State *L, lua_Debug *ar)
{
    if (lua_getinfo(L, "Sl", ar) == 0 || ar->source[0] != '@' || ar->currentline <= 0)
        return;
    cover.last = find_file(ar->source + 1);
    if (cover.last != NULL && has_line(cover.last, (unsigned)ar->currentline))
        cover.last->hits[ar->currentline]++;
    else
        cover.failed = true;
}

void test_cover_open(const char *config_file)
{
    cover.config_file = config_file;
    budget_line_hook = on_line;
}

/* ---- telling ---- */

static void push_file(lua_State *L, const struct cover_file *file)
{
    lua_createtable(L, 0, 2);
    lua_pushstring(L, file->name);
    lua_setfield(L, -2, "name");
    lua_newtable(L);
    for (unsigned i = 1; i < file->lines; i++) {
        lua_pushinteger(L, (lua_Integer)file->hits[i]);
        if (file->hits[i] > 0)
            lua_rawseti(L, -2, i);
        else
            lua_pop(L, 1);
    }
    lua_setfield(L, -2, "hits");
}

/* stack: the script */
static void tell(lua_State *L, void *lcov_path)
{
    const char *slash = strrchr(cover.config_file, '/');
    const char *name = slash != NULL ? slash + 1 : cover.config_file;
    lua_newtable(L);
    for (const struct cover_file *file = cover.files; file != NULL; file = file->next) {
        push_file(L, file);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    lua_pushlstring(L, cover.config_file, (size_t)(name - cover.config_file));
    lua_pushstring(L, name);
    lua_pushstring(L, lcov_path);
    lua_call(L, 4, 0);
}

int test_cover_close(const char *lcov_path)
{
    struct err err;
    budget_line_hook = NULL;
    int rc = own_script_run("share/cover.lua", tell, (char *)(uintptr_t)lcov_path, &err);
    while (cover.files != NULL) {
        struct cover_file *file = cover.files;
        cover.files = file->next;
        free(file->name);
        free(file->hits);
        free(file);
    }
    cover.last = NULL;
    if (rc != 0)
        return cli_fault("%s", err.text);
    return cover.failed ? EXIT_FAULT : 0;
}
