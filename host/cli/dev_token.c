/* Tokens that `dev` prints: who calls its tools, or debugs, brings one. */
#include "cli/dev_token.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/file.h"
#include "cli/cli.h"

enum { RAW_BYTES = 32, TOKEN_BYTES = 43 };

_Static_assert(sizeof(struct dev_token) > BASE64_ENCODED_MAX(RAW_BYTES), "a token fits");

static bool is_token(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!str_is_alnum(text.ptr[i]) && text.ptr[i] != '-' && text.ptr[i] != '_')
            return false;
    }
    return text.len == TOKEN_BYTES;
}

/* A file that others can read, or have written, is not gone on with. */
static bool read_kept(const char *path, char *token)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd == -1)
        return false;
    char text[TOKEN_BYTES + 2];
    bool own = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
               (st.st_mode & 077) == 0;
    ssize_t n = own ? read(fd, text, sizeof(text)) : 0;
    (void)close(fd);
    n -= n > 0 && text[n - 1] == '\n';
    if (n != TOKEN_BYTES || !is_token((struct str){text, TOKEN_BYTES}))
        return false;
    memcpy(token, text, TOKEN_BYTES);
    return true;
}

struct str dev_token_get(const char *config_file, const char *name, struct dev_token *out)
{
    char *token = out->text;
    char folder[4096], path[4096 + 32], next[4096 + 32], raw[RAW_BYTES];
    bool keeps = cli_state_folder(config_file, NULL, folder, sizeof(folder)) == 0;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    snprintf(next, sizeof(next), "%s/%s.new", folder, name);
    if (keeps && read_kept(path, token))
        return (struct str){token, TOKEN_BYTES};
    if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
        return STR("");
    struct str made = {token, base64_encode((struct str){raw, sizeof(raw)}, BASE64_URL, token)};
    if (keeps) {
        (void)unlink(next);
        if (file_create(next, made, 0600) == 0)
            (void)rename(next, path);
    }
    return made;
}
