/* URLs in spans. */
#include "otlp/trace_url.h"

#include <stdlib.h>

#include "client/client.h"

static bool is_signature(struct str name)
{
    static const char *const names[] = {
        "AWSAccessKeyId",   "Signature",           "sig", "X-Goog-Signature", "X-Amz-Signature",
        "X-Amz-Credential", "X-Amz-Security-Token"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_eq_nocase(name, str_from(names[i])))
            return true;
    }
    return false;
}

static void add_query(struct buf *out, struct str query)
{
    struct str field;
    for (char mark = '?'; query.len > 0 && str_split_next(&query, '&', &field); mark = '&') {
        struct str name = {field.ptr, str_find(field, '=')};
        buf_add_char(out, mark);
        buf_add_str(out, is_signature(name) ? name : field);
        if (is_signature(name))
            buf_add_str(out, STR("=REDACTED"));
    }
}

static void write_parts(struct otlp_writer *w, const struct client_url_parts *parts)
{
    struct buf out = BUF_INIT;
    bool https = str_eq(parts->scheme, STR("https"));
    buf_add_str(&out, parts->scheme);
    buf_add_str(&out, STR("://"));
    if (parts->user.len > 0 || parts->password.len > 0)
        buf_add_str(&out, STR("REDACTED:REDACTED@"));
    buf_add_str(&out, parts->host);
    if (parts->port >= 0)
        buf_printf(&out, ":%d", parts->port);
    buf_add_str(&out, parts->path);
    add_query(&out, parts->query);
    if (!buf_failed(&out))
        otlp_attribute(w, 9, "url.full", buf_str(&out));
    otlp_attribute(w, 9, "server.address", parts->host);
    otlp_attribute_number(w, 9, "server.port", parts->port >= 0 ? parts->port : https ? 443 : 80);
    buf_free(&out);
}

void trace_url_write(struct otlp_writer *w, struct str url)
{
    struct client_url_parts *parts = malloc(sizeof(*parts) + client_url_parts_size(url.len));
    struct err err;
    if (parts == NULL)
        return;
    parts->size = client_url_parts_size(url.len);
    if (client_split_url(url, parts, &err) == 0)
        write_parts(w, parts);
    free(parts);
}
