/* A store in a folder of its own, and requests that wait for their end. */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/file.h"
#include "store/store.h"

struct fixture {
    char folder[64];
    char path[96];
    uv_loop_t loop;
    struct store *store;
};

static inline void fixture_open(struct fixture *f)
{
    struct err err;
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->store = store_open(&f->loop, f->path, &err);
    assert_non_null(f->store);
}

static inline void fixture_close(struct fixture *f)
{
    store_close(f->store);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    store_free(f->store);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    f->store = NULL;
}

/* Without a store in it yet. */
static inline void fixture_make(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    snprintf(f->folder, sizeof(f->folder), "/tmp/luafn-store-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/kv.mdb", f->folder);
    log_setup(LOG_FORMAT_NONE, (enum log_level)(LOG_ERROR + 1));
}

static inline void fixture_remove(struct fixture *f)
{
    char path[512];
    DIR *dir = opendir(f->folder);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        snprintf(path, sizeof(path), "%s/%s", f->folder, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    closedir(dir);
    rmdir(f->folder);
}

/* How many files in the folder have this in their names. */
static inline unsigned fixture_count(const struct fixture *f, const char *part)
{
    unsigned count = 0;
    DIR *dir = opendir(f->folder);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        count += strstr(e->d_name, part) != NULL;
    closedir(dir);
    return count;
}

/* ---- requests ---- */

static inline void on_request_done(struct store_request *request)
{
    request->done = NULL;
}

static inline struct store_request make_request(enum store_kind kind, const char *key)
{
    return (struct store_request){
        .kind = kind, .space = STR("test"), .key = str_from(key), .done = on_request_done};
}

static inline int fixture_check(struct fixture *f, struct err *err)
{
    pid_t child;
    int rc = store_check_begin(f->path, &child, err);
    return rc == 0 ? store_check_wait(f->path, child, err) : rc;
}

static inline struct store_value text_value(const char *text)
{
    if (text == NULL)
        return (struct store_value){STORE_ABSENT, {NULL, 0}};
    return (struct store_value){STORE_TEXT, str_from(text)};
}

static inline int run_request(struct fixture *f, struct store_request *request)
{
    request->done = on_request_done;
    store_submit(f->store, request);
    while (request->done != NULL)
        uv_run(&f->loop, UV_RUN_ONCE);
    return request->status;
}

static inline void drop_request(struct store_request *request)
{
    buf_free(&request->out);
    buf_free(&request->position);
}

static inline int put(struct fixture *f, const char *key, const char *text)
{
    struct store_request r = make_request(STORE_SET, key);
    r.value = text_value(text);
    return run_request(f, &r);
}

/* The value as a text that the next call reuses; NULL when there is none. */
static inline const char *get(struct fixture *f, const char *key)
{
    static char text[2048];
    struct store_request r = make_request(STORE_GET, key);
    assert_int_equal(run_request(f, &r), 0);
    snprintf(text, sizeof(text), "%.*s", (int)r.out.len, r.out.data != NULL ? r.out.data : "");
    enum store_type found = r.found;
    drop_request(&r);
    return found != STORE_ABSENT ? text : NULL;
}

/* Reads the file while nobody has it open. */
static inline struct space space_in_file(const struct fixture *f, size_t *transactions)
{
    struct file file;
    struct space space;
    MDB_txn *txn;
    MDB_envinfo info;
    assert_int_equal(file_open(&file, f->path), 0);
    assert_int_equal(mdb_txn_begin(file.env, NULL, MDB_RDONLY, &txn), 0);
    int rc = file_get_space(&file, txn, STR("test"), &space);
    assert_true(rc == 0 || rc == MDB_NOTFOUND);
    mdb_txn_abort(txn);
    assert_int_equal(mdb_env_info(file.env, &info), 0);
    file_close(&file);
    if (transactions != NULL)
        *transactions = info.me_last_txnid;
    return space;
}

/* Before and after a test of a store that is open. */
static inline int fixture_set_up(void **state)
{
    struct fixture *f = malloc(sizeof(*f));
    fixture_make(f);
    fixture_open(f);
    *state = f;
    return 0;
}

static inline int fixture_tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->store != NULL)
        fixture_close(f);
    fixture_remove(f);
    free(f);
    return 0;
}
