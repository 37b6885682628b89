/* X-Forwarded-* and Forwarded, from trusted proxies. */
#include "http/forwarded.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/base64.h"
#include "base/limits.h"
#include "http/head_check.h"

static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* ---- addresses ---- */

/* Without port and brackets. */
static bool address_parse(struct str text, unsigned char out[16])
{
    char name[INET6_ADDRSTRLEN];
    struct in_addr v4;
    if (text.len >= sizeof(name) || memchr(text.ptr, '\0', text.len) != NULL)
        return false;
    memcpy(name, text.ptr, text.len);
    name[text.len] = '\0';
    if (inet_pton(AF_INET6, name, out) == 1)
        return true;
    memcpy(out, mapped, sizeof(mapped));
    if (inet_pton(AF_INET, name, &v4) != 1)
        return false;
    memcpy(out + sizeof(mapped), &v4, sizeof(v4));
    return true;
}

static struct str address_text(const unsigned char address[16], struct arena *arena)
{
    char text[INET6_ADDRSTRLEN];
    bool v4 = memcmp(address, mapped, sizeof(mapped)) == 0;
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + sizeof(mapped) : address, text, sizeof(text));
    return arena_copy(arena, str_from(text));
}

static bool is_port(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    return text.len > 0 && text.len <= 5;
}

/* "1.2.3.4", "1.2.3.4:80", "::1", "[::1]", "[::1]:80". */
static bool node_parse(struct str text, unsigned char out[16])
{
    size_t colon = str_find(text, ':'), close = str_find(text, ']');
    if (text.len > 0 && text.ptr[0] == '[') {
        struct str rest = close < text.len ? str_skip(text, close + 1) : text;
        return close < text.len && close > 1 &&
               (rest.len == 0 || (rest.ptr[0] == ':' && is_port(str_skip(rest, 1)))) &&
               memchr(text.ptr, ':', close) != NULL &&
               address_parse((struct str){text.ptr + 1, close - 1}, out);
    }
    if (colon < text.len && str_count(text, ':') == 1)
        return is_port(str_skip(text, colon + 1)) &&
               address_parse((struct str){text.ptr, colon}, out);
    return address_parse(text, out);
}

static bool same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}

bool forwarded_parse_network(struct str text, struct network *out)
{
    size_t slash = str_find(text, '/');
    struct str digits = slash < text.len ? str_skip(text, slash + 1) : STR("");
    bool v4 = memchr(text.ptr, ':', slash) == NULL;
    unsigned bits = v4 ? 32 : 128;
    if (slash < text.len) {
        if (!is_port(digits) || digits.len > 3 || (digits.len > 1 && digits.ptr[0] == '0'))
            return false;
        bits = 0;
        for (size_t i = 0; i < digits.len; i++)
            bits = bits * 10 + (unsigned)(digits.ptr[i] - '0');
        if (bits > (v4 ? 32 : 128))
            return false;
    }
    out->bits = v4 ? bits + 96 : bits;
    if (!address_parse((struct str){text.ptr, slash}, out->address))
        return false;
    for (unsigned bit = out->bits; bit < 128; bit++)
        if ((out->address[bit / 8] >> (7 - bit % 8) & 1) != 0)
            return false;
    return true;
}

static bool is_trusted(const struct proxies *proxies, const unsigned char address[16])
{
    for (unsigned i = 0; i < proxies->from_count; i++)
        if (same_bits(address, proxies->from[i].address, proxies->from[i].bits))
            return true;
    return false;
}

bool forwarded_any(const struct proxies *proxies)
{
    return proxies->from_count > 0 || proxies->from_unix;
}

/* A peer's address is the same for all requests of its connection, and reading it costs more than
 * all the rest here: the last one is remembered. What it means is not: configurations change. */
static bool parse_peer(struct str peer, unsigned char out[16])
{
    static struct {
        char text[INET6_ADDRSTRLEN];
        size_t len; /* 0: none */
        unsigned char address[16];
    } last;
    if (last.len > 0 && str_eq(peer, (struct str){last.text, last.len})) {
        memcpy(out, last.address, sizeof(last.address));
        return true;
    }
    if (!address_parse(peer, out))
        return false;
    memcpy(last.text, peer.ptr, peer.len);
    last.len = peer.len;
    memcpy(last.address, out, sizeof(last.address));
    return true;
}

bool forwarded_trusts(const struct proxies *proxies, struct str peer)
{
    unsigned char address[16];
    if (str_eq(peer, FORWARDED_UNIX))
        return proxies->from_unix;
    return proxies->from_count > 0 && parse_peer(peer, address) && is_trusted(proxies, address);
}

/* ---- what one hop says ---- */

struct hop {
    struct str node, proto, host; /* as written, unquoted; ptr NULL: not said */
    bool good;                    /* all of it could be read */
};

struct hops {
    struct hop list[LIMIT_FORWARDED_HOPS];
    unsigned count;
    bool good; /* not too many, nor too long */
};

