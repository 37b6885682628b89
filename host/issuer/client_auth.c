/* How a client names itself. */
#include "issuer/client_auth.h"

#include "base/base64.h"

void client_auth_add_form(struct buf *buf, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool plain = str_is_alnum(c) || c == '-' || c == '.' || c == '_';
        buf_printf(buf, plain ? "%c" : "%%%02X", (unsigned char)c);
    }
}

void client_auth_add_basic(struct buf *buf, struct str id, struct str secret)
{
    struct buf plain = BUF_INIT;
    client_auth_add_form(&plain, id);
    buf_add_char(&plain, ':');
    client_auth_add_form(&plain, secret);
    buf_add_str(buf, STR("Basic "));
    if (!buf_failed(&plain) && buf_reserve(buf, plain.len / 3 * 4 + 8) == 0)
        buf->len += base64_encode(buf_str(&plain), BASE64_STANDARD, buf->data + buf->len);
    else
        buf->failed = true;
    buf_free(&plain);
}
