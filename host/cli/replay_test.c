/* A test is written, tried, and written again with less in it where it does not pass. */
#include "cli/replay_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/journal_view.h"
#include "lua/own_script.h"

enum { ID_SHOWN = 8 };

struct writing {
    struct str line;
    bool weak;
    char path[4096];
    struct buf text;
    char name[128], id[ID_SHOWN + 1]; /* of function and request */
};

/* stack: the script */
static void make(lua_State *L, void *arg)
{
    struct writing *w = arg;
    lua_pushlightuserdata(L, NULL);
    journal_view_push(L, w->line);
    lua_getfield(L, -1, "function");
    snprintf(w->name, sizeof(w->name), "%s", luaL_checkstring(L, -1));
    lua_getfield(L, -2, "id");
    size_t len;
    const char *id = luaL_checklstring(L, -1, &len);
    snprintf(w->id, sizeof(w->id), "%s", id + (len > ID_SHOWN ? len - ID_SHOWN : 0));
    lua_pop(L, 2);
    lua_pushboolean(L, w->weak);
    lua_call(L, 3, 1);
    struct str text;
    text.ptr = luaL_checklstring(L, -1, &text.len);
    buf_clear(&w->text);
    buf_add_str(&w->text, text);
}

/* A file name of what may be in a name. */
static void make_path(struct writing *w, struct str folder)
{
    str_lower(w->id, strlen(w->id));
    for (char *p = w->id; *p != '\0'; p++)
        *p = str_is_alnum(*p) ? *p : '_';
    for (char *p = w->name; *p != '\0'; p++)
        *p = str_is_alnum(*p) || *p == '-' || *p == '_' ? *p : '_';
    snprintf(w->path, sizeof(w->path), "%.*s/%s_%s_test.lua", STR_ARG(folder), w->name, w->id);
}

/* Does `luafn test` pass it? */
static bool passes(const char *config_file, const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
            _exit(EXIT_FAULT);
        execl("/proc/self/exe", "luafn", "test", path, "--config", config_file, (char *)NULL);
        _exit(EXIT_FAULT);
    }
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_GOOD;
}

static int write_one(struct writing *w, struct str folder)
{
    struct err err;
    if (own_script_run("share/record.lua", make, w, &err) != 0)
        return cli_fault("%s", err.text);
    make_path(w, folder);
    int rc = buf_failed(&w->text) ? -ENOMEM : file_create(w->path, buf_str(&w->text), 0666);
    return rc == 0 ? 0 : cli_fault("%s cannot be written: %s", w->path, strerror(-rc));
}

int replay_test_write(const char *config_file, struct str folder, struct str line)
{
    struct writing w = {.line = line, .text = BUF_INIT};
    int rc = write_one(&w, folder);
    if (rc == 0 && !passes(config_file, w.path)) {
        (void)unlink(w.path);
        w.weak = true;
        rc = write_one(&w, folder);
        if (rc == 0 && !passes(config_file, w.path)) {
            (void)unlink(w.path);
            rc = cli_fault(
                "what this request did cannot be said in a test: `luafn test` has another "
                "answer, whatever it is given");
        }
    }
    buf_free(&w.text);
    if (rc != 0)
        return rc;
    printf("wrote %s%s\n", w.path,
           w.weak ? ": it looks at the status alone, as the rest hangs on time or chance" : "");
    return cli_flush("replay");
}
