/* The dev issuer's keys. */
#include "cli/dev_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "cli/cli.h"
#include "json/dump.h"
#include "lua/script.h"

static const char NEXT[] = "next";

/* The file's name without a folder: of the key for `alg`, or of that RS256 key which is `which`. */
static int file_name(char *out, size_t size, const char *folder, enum alg alg, const char *which)
{
    if (which == NULL && alg != ALG_RS256)
        which = alg_name(alg);
    return which == NULL ? snprintf(out, size, "%s/dev-key.pem", folder)
                         : snprintf(out, size, "%s/dev-key-%s.pem", folder, which);
}

/* The name of the key's file. False when there is no folder to keep it in. */
static bool find_file(const char *config_file, enum alg alg, const char *which, char *path,
                      size_t size)
{
    char folder[4096];
    if (cli_state_folder(config_file, NULL, folder, sizeof(folder)) != 0)
        return false;
    int len = file_name(path, size, folder, alg, which);
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
    if (rc == 0)
        rc = file_create(path, buf_str(&pem), 0600);
    buf_free(&pem);
    return rc;
}

static int make_key(const char *path, enum alg alg, struct key **out, struct err *err)
{
    int rc = key_generate(alg, out, err);
    if (rc != 0 || path == NULL)
        return rc;
    (void)unlink(path); /* what is there is no key of use */
    rc = write_key(path, *out);
    if (rc != 0)
        log_message(LOG_WARN,
                    "the dev issuer's key cannot be kept in %s: %s; the next start makes another",
                    path, strerror(-rc));
    return 0;
}

static int set_kid(struct key *key, struct err *err)
{
    struct buf kid = BUF_INIT;
    int rc = jwk_write_thumbprint(key, &kid);
    if (rc == 0)
        key_set_kid(key, buf_str(&kid));
    buf_free(&kid);
    return rc == 0 ? 0 : err_set(err, rc, "out of memory");
}

static int get(const char *config_file, enum alg alg, const char *which, struct key **out,
               struct err *err)
{
    char path[4096 + 32];
    bool kept = find_file(config_file, alg, which, path, sizeof(path));
    int rc = kept ? read_key(path, alg, out) : -ENOENT;
    if (rc != 0)
        rc = make_key(kept ? path : NULL, alg, out, err);
    if (rc == 0)
        rc = set_kid(*out, err);
    if (rc != 0)
        key_unref(*out);
    return rc;
}

int dev_key_get(const char *config_file, enum alg alg, struct key **out, struct err *err)
{
    return get(config_file, alg, NULL, out, err);
}

int dev_key_get_next(const char *config_file, struct key **out, struct err *err)
{
    return get(config_file, ALG_RS256, NEXT, out, err);
}

static int add_public(const char *path, enum alg alg, json_t *keys)
{
    struct key *key = NULL;
    if (access(path, R_OK) != 0 || read_key(path, alg, &key) != 0)
        return 0;
    int rc = set_kid(key, NULL);
    if (rc == 0 && json_array_append_new(keys, jwk_write_key(key, alg)) != 0)
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
        if (find_file(config_file, (enum alg)alg, NULL, path, sizeof(path)))
            rc = add_public(path, (enum alg)alg, keys);
        if (rc == 0 && alg == ALG_RS256 &&
            find_file(config_file, ALG_RS256, NEXT, path, sizeof(path)))
            rc = add_public(path, ALG_RS256, keys);
    }
    buf_add_str(out, STR("{\"keys\":"));
    if (rc == 0)
        dump_json(out, keys, JSON_COMPACT);
    buf_add_str(out, STR("}\n"));
    json_decref(keys);
    return rc != 0 || buf_failed(out) ? -ENOMEM : 0;
}
