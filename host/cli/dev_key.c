/* The dev issuer's keys. */
#include "cli/dev_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "run/script.h"

/* The name of the key's file. False when there is no folder to keep it in. */
static bool find_file(const char *config_file, enum alg alg, char *path, size_t size)
{
    char folder[4096];
    if (cli_state_folder(config_file, NULL, folder, sizeof(folder)) != 0)
        return false;
    int len = alg == ALG_RS256 ? snprintf(path, size, "%s/dev-key.pem", folder)
                               : snprintf(path, size, "%s/dev-key-%s.pem", folder, alg_name(alg));
    return len > 0 && (size_t)len < size;
}

static int read_key(const char *path, enum alg alg, struct key **out)
{
    struct buf pem = BUF_INIT;
    int rc = script_read(path, &pem, NULL);
    if (rc == 0)
        rc = key_from_pem(buf_str(&pem), out, NULL);
    buf_free(&pem);
    if (rc == 0 && !(key_can_sign(*out) && key_fits(*out, alg))) {
        key_unref(*out);
        *out = NULL;
        rc = -EINVAL;
    }
    return rc;
}

static int write_key(const char *path, const struct key *key)
{
    struct buf pem = BUF_INIT;
    int rc = key_to_pem(key, &pem);
    int fd = rc == 0 ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (rc == 0 && fd == -1)
        rc = -errno;
    if (fd != -1) {
        ssize_t n = write(fd, pem.data, pem.len);
        rc = close(fd) == 0 && n == (ssize_t)pem.len ? 0 : -EIO;
    }
    buf_free(&pem);
    return rc;
}

static int make_key(const char *path, enum alg alg, struct key **out, struct err *err)
{
    int rc = key_generate(alg, out, err);
    if (rc != 0 || path == NULL)
        return rc;
    (void)unlink(path); /* what is there is no key of use */
    if (write_key(path, *out) != 0)
        log_message(LOG_WARN, "the dev issuer's key cannot be kept in %s", path);
    return 0;
}

static int set_kid(struct key *key, struct err *err)
{
    struct buf kid = BUF_INIT;
    int rc = key_thumbprint(key, &kid);
    if (rc == 0)
        key_set_kid(key, buf_str(&kid));
    buf_free(&kid);
    return rc == 0 ? 0 : err_set(err, rc, "out of memory");
}

int dev_key_get(const char *config_file, enum alg alg, struct key **out, struct err *err)
{
    char path[4096 + 32];
    bool kept = find_file(config_file, alg, path, sizeof(path));
    int rc = kept ? read_key(path, alg, out) : -ENOENT;
    if (rc != 0)
        rc = make_key(kept ? path : NULL, alg, out, err);
    if (rc == 0)
        rc = set_kid(*out, err);
    if (rc != 0)
        key_unref(*out);
    return rc;
}

static int add_public(const char *path, enum alg alg, json_t *keys)
{
    struct key *key = NULL;
    if (access(path, R_OK) != 0 || read_key(path, alg, &key) != 0)
        return 0;
    int rc = set_kid(key, NULL);
    if (rc == 0 && json_array_append_new(keys, key_to_jwk(key, alg)) != 0)
        rc = -ENOMEM;
    key_unref(key);
    return rc;
}

int dev_key_write_set(const char *config_file, struct buf *out)
{
    json_t *keys = json_array();
    int rc = keys != NULL ? 0 : -ENOMEM;
    for (unsigned alg = ALG_RS256; rc == 0 && alg < ALG_COUNT; alg++) {
        char path[4096 + 32];
        if (find_file(config_file, (enum alg)alg, path, sizeof(path)))
            rc = add_public(path, (enum alg)alg, keys);
    }
    char *text = rc == 0 ? json_dumps(keys, JSON_COMPACT) : NULL;
    json_decref(keys);
    if (text == NULL)
        return -ENOMEM;
    buf_printf(out, "{\"keys\":%s}\n", text);
    free(text);
    return buf_failed(out) ? -ENOMEM : 0;
}
