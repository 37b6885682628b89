/* Where the crypto module draws random bytes: one place, so that a run can be had again. */
#include <openssl/rand.h>

#include "bindings/crypto.h"
#include "lua/told.h"

void lx_crypto_chance(lua_State *L, const char *name, unsigned char *bytes, size_t count)
{
    if (RAND_bytes(bytes, (int)count) != 1)
        luaL_error(L, "%s: no randomness", name);
    struct hook *hook = told_hook(L);
    if (hook != NULL)
        lx_told_bytes(L, hook, name, (char *)bytes, count);
}
