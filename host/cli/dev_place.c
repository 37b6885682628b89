/* Where `luafn dev` was last started. */
#include "cli/dev_place.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"

#define USUAL "http://localhost:8888"

enum { ORIGIN_BYTES = 160 };

void dev_place_keep(const char *config_file, const char *issuer)
{
    char folder[4096], path[4096 + 32], next[4096 + 32];
    if (cli_state_folder(config_file, NULL, folder, sizeof(folder)) != 0)
        return;
    snprintf(path, sizeof(path), "%s/dev-issuer", folder);
    snprintf(next, sizeof(next), "%s/dev-issuer.new", folder);
    (void)unlink(next);
    if (file_create(next, str_from(issuer), 0644) == 0)
        (void)rename(next, path);
}

/* An http(s) URL of printable characters with a slash at its end, which is cut off. */
static bool is_origin(char *text, size_t len)
{
    struct str s = {text, len};
    if (!str_starts_with(s, STR("http://")) && !str_starts_with(s, STR("https://")))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    }
    bool whole = text[len - 1] == '/';
    text[len - 1] = '\0';
    return whole;
}

/* Looks without making the folder. */
static bool read_origin(const char *config_file, char *out)
{
    char path[4096 + 32];
    if (cli_state_path(config_file, "dev-issuer", path, sizeof(path)) != 0)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1)
        return false;
    ssize_t n = read(fd, out, ORIGIN_BYTES);
    (void)close(fd);
    return n > 0 && n < ORIGIN_BYTES && is_origin(out, (size_t)n);
}

const char *const *dev_place_defaults(const char *config_file)
{
    static char origin[ORIGIN_BYTES], issuer[ORIGIN_BYTES + 1], tv[ORIGIN_BYTES + 32];
    static const char *const list[] = {
        "JWT_ISSUER", issuer, "JWT_AUDIENCE", DEV_AUDIENCE, "TV_API_URL", tv, NULL};
    if (!read_origin(config_file, origin))
        memcpy(origin, USUAL, sizeof(USUAL));
    snprintf(issuer, sizeof(issuer), "%s/", origin);
    snprintf(tv, sizeof(tv), "%s/_luafn/dev/tv/shows", origin);
    return list;
}

struct str dev_place_issuer(const char *config_file)
{
    return str_from(dev_place_defaults(config_file)[1]);
}
