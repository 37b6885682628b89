/* PROXY protocol: see proxy_header.h. */
#include "http/proxy_header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/limits.h"

enum {
    V1_BYTES = 107, /* of the longest line */
    V2_HEAD = 16,
    TLV_CRC32C = 0x03,
    TLV_SSL = 0x20
};

static const char v1_start[] = "PROXY ";
static const unsigned char v2_start[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                           0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

static unsigned read_u16(const unsigned char *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static uint32_t read_u32(const unsigned char *at)
{
    return (uint32_t)read_u16(at) << 16 | read_u16(at + 2);
}

/* In the form in which an address of the socket is told: IPv4 within IPv6 as IPv4. */
static void set_ip(struct proxy_header *out, int family, const unsigned char *address)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bool is_mapped = family == AF_INET6 && memcmp(address, mapped, sizeof(mapped)) == 0;
    inet_ntop(is_mapped ? AF_INET : family, is_mapped ? address + sizeof(mapped) : address, out->ip,
              sizeof(out->ip));
}

/* ---- version 1: a line ---- */

static bool take_word(struct str *rest, struct str *word)
{
    size_t len = str_find(*rest, ' ');
    *word = (struct str){rest->ptr, len};
    bool more = len < rest->len;
    *rest = str_skip(*rest, more ? len + 1 : len);
    return len > 0;
}

static bool is_port(struct str text)
{
    uint64_t port;
    return text.len > 0 && (text.len == 1 || text.ptr[0] != '0') &&
           str_to_u64(text, 65535, &port) == 0;
}

static bool parse_ip(struct str text, int family, unsigned char out[16])
{
    char name[INET6_ADDRSTRLEN];
    if (text.len >= sizeof(name) || memchr(text.ptr, '\0', text.len) != NULL)
        return false;
    memcpy(name, text.ptr, text.len);
    name[text.len] = '\0';
    return inet_pton(family, name, out) == 1;
}

/* What stands between "PROXY " and the end of the line. */
static bool read_line(struct str rest, struct proxy_header *out)
{
    struct str kind, from, to, from_port, to_port;
    unsigned char source[16], target[16];
    if (!take_word(&rest, &kind))
        return false;
    if (str_eq(kind, STR("UNKNOWN")))
        return true;
    int family = str_eq(kind, STR("TCP4")) ? AF_INET : str_eq(kind, STR("TCP6")) ? AF_INET6 : 0;
    if (family == 0 || !take_word(&rest, &from) || !take_word(&rest, &to) ||
        !take_word(&rest, &from_port))
        return false;
    to_port = rest; /* nothing may stand behind it */
    if (!parse_ip(from, family, source) || !parse_ip(to, family, target) || !is_port(from_port) ||
        !is_port(to_port))
        return false;
    set_ip(out, family, source);
    return true;
}

static long read_v1(struct str bytes, struct proxy_header *out)
{
    size_t start = sizeof(v1_start) - 1, len = bytes.len < V1_BYTES ? bytes.len : V1_BYTES;
    const char *end = memchr(bytes.ptr, '\n', len);
    if (end == NULL)
        return len == V1_BYTES ? -EPROTO : 0;
    size_t line = (size_t)(end - bytes.ptr); /* without the LF */
    if (line <= start || end[-1] != '\r')
        return -EPROTO;
    return read_line((struct str){bytes.ptr + start, line - start - 1}, out) ? (long)line + 1
                                                                             : -EPROTO;
}

/* ---- version 2: bytes ---- */

/* Castagnoli's, of the whole header with its own four bytes taken for zero. */
static uint32_t crc32c(const unsigned char *bytes, size_t len, const unsigned char *own)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        bool is_own = bytes + i >= own && bytes + i < own + 4;
        crc ^= is_own ? 0 : bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* Type, length and value, again and again; of types that are not known nothing is asked. */
static bool read_tlvs(const unsigned char *header, size_t len, size_t at, struct proxy_header *out)
{
    while (at < len) {
        if (len - at < 3 || len - at - 3 < read_u16(header + at + 1))
            return false;
        unsigned type = header[at], size = read_u16(header + at + 1);
        const unsigned char *value = header + at + 3;
        if (type == TLV_CRC32C && (size != 4 || crc32c(header, len, value) != read_u32(value)))
            return false;
        if (type == TLV_SSL && size < 5)
            return false;
        if (type == TLV_SSL)
            out->secure = (value[0] & 1) != 0;
        at += 3 + size;
    }
    return true;
}

/* By the byte of family and transport. */
static bool read_addresses(const unsigned char *header, size_t len, struct proxy_header *out)
{
    static const struct {
        unsigned char kind;
        int family;
        size_t bytes;
    } kinds[] = {
        {0x00, AF_UNSPEC, 0}, {0x11, AF_INET, 12}, {0x21, AF_INET6, 36}, {0x31, AF_UNIX, 216}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (header[13] != kinds[i].kind)
            continue;
        if (len - V2_HEAD < kinds[i].bytes)
            return false;
        if (kinds[i].family == AF_INET || kinds[i].family == AF_INET6)
            set_ip(out, kinds[i].family, header + V2_HEAD);
        return read_tlvs(header, len, V2_HEAD + kinds[i].bytes, out);
    }
    return false;
}

static long read_v2(struct str bytes, struct proxy_header *out)
{
    const unsigned char *header = (const unsigned char *)bytes.ptr;
    if (bytes.len < V2_HEAD)
        return 0;
    size_t len = V2_HEAD + read_u16(header + 14);
    unsigned command = header[12];
    if (len > LIMIT_PROXY_HEADER || (command != 0x20 && command != 0x21))
        return -EPROTO;
    if (bytes.len < len)
        return 0;
    /* LOCAL: the proxy itself, to see whether we are there. What follows is skipped. */
    return command == 0x20 || read_addresses(header, len, out) ? (long)len : -EPROTO;
}

/* ---- which ---- */

static bool begins(struct str bytes, const void *start, size_t len)
{
    return memcmp(bytes.ptr, start, bytes.len < len ? bytes.len : len) == 0;
}

long proxy_header_read(struct str bytes, struct proxy_header *out)
{
    *out = (struct proxy_header){0};
    if (bytes.len == 0)
        return 0;
    if (begins(bytes, v2_start, sizeof(v2_start)))
        return read_v2(bytes, out);
    return begins(bytes, v1_start, sizeof(v1_start) - 1) ? read_v1(bytes, out) : -EPROTO;
}