/* All lines of the header, in order, as one. ptr NULL: there is none, or (*rc) no memory. */
static struct str join_lines(const struct request *req, struct str name, struct arena *arena,
                             int *rc)
{
    struct str all = {NULL, 0};
    for (uint32_t i = 0; i < req->headers.len; i++) {
        const struct header *h = &req->headers.items[i];
        if (!str_eq(h->name, name))
            continue;
        all = all.ptr == NULL ? h->value
                              : arena_printf(arena, "%.*s,%.*s", STR_ARG(all), STR_ARG(h->value));
        *rc = all.ptr == NULL ? -ENOMEM : 0;
        if (*rc != 0)
            break;
    }
    return all;
}

static struct hop *next_hop(struct hops *hops)
{
    if (hops->count == LIMIT_FORWARDED_HOPS) {
        hops->good = false;
        return NULL;
    }
    hops->list[hops->count] = (struct hop){.good = true};
    return &hops->list[hops->count++];
}

static void read_x(struct hops *hops, struct str all)
{
    struct str part;
    struct hop *hop;
    while (str_split_next(&all, ',', &part) && (hop = next_hop(hops)) != NULL)
        hop->node = str_trim(part);
}

/* A token, or a quoted text whose escapes stay as they are: none of what is wanted has any. */
static bool take_word(struct str *rest, struct str *word)
{
    size_t i = 0;
    if (rest->len > 0 && rest->ptr[0] == '"') {
        for (i = 1; i < rest->len && rest->ptr[i] != '"'; i++)
            i += rest->ptr[i] == '\\';
        if (i >= rest->len)
            return false;
        *word = (struct str){rest->ptr + 1, i - 1};
        *rest = str_skip(*rest, i + 1);
        return true;
    }
    while (i < rest->len && strchr("=,; \t\"", rest->ptr[i]) == NULL)
        i++;
    *word = (struct str){rest->ptr, i};
    *rest = str_skip(*rest, i);
    return header_name_is_valid(*word);
}

static bool set_once(struct str *member, struct str value)
{
    bool first = member->ptr == NULL;
    *member = value;
    return first;
}

/* name=value */
static bool take_pair(struct str *rest, struct hop *hop)
{
    struct str name, value;
    if (!take_word(rest, &name) || rest->len == 0 || rest->ptr[0] != '=')
        return false;
    *rest = str_skip(*rest, 1);
    if (!take_word(rest, &value))
        return false;
    if (str_eq_nocase(name, STR("for")))
        return set_once(&hop->node, value);
    if (str_eq_nocase(name, STR("proto")))
        return set_once(&hop->proto, value);
    return !str_eq_nocase(name, STR("host")) || set_once(&hop->host, value);
}

/* for=1.2.3.4;proto=https */
static bool take_element(struct str *rest, struct hop *hop)
{
    bool good = true;
    do {
        *rest = str_skip(*rest, rest->len > 0 && rest->ptr[0] == ';');
        if (rest->len > 0 && rest->ptr[0] != ';' && rest->ptr[0] != ',')
            good = take_pair(rest, hop);
    } while (good && rest->len > 0 && rest->ptr[0] == ';');
    *rest = str_trim(*rest);
    return good && (rest->len == 0 || rest->ptr[0] == ',');
}

/* RFC 7239 section 4. What a client sends may end within a quoted text, so that what its proxy adds
 * seems to be part of it: no good element can come of that, and the next one begins behind the next
 * comma. */
static void read_forwarded(struct hops *hops, struct str all)
{
    struct hop *hop;
    all = str_trim(all);
    while (all.len > 0 && (hop = next_hop(hops)) != NULL) {
        struct str rest = all;
        hop->good = take_element(&rest, hop);
        if (!hop->good)
            rest = str_skip(all, str_find(all, ','));
        else if (rest.ptr == all.ptr)
            hops->count--; /* an empty element is none (RFC 9110 5.6.1) */
        all = str_trim(str_skip(rest, rest.len > 0));
    }
}

/* ---- from the end ---- */

/* The hop that names the client: the nearest whose address is not trusted, or the farthest. NULL:
 * none can be read. Its address is in `out`. */
static const struct hop *find_client(const struct proxies *proxies, const struct hops *hops,
                                     unsigned char out[16])
{
    const struct hop *found = NULL;
    for (unsigned i = hops->good ? hops->count : 0; i > 0; i--) {
        const struct hop *hop = &hops->list[i - 1];
        unsigned char address[16];
        if (!hop->good || hop->node.ptr == NULL || !node_parse(hop->node, address))
            break;
        memcpy(out, address, sizeof(address));
        found = hop;
        if (!is_trusted(proxies, address))
            break;
    }
    return found;
}

/* The nearest proxy's word. */
static struct str last_of(struct str all)
{
    struct str part, last = {NULL, 0};
    while (str_split_next(&all, ',', &part))
        last = str_trim(part);
    return last;
}

