/* The disk copy of an issuer's last good key set. */
#include "issuer/issuer_store.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/limits.h"
#include "json/strict.h"

/* A set grows by its escapes when it is put into a JSON string. */
enum { FILE_BYTES_MAX = 2 * LIMIT_JWKS_BYTES + 4096 };

/* Makes a folder and its parents, for this user alone. */
static void make_folder(const char *path)
{
    char part[4096];
    size_t len = strlen(path);
    if (len >= sizeof(part))
        return;
    for (size_t i = 1; i <= len; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            memcpy(part, path, i);
            part[i] = '\0';
            (void)mkdir(part, 0700); /* what could not be made shows when the file is written */
        }
    }
}

int issuer_store_init(struct issuer_store *store, const char *folder, struct str issuer,
                      struct str jwks_uri)
{
    *store = (struct issuer_store){.lock_fd = -1};
    if (asprintf(&store->identity, "%.*s %.*s", STR_ARG(issuer), STR_ARG(jwks_uri)) < 0) {
        store->identity = NULL;
        return -ENOMEM;
    }
    if (folder == NULL)
        return 0;
    make_folder(folder);
    unsigned long long name = str_hash(str_from(store->identity));
    if (asprintf(&store->path, "%s/%016llx.json", folder, name) < 0)
        store->path = NULL;
    if (asprintf(&store->lock_path, "%s/%016llx.lock", folder, name) < 0)
        store->lock_path = NULL;
    if (store->path == NULL || store->lock_path == NULL) {
        issuer_store_free(store);
        return -ENOMEM;
    }
    return 0;
}

void issuer_store_free(struct issuer_store *store)
{
    issuer_store_unlock(store);
    free(store->path);
    free(store->lock_path);
    free(store->identity);
    *store = (struct issuer_store){.lock_fd = -1};
}

static void warn_once(struct issuer_store *store, const char *message, int error)
{
    if (store->warned)
        return;
    store->warned = true;
    if (!log_wants(LOG_WARN))
        return;
    struct log_line line;
    log_begin(&line, LOG_WARN, message);
    log_str(&line, "file", str_from(store->path));
    log_str(&line, "error", str_from(strerror(error)));
    log_end(&line);
}

int issuer_store_read(const char *identity, struct str text, struct buf *jwks, double *fetched_at)
{
    json_t *root =
        strict_json_watched(text.ptr != NULL ? text : STR(""), JSON_REJECT_DUPLICATES, NULL);
    const char *found = NULL, *set = NULL;
    int code = json_unpack(root, "{s:s, s:F, s:s}", "identity", &found, "fetched_at", fetched_at,
                           "jwks", &set);
    if (code == 0 && isfinite(*fetched_at) && strcmp(found, identity) == 0)
        buf_add_str(jwks, str_from(set));
    else
        code = -EBADMSG;
    json_decref(root);
    return code == 0 && !buf_failed(jwks) ? 0 : -EBADMSG;
}

int issuer_store_load(struct issuer_store *store, struct buf *jwks, double *fetched_at)
{
    if (store->path == NULL)
        return -ENOENT;
    struct buf text = BUF_INIT;
    int code = file_read_all(store->path, O_NOFOLLOW, FILE_BYTES_MAX, &text);
    if (code == 0)
        code = issuer_store_read(store->identity, buf_str(&text), jwks, fetched_at);
    buf_free(&text);
    if (code != 0 && code != -ENOENT) {
        warn_once(store, "kept keys cannot be read, going on without", -code);
        code = -EBADMSG;
    }
    return code;
}

void issuer_store_write(const char *identity, struct str jwks, double fetched_at, struct buf *out)
{
    buf_printf(out, "{\"identity\":");
    buf_add_json(out, str_from(identity));
    buf_printf(out, ",\"fetched_at\":%.17g,\"jwks\":", fetched_at);
    buf_add_json(out, jwks);
    buf_add_char(out, '}');
}

void issuer_store_save(struct issuer_store *store, struct str jwks, double fetched_at)
{
    char temporary[4096];
    if (store->path == NULL)
        return;
    struct buf text = BUF_INIT;
    issuer_store_write(store->identity, jwks, fetched_at, &text);
    int len = snprintf(temporary, sizeof(temporary), "%s.%ld", store->path, (long)getpid());
    int code = buf_failed(&text) ? -ENOMEM : 0;
    code = (size_t)len >= sizeof(temporary) ? -ENAMETOOLONG : code;
    if (code == 0) {
        (void)unlink(temporary); /* what a killed worker of the same number left */
        code = file_create(temporary, buf_str(&text), 0600);
    }
    if (code == 0 && rename(temporary, store->path) != 0)
        code = -errno;
    if (code != 0) {
        (void)unlink(temporary);
        warn_once(store, "keys cannot be kept on disk", -code);
    }
    buf_free(&text);
}

bool issuer_store_lock(struct issuer_store *store)
{
    if (store->path == NULL || store->lock_fd >= 0)
        return true;
    int fd = open(store->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return true; /* a folder that cannot be written must not stop the fetch */
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        close(fd);
        return false;
    }
    store->lock_fd = fd;
    return true;
}

void issuer_store_unlock(struct issuer_store *store)
{
    if (store->lock_fd >= 0) {
        close(store->lock_fd); /* and with it the lock */
        store->lock_fd = -1;
    }
}
