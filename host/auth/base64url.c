/* base64url for tokens and keys. */
#include "auth/base64url.h"

#include <errno.h>

#include "base/base64.h"

int base64url_decode(struct str text, void *out, size_t *out_len)
{
    ptrdiff_t len = base64_decode(text, BASE64_URL, out, NULL);
    if (len < 0)
        return -EINVAL;
    *out_len = (size_t)len;
    return 0;
}

void base64url_encode(const void *bytes, size_t len, struct buf *out)
{
    if (len > SIZE_MAX / 2 || buf_reserve(out, BASE64_ENCODED_MAX(len)) != 0) {
        out->failed = true;
        return;
    }
    out->len += base64_encode((struct str){bytes, len}, BASE64_URL, out->data + out->len);
}
