/* Any bytes as a proof of possession, held against a request and a token that is bound to a key
 * which nobody has: whatever comes, it is not good. */
#include <stdlib.h>

#include "auth/dpop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *bound;
    static const struct dpop_request req = {
        .method = {"GET", 3},
        .scheme = {"https", 5},
        .host = {"api.example", 11},
        .path = {"/me", 3},
        .token = {"t", 1},
        .now = 1700000000,
    };
    if (bound == NULL)
        bound = json_pack("{s:{s:s}}", "cnf", "jkt", "0123456789012345678901234567890123456789012");
    const char *why = NULL;
    struct exchange_once once;
    enum dpop_result result =
        dpop_check(&req, bound, (struct str){(const char *)data, size}, &once, &why);
    require(result == DPOP_BAD_PROOF || result == DPOP_OTHER_KEY);
    require(why != NULL || result == DPOP_OTHER_KEY);
    return 0;
}