static void set_scheme(struct request *req, struct str proto)
{
    if (str_eq_nocase(proto, STR("https")))
        req->scheme = STR("https");
    else if (str_eq_nocase(proto, STR("http")))
        req->scheme = STR("http");
}

static int read_hops(const struct proxies *proxies, const struct request *req, struct arena *arena,
                     struct hops *hops)
{
    int rc = 0;
    bool by_x = proxies->header == FORWARDED_BY_X;
    struct str all = join_lines(req, by_x ? STR("x-forwarded-for") : STR("forwarded"), arena, &rc);
    hops->count = 0;
    hops->good = all.len <= LIMIT_FORWARDED_BYTES;
    if (all.ptr != NULL && hops->good)
        by_x ? read_x(hops, all) : read_forwarded(hops, all);
    return rc;
}

/* ---- the certificate ---- */

/* RFC 9440 section 2.1: a byte sequence of RFC 8941 (3.3.5), and nothing more. */
static int read_cert(const struct request *req, struct str name, struct arena *arena,
                     struct str *out)
{
    bool many;
    const struct str *field = headers_get_single(&req->headers, name, &many);
    struct str text = field != NULL ? str_trim(*field) : STR("");
    *out = STR("");
    if (text.len < 3 || text.ptr[0] != ':' || text.ptr[text.len - 1] != ':')
        return 0;
    text = (struct str){text.ptr + 1, text.len - 2};
    char *der = text.len % 4 == 0 ? arena_alloc(arena, BASE64_DECODED_MAX(text.len)) : NULL;
    if (der == NULL)
        return text.len % 4 == 0 ? -ENOMEM : 0;
    ptrdiff_t len = base64_decode(text, BASE64_STANDARD, der, NULL);
    if (len > 0)
        *out = (struct str){der, (size_t)len};
    return 0;
}

/* A proxy's own certificate says nothing about its client. */
static int apply_cert(const struct proxies *proxies, struct request *req, struct arena *arena,
                      bool trusted)
{
    if (proxies->cert_header.len == 0)
        return 0;
    if (trusted)
        return read_cert(req, proxies->cert_header, arena, &req->client_cert);
    req->cert_header = proxies->cert_header;
    return 0;
}

/* Most requests have none of these headers. */
static bool says_anything(const struct request *req, enum forwarded_by by)
{
    struct str begin = by == FORWARDED_BY_X ? STR("x-forwarded-") : STR("forwarded");
    for (uint32_t i = 0; i < req->headers.len; i++) {
        struct str name = req->headers.items[i].name;
        if (name.len > 0 && name.ptr[0] == begin.ptr[0] && str_starts_with(name, begin))
            return true;
    }
    return false;
}

int forwarded_apply(const struct proxies *proxies, struct request *req, struct arena *arena)
{
    unsigned char address[16];
    struct hops hops;
    if (!forwarded_any(proxies) && proxies->cert_header.len == 0)
        return 0;
    bool trusted = forwarded_trusts(proxies, req->client_ip);
    if (apply_cert(proxies, req, arena, trusted) != 0)
        return -ENOMEM;
    if (!trusted)
        return 0;
    req->forwarded = proxies->header;
    req->forwarded_host = proxies->trust_host;
    if (!says_anything(req, proxies->header))
        return 0;
    int rc = read_hops(proxies, req, arena, &hops);
    const struct hop *client = rc == 0 ? find_client(proxies, &hops, address) : NULL;
    struct str proto = {NULL, 0}, host = {NULL, 0};
    if (client != NULL) {
        struct str text = address_text(address, arena);
        rc = text.ptr == NULL ? -ENOMEM : 0;
        req->client_ip = rc == 0 ? text : req->client_ip;
        proto = client->proto;
        host = client->host;
    }
    if (rc == 0 && proxies->header == FORWARDED_BY_X) {
        proto = last_of(join_lines(req, STR("x-forwarded-proto"), arena, &rc));
        if (rc == 0 && proxies->trust_host)
            host = last_of(join_lines(req, STR("x-forwarded-host"), arena, &rc));
    }
    set_scheme(req, proto);
    if (proxies->trust_host && host.len > 0 && head_host_is_valid(host))
        req->host = host;
    return rc;
}

/* The client's certificate, or the chain of it, in the words of who is not trusted. */
static bool is_untrusted_cert(const struct request *req, struct str name)
{
    return req->cert_header.len > 0 && str_starts_with(name, req->cert_header) &&
           (name.len == req->cert_header.len ||
            str_eq(str_skip(name, req->cert_header.len), STR("-chain")));
}

bool forwarded_may_show(const struct request *req, struct str name)
{
    if (is_untrusted_cert(req, name))
        return false;
    if (str_eq(name, STR("forwarded")))
        return req->forwarded == FORWARDED_BY_RFC7239;
    if (!str_starts_with(name, STR("x-forwarded-")))
        return true;
    return req->forwarded == FORWARDED_BY_X &&
           (req->forwarded_host || !str_eq(name, STR("x-forwarded-host")));
}
