#include "store/redis_url.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Splits what is before `c` off the front; false, and all of it, where there is none. */
static bool cut(struct str *rest, char c, struct str *before)
{
    size_t at = str_find(*rest, c);
    bool found = at < rest->len;
    *before = (struct str){rest->ptr, at};
    *rest = str_skip(*rest, found ? at + 1 : at);
    return found;
}

/* False when it is too long, holds a NUL, or a % that no two digits follow. */
static bool decode(struct str text, char *out, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            bool whole = text.len - i > 2;
            int high = whole ? str_hex_value(text.ptr[i + 1]) : -1;
            int low = whole ? str_hex_value(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || len + 1 >= size)
            return false;
        out[len++] = c;
    }
    out[len] = '\0';
    return true;
}

static bool copy(struct str text, char *out, size_t size)
{
    if (text.len >= size || memchr(text.ptr, '\0', text.len) != NULL)
        return false;
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

static bool parse_login(struct str text, struct redis_address *out)
{
    struct str user;
    return cut(&text, ':', &user) && text.len > 0 && decode(user, out->user, sizeof(out->user)) &&
           decode(text, out->password, sizeof(out->password));
}

static bool parse_place(struct str text, struct redis_address *out)
{
    struct str host;
    uint64_t port = 6379;
    bool bracketed = text.len > 0 && text.ptr[0] == '[';
    if (bracketed) {
        text = str_skip(text, 1);
        if (!cut(&text, ']', &host) || (text.len > 0 && text.ptr[0] != ':'))
            return false;
        text = str_skip(text, text.len > 0 ? 1 : 0);
    } else {
        cut(&text, ':', &host);
    }
    if (text.len > 0 && (str_to_u64(text, 65535, &port) != 0 || port == 0))
        return false;
    snprintf(out->port, sizeof(out->port), "%u", (unsigned)port);
    return host.len > 0 && copy(host, out->host, sizeof(out->host));
}

static bool parse_query(struct str text, struct redis_address *out)
{
    struct str name;
    if (text.len == 0)
        return true;
    return cut(&text, '=', &name) && str_eq(name, STR("prefix")) && text.len > 0 &&
           decode(text, out->prefix, sizeof(out->prefix));
}

int redis_url_parse(struct str url, struct redis_address *out, struct err *err)
{
    struct str scheme, place, path, login = {NULL, 0};
    uint64_t database = 0;
    *out = (struct redis_address){.prefix = "luafn"};
    size_t at = str_find_text(url, STR("://"));
    scheme = (struct str){url.ptr, at};
    if (str_eq(scheme, STR("rediss")) || str_eq(scheme, STR("valkeys")))
        return err_set(err, -EINVAL,
                       "KV_URL: TLS to the store is not supported: use redis:// over a network of "
                       "your own, or through a tunnel on this machine");
    if (at == url.len || (!str_eq(scheme, STR("redis")) && !str_eq(scheme, STR("valkey"))))
        return err_set(err, -EINVAL,
                       "KV_URL: redis://[[user]:password@]host[:port][/database] is expected");
    url = str_skip(url, at + 3);
    cut(&url, '?', &path); /* `url` is the query now */
    cut(&path, '/', &place);
    const char *last = place.len > 0 ? memrchr(place.ptr, '@', place.len) : NULL;
    if (last != NULL) {
        login = (struct str){place.ptr, (size_t)(last - place.ptr)};
        place = str_skip(place, login.len + 1);
    }
    if (last != NULL && !parse_login(login, out))
        return err_set(err, -EINVAL,
                       "KV_URL: before the @ stands user:password or :password, percent-encoded");
    if (!parse_place(place, out))
        return err_set(err, -EINVAL, "KV_URL: host or host:port is expected after redis://");
    if (path.len > 0 && (str_to_u64(path, 999999, &database) != 0 ||
                         !copy(path, out->database, sizeof(out->database))))
        return err_set(err, -EINVAL, "KV_URL: the path is the number of a database, such as /0");
    if (!parse_query(url, out))
        return err_set(err, -EINVAL, "KV_URL: the query is prefix=TEXT, the beginning of all keys");
    return 0;
}
