/* A store for a moment. */
#include "cli/kept_store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "cli/cli.h"

struct store *kept_store_open(const char *config_file, const struct config *config, bool make,
                              uv_loop_t *loop, struct err *err)
{
    char folder[4000], file[4096];
    struct stat st;
    err->text[0] = '\0';
    if (config->kv_address.place_count > 0) {
        struct store *store = store_connect(loop, &config->kv_address);
        if (store == NULL)
            err_set(err, 0, "out of memory");
        return store;
    }
    if (!make && cli_state_path(config_file, "kv.mdb", file, sizeof(file)) == 0)
        return stat(file, &st) == 0 ? store_open(loop, file, err) : NULL;
    if (cli_state_folder(config_file, NULL, folder, sizeof(folder)) != 0) {
        err_set(err, 0, "the folder .luafn beside %s cannot be made", config_file);
        return NULL;
    }
    snprintf(file, sizeof(file), "%s/kv.mdb", folder);
    return store_open(loop, file, err);
}

static void on_done(struct store_request *request)
{
    request->done = NULL;
}

int kept_store_run(struct store *store, uv_loop_t *loop, struct store_request *request)
{
    request->done = on_done;
    store_submit(store, request);
    while (request->done != NULL && uv_run(loop, UV_RUN_ONCE) != 0)
        continue;
    return request->status;
}

void kept_store_close(struct store *store, uv_loop_t *loop)
{
    if (store != NULL)
        store_close(store);
    uv_run(loop, UV_RUN_DEFAULT);
    store_free(store);
}

/* ---- revocations ---- */

int kept_store_revoke(const char *config_file, const struct config *config,
                      const struct revocation *revocation, struct err *err)
{
    uv_loop_t loop;
    char bytes[REVOCATION_BYTES];
    struct store_request request = {.kind = STORE_REVOKE,
                                    .value = {STORE_TEXT, {bytes, sizeof(bytes)}},
                                    .ttl_ms = (uint64_t)LIMIT_REVOCATION_LIFE * 1000};
    if (uv_loop_init(&loop) != 0)
        return err_set(err, -EMFILE, "no descriptors are left: raise `ulimit -n`");
    revocations_write(revocation, bytes);
    struct store *store = kept_store_open(config_file, config, true, &loop, err);
    int status = store != NULL ? kept_store_run(store, &loop, &request) : 0;
    kept_store_close(store, &loop);
    uv_loop_close(&loop);
    if (status != 0)
        return err_set(err, -EIO, "%s", store_error_text(status));
    return store != NULL ? 0 : -EIO;
}

static int take(struct str entries, double now)
{
    int rc = 0;
    for (; rc == 0 && entries.len >= REVOCATION_BYTES;
         entries = str_skip(entries, REVOCATION_BYTES)) {
        struct revocation revocation = revocations_read(entries.ptr);
        if ((double)revocation.until >= now)
            rc = revocations_add(&revocation, now);
    }
    return rc;
}

static int read_all(struct store *store, uv_loop_t *loop)
{
    char after[REVOCATION_POSITION];
    bool more = true;
    int rc = 0;
    while (rc == 0 && more) {
        revocations_position(after);
        struct store_request request = {
            .kind = STORE_REVOKED, .after = str_from(after), .limit = LIMIT_REVOCATIONS_READ};
        rc = kept_store_run(store, loop, &request);
        more = request.more;
        if (rc == 0 && request.position.len > 0) {
            rc = take(buf_str(&request.out), clock_now());
            revocations_set_position(buf_str(&request.position), true);
        }
        buf_free(&request.out);
        buf_free(&request.position);
    }
    return rc;
}

void kept_store_read_revoked(const char *config_file, const struct config *config, char *text,
                             size_t size)
{
    uv_loop_t loop;
    struct err err;
    snprintf(text, size, "nothing was revoked");
    if (uv_loop_init(&loop) != 0)
        return;
    struct store *store = kept_store_open(config_file, config, false, &loop, &err);
    int rc = store != NULL ? read_all(store, &loop) : 0;
    unsigned long long live = revocations_stats().live;
    kept_store_close(store, &loop);
    uv_loop_close(&loop);
    if (rc != 0 || err.text[0] != '\0')
        snprintf(text, size, "not known: %s", rc != 0 ? store_error_text(rc) : err.text);
    else if (live > 0)
        snprintf(text, size, "not revoked, of %llu that are", live);
}
