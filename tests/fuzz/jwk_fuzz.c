/* One JWK: what is taken fits some algorithm, is written and read again as the same key, and finds
 * no signature of zeros good. */
#include <stdlib.h>
#include <string.h>

#include "auth/key.h"
#include "json/strict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_again(const struct key *key, enum alg alg)
{
    struct buf a = BUF_INIT, b = BUF_INIT;
    json_t *jwk = jwk_write_key(key, alg);
    struct key *again = NULL;
    require((jwk == NULL) == ((ALG_BIT(alg) & ALG_HMAC) != 0));
    if (jwk != NULL) {
        require(jwk_read_key(jwk, &again, NULL) == 0);
        require(jwk_write_thumbprint(key, &a) == 0 && jwk_write_thumbprint(again, &b) == 0);
        require(str_eq(buf_str(&a), buf_str(&b)) && str_eq(key_kid(key), key_kid(again)));
    }
    buf_free(&a);
    buf_free(&b);
    key_unref(again);
    json_decref(jwk);
}

static void check_zeros(struct key *key, enum alg alg)
{
    static const char zeros[1024];
    static const size_t sizes[] = {32, 48, 64, 96, 114, 132, 256, 1024};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (int backend = KEY_BACKEND_OPENSSL; backend <= KEY_BACKEND_LIBJWT; backend++)
            require(key_verify(key, (enum key_backend)backend, alg, STR("e30.e30"),
                               (struct str){zeros, sizes[i]}) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *jwk = strict_json_load((struct str){(const char *)data, size}, NULL);
    struct key *key = NULL;
    struct err err = {""};
    bool fits = false;
    if (jwk_read_key(jwk, &key, &err) == 0) {
        for (enum alg alg = 0; alg <= ALG_COUNT; alg++)
            if (key_fits(key, alg)) {
                fits = true;
                check_again(key, alg);
                check_zeros(key, alg);
            }
        require(fits);
    } else {
        require(key == NULL && err.text[0] != '\0');
    }
    key_unref(key);
    json_decref(jwk);
    return 0;
}
