/* A JWK Set: read, every key found by its kid and algorithm, and equal to itself read again. */
#include <stdlib.h>

#include "auth/keyset.h"
#include "base/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct keyset *set = NULL, *again = NULL;
    struct err err = {""};
    if (keyset_parse(text, &set, &err) != 0) {
        require(set == NULL && err.text[0] != '\0');
        return 0;
    }
    require(keyset_size(set) > 0 && keyset_size(set) <= LIMIT_JWKS_KEYS);
    for (unsigned i = 0; i < keyset_size(set); i++) {
        struct key *key = keyset_at(set, i);
        bool named = key_kid(key).len > 0;
        for (enum alg alg = ALG_NONE_KNOWN; alg < ALG_COUNT; alg++) {
            struct key *found = keyset_find(set, key_kid(key), alg);
            require(key_fits(key, alg) ? found == (named ? key : NULL) : (found != NULL) == named);
        }
    }
    require(keyset_parse(text, &again, NULL) == 0 && keyset_equal(set, again));
    keyset_unref(again);
    keyset_unref(set);
    return 0;
}
