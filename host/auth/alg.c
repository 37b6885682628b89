/* Names and hashes of the signature algorithms. */
#include "auth/alg.h"

static const struct {
    const char *name;
    size_t hash_size;
} table[ALG_COUNT] = {
    [ALG_NONE_KNOWN] = {"", 0},  [ALG_HS256] = {"HS256", 32}, [ALG_HS384] = {"HS384", 48},
    [ALG_HS512] = {"HS512", 64}, [ALG_RS256] = {"RS256", 32}, [ALG_RS384] = {"RS384", 48},
    [ALG_RS512] = {"RS512", 64}, [ALG_PS256] = {"PS256", 32}, [ALG_PS384] = {"PS384", 48},
    [ALG_PS512] = {"PS512", 64}, [ALG_ES256] = {"ES256", 32}, [ALG_ES384] = {"ES384", 48},
    [ALG_ES512] = {"ES512", 64}, [ALG_EDDSA] = {"EdDSA", 0},
};

static bool is_known(enum alg alg)
{
    return alg > ALG_NONE_KNOWN && alg < ALG_COUNT;
}

enum alg alg_parse(struct str name)
{
    for (enum alg alg = ALG_NONE_KNOWN + 1; alg < ALG_COUNT; alg++)
        if (str_eq(name, str_from(table[alg].name)))
            return alg;
    return ALG_NONE_KNOWN;
}

const char *alg_name(enum alg alg)
{
    return is_known(alg) ? table[alg].name : "";
}

size_t alg_hash_size(enum alg alg)
{
    return is_known(alg) ? table[alg].hash_size : 0;
}
