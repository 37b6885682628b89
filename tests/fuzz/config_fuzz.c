/* Any text as functions.lua: a configuration, or one line that says why not. */
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config.h"
#include "fuzz.h"
#include "lua/budget.h"

static char folder[] = "/tmp/luafn-fuzz-XXXXXX";
static char file[64], script[64];

static void tidy(void)
{
    unlink(file);
    unlink(script);
    rmdir(folder);
}

static void put(const char *path, struct str text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len, "a file to write");
    close(fd);
}

static void set_up(void)
{
    require(budget_start() == 0, "a timer, which ends endless loops");
    require(mkdtemp(folder) != NULL, "a folder");
    snprintf(file, sizeof(file), "%s/functions.lua", folder);
    snprintf(script, sizeof(script), "%s/a.lua", folder);
    put(script, STR("return function() end"));
    atexit(tidy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (file[0] == '\0')
        set_up();
    put(file, whole_input(data, size));
    struct err err = {""};
    struct config_options options = {.file = file, .dev = size % 2 == 1};
    struct config *config = config_load(&options, &err);
    require(config != NULL || err.text[0] != '\0', "a reason");
    config_free(config);
    return 0;
}
