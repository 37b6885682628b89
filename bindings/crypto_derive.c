/* crypto.hkdf (RFC 5869), pbkdf2 (RFC 8018 5.2) and scrypt (RFC 7914): keys of secrets and of
 * passwords.
 *
 * The two for passwords are slow on purpose, so they run on a thread, one at a time: a worker uses
 * one core for its scripts and lends one to this, and the pool's other threads stay free for name
 * look-ups and compression. What waits or runs owns its copy of the password, and outlives a
 * request that no longer wants it. */
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "bindings/crypto.h"
#include "bindings/keys.h"
#include "lua/vm.h"
#include "run/await.h"

struct derive_op {
    struct op op;
    struct derivation *derivation; /* owned once it is done, borrowed before; NULL: none */
};

struct derivation {
    uv_work_t work;
    struct list node;        /* in `waiting` */
    struct derive_op *owner; /* borrowed; NULL: nobody waits any more */
    const EVP_MD *hash;      /* pbkdf2; NULL: scrypt */
    int rounds;
    uint64_t n, r, p;
    size_t password_len, salt_len, len;
    bool good;
    unsigned char out[LIMIT_DERIVE_BYTES];
    char bytes[]; /* password, salt */
};

/* A process has them once: a worker has one thread. */
static struct list waiting = {&waiting, &waiting};
static bool running;
static unsigned count;

static void free_derivation(struct derivation *d)
{
    OPENSSL_cleanse(d, sizeof(*d) + d->password_len + d->salt_len);
    free(d);
    count--;
}

/* On a thread: touches nothing but the derivation. */
static void on_work(uv_work_t *work)
{
    struct derivation *d = container_of(work, struct derivation, work);
    const unsigned char *salt = (const unsigned char *)d->bytes + d->password_len;
    if (d->hash != NULL)
        d->good = PKCS5_PBKDF2_HMAC(d->bytes, (int)d->password_len, salt, (int)d->salt_len,
                                    d->rounds, d->hash, (int)d->len, d->out) == 1;
    else
        d->good = EVP_PBE_scrypt(d->bytes, d->password_len, salt, d->salt_len, d->n, d->r, d->p,
                                 UINT64_MAX, d->out, d->len) == 1;
}

static void start_next(uv_loop_t *loop);

static void on_worked(uv_work_t *work, int status)
{
    struct derivation *d = container_of(work, struct derivation, work);
    (void)status; /* never cancelled */
    running = false;
    start_next(work->loop);
    if (d->owner != NULL)
        await_op_complete(&d->owner->op);
    else
        free_derivation(d);
}

static void start_next(uv_loop_t *loop)
{
    if (running || list_is_empty(&waiting))
        return;
    struct derivation *d = container_of(waiting.next, struct derivation, node);
    list_remove(&d->node);
    running = true;
    /* It fails only without a function to run. */
    (void)uv_queue_work(loop, &d->work, on_work, on_worked);
}

static void cancel(struct op *op)
{
    struct derive_op *derive = container_of(op, struct derive_op, op);
    struct derivation *d = derive->derivation;
    derive->derivation = NULL;
    if (d == NULL)
        return;
    d->owner = NULL;
    if (list_is_empty(&d->node))
        return; /* it runs: on_worked frees it */
    list_remove(&d->node);
    free_derivation(d);
}

static void dispose(struct op *op)
{
    struct derive_op *derive = container_of(op, struct derive_op, op);
    if (derive->derivation != NULL)
        free_derivation(derive->derivation);
    derive->derivation = NULL;
}

static int finish(lua_State *L, struct op *op)
{
    const struct derivation *d = container_of(op, struct derive_op, op)->derivation;
    if (!d->good)
        return luaL_error(L, "crypto: no memory to make a key of a password");
    lua_pushlstring(L, (const char *)d->out, d->len);
    dispose(op);
    return 1;
}

static const struct op_type derive_type = {
    .name = "crypto", .cancel = cancel, .finish = finish, .dispose = dispose};

/* Waits for what `how` says, with a copy of both texts. */
static int derive(lua_State *L, const struct derivation *how, struct str password, struct str salt)
{
    const struct services *services = vm_of(L)->services;
    if (services == NULL || services->loop == NULL)
        return luaL_error(L, "crypto: a key of a password cannot be waited for here");
    luaL_argcheck(L, password.len <= INT32_MAX, 1, "the text is too long");
    luaL_argcheck(L, salt.len <= INT32_MAX, 2, "the text is too long");
    if (count >= LIMIT_DERIVE_JOBS)
        return luaL_error(L, "crypto: %d keys of passwords are under way already", (int)count);
    struct derive_op *op = (struct derive_op *)await_op_new(L, &derive_type, sizeof(*op));
    struct derivation *d = malloc(sizeof(*d) + password.len + salt.len);
    if (d == NULL)
        return luaL_error(L, "out of memory");
    *d = *how;
    d->owner = op;
    d->password_len = password.len;
    d->salt_len = salt.len;
    memcpy(d->bytes, password.ptr, password.len);
    memcpy(d->bytes + password.len, salt.ptr, salt.len);
    op->derivation = d;
    count++;
    list_push(&waiting, &d->node);
    start_next(services->loop);
    return await(L, &op->op);
}

