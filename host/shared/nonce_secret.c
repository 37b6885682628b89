/* The secret of nonces: see nonce_secret.h. */
#include "shared/nonce_secret.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static const struct nonce_secret *used;

int nonce_secret_init(struct nonce_secret *secret)
{
    return getrandom(secret->bytes, sizeof(secret->bytes), 0) == sizeof(secret->bytes) ? 0 : -EIO;
}

void nonce_secret_share(const struct nonce_secret *secret)
{
    used = secret;
}

void nonce_secret_adopt(struct str bytes)
{
    static struct nonce_secret fleet;
    if (bytes.len != sizeof(fleet.bytes))
        return;
    memcpy(fleet.bytes, bytes.ptr, bytes.len);
    used = &fleet;
}

struct str nonce_secret_get(void)
{
    static struct nonce_secret own;
    if (used == NULL && nonce_secret_init(&own) == 0)
        used = &own;
    return used != NULL ? (struct str){(const char *)used->bytes, sizeof(used->bytes)} : STR("");
}
