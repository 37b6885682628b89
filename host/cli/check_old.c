/* Finding, or unpacking, a deployment as it was. */
#include "cli/check_old.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cli/cli.h"

extern char **environ;

/* Of the folder $1, its part of the revision $2, into $3. What git does not have is taken as it is.
 */
static const char UNPACK[] =
    "cd \"$1\" && git rev-parse --verify --quiet \"$2^{commit}\" >/dev/null || exit 9\n"
    "git archive --format=tar -o \"$3/.luafn-old.tar\" \"$2\" || exit 8\n"
    "tar -xf \"$3/.luafn-old.tar\" -C \"$3\" && rm \"$3/.luafn-old.tar\" || exit 8\n"
    "for name in .env .env.local .env.development .env.development.local lua_modules; do\n"
    "  if [ -e \"$name\" ] && [ ! -e \"$3/$name\" ]; then ln -s \"$(pwd -P)/$name\" \"$3/$name\"; fi\n"
    "done\n";

/* Its exit status, or -1. */
static int run(const char *const *argv)
{
    pid_t pid;
    int status = 0;
    if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ) != 0)
        return -1;
    while (waitpid(pid, &status, 0) == -1)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int unpack(const char *old, const char *folder, struct check_old *out)
{
    const char *base = getenv("TMPDIR");
    snprintf(out->folder, sizeof(out->folder), "%s/luafn-diff-XXXXXX",
             base != NULL && base[0] != '\0' ? base : "/tmp");
    if (mkdtemp(out->folder) == NULL) {
        int error = errno;
        out->folder[0] = '\0';
        return cli_fault("no folder for the files of '%s' can be made: %s", old, strerror(error));
    }
    const char *const argv[] = {"sh", "-c", UNPACK, "sh", folder, old, out->folder, NULL};
    int status = run(argv);
    if (status == 9)
        return cli_fault("'%s' is no folder, and no revision that git knows in %s", old, folder);
    return status == 0 ? 0 : cli_fault("the files of '%s' cannot be had from git", old);
}

int check_old_open(const char *old, const char *config_file, struct check_old *out)
{
    struct stat st;
    const char *slash = strrchr(config_file, '/');
    const char *name = slash != NULL ? slash + 1 : config_file;
    char folder[4096];
    *out = (struct check_old){.folder = ""};
    snprintf(folder, sizeof(folder), "%.*s",
             slash == NULL          ? 1
             : slash == config_file ? 1
                                    : (int)(slash - config_file),
             slash == NULL ? "." : config_file);
    const char *from = old;
    int rc = 0;
    if (stat(old, &st) != 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))) {
        rc = unpack(old, folder, out);
        from = out->folder;
    } else if (S_ISREG(st.st_mode)) {
        snprintf(out->config, sizeof(out->config), "%s", old);
        return 0;
    }
    if (rc != 0) {
        check_old_close(out);
        return rc;
    }
    int len = snprintf(out->config, sizeof(out->config), "%s/%s", from, name);
    if (len < 0 || (size_t)len >= sizeof(out->config))
        rc = cli_fault("'%s' is too long a name", old);
    return rc;
}

void check_old_close(const struct check_old *old)
{
    const char *const argv[] = {"rm", "-rf", "--", old->folder, NULL};
    if (old->folder[0] != '\0')
        (void)run(argv);
}
