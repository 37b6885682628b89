/* From addresses to pools. */
#include "sql/sql.h"

#include <stdlib.h>

#include "sql/sql_internal.h"

/* Takes `pool=N` out of the query of the address. False: no number between 1 and SQL_POOL_MAX. */
static bool take_size(struct str url, struct buf *rest, unsigned *most)
{
    size_t query = str_find(url, '?');
    struct str pairs = str_skip(url, query < url.len ? query + 1 : url.len), pair;
    char before = '?';
    buf_add(rest, url.ptr, query);
    while (pairs.len > 0 && str_split_next(&pairs, '&', &pair)) {
        uint64_t number = 0;
        if (!str_starts_with(pair, STR("pool="))) {
            buf_add_char(rest, before);
            buf_add_str(rest, pair);
            before = '&';
        } else if (str_to_u64(str_skip(pair, 5), SQL_POOL_MAX, &number) != 0 || number == 0) {
            return false;
        } else {
            *most = (unsigned)number;
        }
    }
    return true;
}

static int parse(struct sql_pool *pool, struct str url, struct str root, struct err *err)
{
    struct buf rest = BUF_INIT;
    int rc = 0;
    pool->most = SQL_POOL_DEFAULT;
    if (!take_size(url, &rest, &pool->most)) {
        rc = err_set(err, -1, "pool: a number from 1 to %d expected", SQL_POOL_MAX);
    } else if (buf_failed(&rest)) {
        rc = err_set(err, -1, "out of memory");
    } else if (str_starts_with(url, STR("sqlite:"))) {
        pool->driver = &sql_sqlite;
        pool->most = 1;
        rc = sql_sqlite_parse(buf_str(&rest), root, pool->sql->trial, &pool->address, err);
    } else if (str_starts_with(url, STR("postgres://")) ||
               str_starts_with(url, STR("postgresql://"))) {
        pool->driver = &sql_postgres;
        rc = sql_postgres_parse(buf_str(&rest), &pool->address, err);
        if (pool->sql->trial != NULL)
            pool->most = 1;
    } else {
        rc = err_set(err, -1, "an address that begins with postgres:// or sqlite: expected");
    }
    buf_free(&rest);
    return rc;
}

static struct sql_pool *make_pool(struct sql *sql, struct str key, struct str url, struct str root,
                                  struct err *err)
{
    struct sql_pool *pool = calloc(1, sizeof(*pool));
    struct str kept = pool != NULL ? str_copy(key) : (struct str){NULL, 0};
    if (kept.ptr == NULL) {
        free(pool);
        err_set(err, -1, "out of memory");
        return NULL;
    }
    pool->sql = sql;
    pool->key = kept;
    list_init(&pool->idle);
    list_init(&pool->others);
    list_init(&pool->waiting);
    list_init(&pool->sessions);
    list_push(&sql->pools, &pool->node);
    if (parse(pool, url, root, err) == 0)
        return pool;
    sql_pool_free(pool);
    return NULL;
}

struct sql_pool *sql_pool_of(struct sql *sql, struct str url, struct str root, struct err *err)
{
    struct buf key = BUF_INIT;
    struct sql_pool *found = NULL;
    if (str_starts_with(url, STR("sqlite:")))
        buf_add_str(&key, root);
    buf_add_char(&key, '\n');
    buf_add_str(&key, url);
    list_each(node, &sql->pools)
    {
        struct sql_pool *pool = container_of(node, struct sql_pool, node);
        if (str_eq(pool->key, buf_str(&key)))
            found = pool;
    }
    if (found == NULL)
        found = make_pool(sql, buf_str(&key), url, root, err);
    buf_free(&key);
    return found;
}