static lua_Integer check_between(lua_State *L, int index, lua_Integer value, lua_Integer most,
                                 const char *what)
{
    luaL_argcheck(L, value >= 1 && value <= most, index,
                  lua_pushfstring(L, "%s: 1 to %I expected", what, most));
    return value;
}

int l_crypto_pbkdf2(lua_State *L)
{
    struct derivation how = {.hash = lx_crypto_hash(L, 1)};
    struct str password = lx_crypto_text(L, 2), salt = lx_crypto_text(L, 3);
    how.rounds =
        (int)check_between(L, 4, luaL_checkinteger(L, 4), LIMIT_DERIVE_ROUNDS, "iterations");
    how.len = (size_t)check_between(L, 5, luaL_checkinteger(L, 5), LIMIT_DERIVE_BYTES, "length");
    return derive(L, &how, password, salt);
}

static uint64_t scrypt_option(lua_State *L, const char *name, lua_Integer otherwise,
                              lua_Integer most)
{
    if (lua_getfield(L, 3, name) != LUA_TNIL)
        otherwise = luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    return (uint64_t)check_between(L, 3, otherwise, most, name);
}

/* RFC 7914 section 2: N is a power of two above 1; the two arrays take 128 * r * (N + p) bytes. */
static void check_scrypt(lua_State *L, const struct derivation *how)
{
    const struct vm *vm = vm_of(L);
    uint64_t bytes = 128 * how->r * (how->n + how->p);
    luaL_argcheck(L, how->n > 1 && (how->n & (how->n - 1)) == 0, 3,
                  "n: a power of two above 1 expected");
    luaL_argcheck(L, how->n * how->r * how->p <= LIMIT_DERIVE_BLOCKS, 3,
                  "n * r * p: at most 16777216");
    if (vm->limit > 0 && (vm->used >= vm->limit || bytes > vm->limit - vm->used))
        luaL_error(L, "crypto.scrypt: n and r need %I MB, more than the function's `memory` has",
                   (lua_Integer)(bytes >> 20));
}

int l_crypto_scrypt(lua_State *L)
{
    static const char *const known[] = {"n", "r", "p", "length", NULL};
    struct derivation how = {0};
    struct str password = lx_crypto_text(L, 1), salt = lx_crypto_text(L, 2);
    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    luaL_checktype(L, 3, LUA_TTABLE);
    lx_keys_check(L, 3, known, "crypto.scrypt");
    how.n = scrypt_option(L, "n", 16384, LIMIT_DERIVE_BLOCKS);
    how.r = scrypt_option(L, "r", 8, 1024);
    how.p = scrypt_option(L, "p", 1, 1024);
    how.len = (size_t)scrypt_option(L, "length", 32, LIMIT_DERIVE_BYTES);
    check_scrypt(L, &how);
    return derive(L, &how, password, salt);
}

static bool hkdf(EVP_PKEY_CTX *ctx, const EVP_MD *hash, const struct str texts[3],
                 unsigned char *out, size_t len)
{
    const unsigned char *key = (const unsigned char *)texts[0].ptr,
                        *salt = (const unsigned char *)texts[1].ptr,
                        *info = (const unsigned char *)texts[2].ptr;
    return EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_CTX_set_hkdf_md(ctx, hash) == 1 &&
           EVP_PKEY_CTX_set1_hkdf_key(ctx, key, (int)texts[0].len) == 1 &&
           EVP_PKEY_CTX_set1_hkdf_salt(ctx, salt, (int)texts[1].len) == 1 &&
           EVP_PKEY_CTX_add1_hkdf_info(ctx, info, (int)texts[2].len) == 1 &&
           EVP_PKEY_derive(ctx, out, &len) == 1;
}

int l_crypto_hkdf(lua_State *L)
{
    unsigned char out[LIMIT_DERIVE_BYTES];
    const EVP_MD *hash = lx_crypto_hash(L, 1);
    struct str texts[3];
    for (int i = 0; i < 3; i++) {
        texts[i] = lx_crypto_text(L, i + 2);
        luaL_argcheck(L, texts[i].len <= LIMIT_DERIVE_BYTES, i + 2, "at most 1024 bytes");
    }
    luaL_argcheck(L, texts[0].len > 0, 2, "an empty key");
    size_t len = (size_t)check_between(L, 5, luaL_checkinteger(L, 5), LIMIT_DERIVE_BYTES, "length");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    bool ok = ctx != NULL && hkdf(ctx, hash, texts, out, len);
    EVP_PKEY_CTX_free(ctx);
    if (!ok)
        return luaL_error(L, "crypto.hkdf: OpenSSL refused");
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}
