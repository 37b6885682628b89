/* Any bytes as the PROXY header of a connection: whatever comes in pieces means the same, a header
 * is whole with its last byte alone, and an address that it tells is one. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header whole, part;
    unsigned char address[16];
    long len = proxy_header_read((struct str){(const char *)data, size}, &whole);
    require(len <= LIMIT_PROXY_HEADER && len <= (long)size);
    require(len > 0 || size <= LIMIT_PROXY_HEADER || len < 0);
    if (len > 0)
        require(whole.ip[0] == '\0' || inet_pton(AF_INET, whole.ip, address) == 1 ||
                inet_pton(AF_INET6, whole.ip, address) == 1);
    for (size_t i = 0; i < size && i < 300; i++) {
        long before = proxy_header_read((struct str){(const char *)data, i}, &part);
        require(len <= 0 || (size_t)len > i ? before == 0 || len < 0 : before == len);
        require(len != 0 || before == 0);
    }
    return 0;
}
