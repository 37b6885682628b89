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

static bool parse_place(struct str text, bool sentinel, struct redis_place *out)
{
    struct str host;
    uint64_t port = sentinel ? 26379 : 6379;
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

static bool parse_places(struct str text, bool sentinel, struct redis_address *out)
{
    struct str place;
    bool more = true;
    while (more) {
        more = cut(&text, ',', &place);
        if ((more && !sentinel) || out->place_count >= LIMIT_KV_SENTINELS ||
            !parse_place(place, sentinel, &out->places[out->place_count++]))
            return false;
    }
    return true;
}

/* A file's name, made absolute. */
static bool decode_file(struct str text, struct str folder, char *out, size_t size)
{
    size_t len = 0;
    if (text.len > 0 && text.ptr[0] != '/') {
        if (folder.len + 1 >= size || !copy(folder, out, size))
            return false;
        out[folder.len] = '/';
        len = folder.len + 1;
    }
    return decode(text, out + len, size - len);
}

static bool parse_option(struct str text, struct str folder, struct redis_address *out)
{
    struct str name;
    if (!cut(&text, '=', &name) || text.len == 0)
        return false;
    if (str_eq(name, STR("prefix")))
        return decode(text, out->prefix, sizeof(out->prefix));
    if (!out->tls)
        return false;
    if (str_eq(name, STR("ca")))
        return decode_file(text, folder, out->ca, sizeof(out->ca));
    if (str_eq(name, STR("cert")))
        return decode_file(text, folder, out->cert, sizeof(out->cert));
    return str_eq(name, STR("key")) && decode_file(text, folder, out->key, sizeof(out->key));
}

static int parse_query(struct str text, struct str folder, struct redis_address *out,
                       struct err *err)
{
    struct str option;
    bool good = true;
    while (good && text.len > 0) {
        cut(&text, '&', &option);
        good = parse_option(option, folder, out);
    }
    if (!good)
        return err_set(err, -EINVAL,
                       out->tls
                           ? "KV_URL: the query is of prefix=TEXT, the beginning of all keys, "
                             "ca=FILE, cert=FILE and key=FILE, with & between them"
                           : "KV_URL: the query is prefix=TEXT, the beginning of all keys; ca, "
                             "cert and key are rediss://'s");
    if ((out->cert[0] == '\0') != (out->key[0] == '\0'))
        return err_set(err, -EINVAL, "KV_URL: cert=FILE and key=FILE belong together");
    return 0;
}

static int parse_path(struct str path, bool sentinel, struct redis_address *out, struct err *err)
{
    struct str name;
    uint64_t database = 0;
    if (sentinel) {
        cut(&path, '/', &name);
        if (name.len == 0 || !decode(name, out->primary, sizeof(out->primary)))
            return err_set(err, -EINVAL,
                           "KV_URL: the path is the name that Sentinel has for the primary, such "
                           "as /mymaster or /mymaster/0");
    }
    if (path.len > 0 && (str_to_u64(path, 999999, &database) != 0 ||
                         !copy(path, out->database, sizeof(out->database))))
        return err_set(err, -EINVAL, "KV_URL: %s is the number of a database, such as /0",
                       sentinel ? "what follows the name" : "the path");
    return 0;
}

/* Takes the scheme off the front. */
static bool parse_scheme(struct str *url, bool *sentinel, bool *tls)
{
    static const struct {
        const char *name;
        bool sentinel, tls;
    } known[] = {
        {"redis", false, false},          {"rediss", false, true},
        {"redis+sentinel", true, false},  {"rediss+sentinel", true, true},
        {"valkey", false, false},         {"valkeys", false, true},
        {"valkey+sentinel", true, false}, {"valkeys+sentinel", true, true},
    };
    size_t at = str_find_text(*url, STR("://"));
    for (size_t i = 0; at < url->len && i < sizeof(known) / sizeof(known[0]); i++) {
        if (!str_eq((struct str){url->ptr, at}, str_from(known[i].name)))
            continue;
        *sentinel = known[i].sentinel;
        *tls = known[i].tls;
        *url = str_skip(*url, at + 3);
        return true;
    }
    return false;
}

int redis_url_parse(struct str url, struct str folder, struct redis_address *out, struct err *err)
{
    struct str place, path, login = {NULL, 0};
    bool sentinel;
    *out = (struct redis_address){.prefix = "luafn"};
    if (!parse_scheme(&url, &sentinel, &out->tls))
        return err_set(err, -EINVAL,
                       "KV_URL: redis://[[user]:password@]host[:port][/database] is expected, "
                       "rediss:// for TLS, or redis+sentinel://host[:port],.../name");
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
    if (!parse_places(place, sentinel, out))
        return err_set(err, -EINVAL,
                       "KV_URL: host or host:port is expected after the ://, with Sentinel one to "
                       "%d, with commas between them",
                       LIMIT_KV_SENTINELS);
    int rc = parse_path(path, sentinel, out, err);
    return rc == 0 ? parse_query(url, folder, out, err) : rc;
}
