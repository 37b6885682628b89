/* Which hosts and addresses an outbound call may reach.
 *
 * A function that fetches a URL which somebody else chose is a door into the network behind the
 * host. So private addresses are closed unless the deployment names the host, and the kinds are an
 * allow-list: whatever the IANA registries do not call globally reachable is "inside". */
#include "client/client_rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

struct range4 {
    uint32_t first;
    unsigned bits;
};

/* IPv4 ranges that are not public, from the IANA special-purpose registry. */
static const struct range4 inside4[] = {
    {0x00000000, 8},  /* "this network": 0.0.0.0 connects to this machine */
    {0x0a000000, 8},  /* RFC 1918 */
    {0x64400000, 10}, /* RFC 6598: shared by carriers */
    {0xa9fe0000, 16}, /* link-local, where clouds keep their metadata */
    {0xac100000, 12}, /* RFC 1918 */
    {0xc0000000, 24}, /* IETF protocol assignments */
    {0xc0000200, 24}, /* documentation */
    {0xc0586300, 24}, /* 6to4 relays, deprecated */
    {0xc0a80000, 16}, /* RFC 1918 */
    {0xc6120000, 15}, /* benchmarks */
    {0xc6336400, 24}, /* documentation */
    {0xcb007100, 24}, /* documentation */
    {0xe0000000, 3},  /* multicast and reserved, with the broadcast address */
};

static enum client_reach reach_of_v4(uint32_t address)
{
    if (address >> 24 == 127)
        return REACH_LOOPBACK;
    for (size_t i = 0; i < sizeof(inside4) / sizeof(inside4[0]); i++)
        if ((address ^ inside4[i].first) >> (32 - inside4[i].bits) == 0)
            return REACH_INSIDE;
    return REACH_PUBLIC;
}

static uint32_t v4_at(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* An address that carries an IPv4 one through a translator is as public as that one. */
static enum client_reach reach_of_carried(const unsigned char *bytes)
{
    return reach_of_v4(v4_at(bytes)) == REACH_PUBLIC ? REACH_PUBLIC : REACH_INSIDE;
}

static enum client_reach reach_of_v6(const unsigned char *a)
{
    static const unsigned char zero[16];
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const unsigned char nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(a, zero, 15) == 0 && a[15] == 1)
        return REACH_LOOPBACK;
    if (memcmp(a, mapped, sizeof(mapped)) == 0)
        return reach_of_v4(v4_at(a + 12));
    if (memcmp(a, nat64, sizeof(nat64)) == 0) /* RFC 6052 */
        return reach_of_carried(a + 12);
    if (a[0] == 0x20 && a[1] == 0x02) /* 6to4, RFC 3056 */
        return reach_of_carried(a + 2);
    if (a[0] >> 5 != 1) /* outside of 2000::/3: unique local, link-local, multicast ... */
        return REACH_INSIDE;
    if (a[0] == 0x20 && a[1] == 0x01 && (a[2] < 2 || (a[2] == 0x0d && a[3] == 0xb8)))
        return REACH_INSIDE; /* 2001::/23 with Teredo; 2001:db8::/32 documentation */
    if (a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10)
        return REACH_INSIDE; /* 3fff::/20 documentation */
    return REACH_PUBLIC;
}

enum client_reach client_reach_of(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof(v4));
        return reach_of_v4(ntohl(v4.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof(v6));
        return reach_of_v6(v6.sin6_addr.s6_addr);
    }
    return REACH_INSIDE;
}

unsigned client_reach_of_text(const char *text)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, text, &v4) == 1)
        return reach_of_v4(ntohl(v4.s_addr));
    if (inet_pton(AF_INET6, text, &v6) == 1)
        return reach_of_v6(v6.s6_addr);
    return 0;
}

bool client_host_is_loopback(const char *host)
{
    return client_reach_of_text(host) == REACH_LOOPBACK ||
           str_eq(str_from(host), STR("localhost")) || /* RFC 6761 section 6.3 */
           str_ends_with(str_from(host), STR(".localhost"));
}

/* A lone star means "anybody out there"; it does not open the network inside. */
static bool is_anybody(struct str pattern)
{
    return str_eq(pattern, STR("*")) || str_starts_with(pattern, STR("*:"));
}

static bool matches(struct str pattern, const char *host, const char *port)
{
    bool v6 = strchr(host, ':') != NULL;
    char text[320];
    int len = snprintf(text, sizeof(text), v6 ? "[%s]:%s" : "%s:%s", host, port);
    if (len < 0 || (size_t)len >= sizeof(text))
        return false;
    struct str with_port = {text, (size_t)len};
    struct str alone = {text, with_port.len - strlen(port) - 1};
    return str_glob(pattern, alone) || str_glob(pattern, with_port) ||
           (v6 && str_eq(pattern, str_from(host)));
}

static unsigned listed_reach(const struct client_rules *rules, const char *host, const char *port)
{
    unsigned reach = 0;
    for (unsigned i = 0; i < rules->host_count; i++) {
        if (matches(rules->hosts[i], host, port)) {
            reach |= is_anybody(rules->hosts[i]) ? REACH_PUBLIC
                                                 : REACH_PUBLIC | REACH_LOOPBACK | REACH_INSIDE;
        }
    }
    return reach;
}

int client_rules_judge(const struct client_rules *rules, bool https, const char *host,
                       const char *port, unsigned *reach, struct err *err)
{
    bool loopback = client_host_is_loopback(host);
    *reach = listed_reach(rules, host, port);
    if (rules->any_public)
        *reach |= REACH_PUBLIC;
    if (rules->allow_loopback && (loopback || *reach != 0))
        *reach |= REACH_LOOPBACK;
    if (*reach == 0)
        return err_set(err, -EACCES, "host '%s' is not listed for fetch", host);
    if (rules->https_only && !https) {
        *reach &= REACH_LOOPBACK;
        if (!loopback)
            return err_set(err, -EACCES, "host '%s' must be reached over https", host);
    }
    unsigned kind = client_reach_of_text(host);
    if (kind != 0 && (*reach & kind) == 0)
        return err_set(err, -EACCES, "address '%s' is private and not listed for fetch", host);
    return 0;
}

bool client_method_is_idempotent(struct str method)
{
    static const char *const names[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_eq(method, str_from(names[i])))
            return true;
    return false;
}

bool client_header_is_left_out(struct str name)
{
    static const char *const names[] = {"host",
                                        "content-length",
                                        "transfer-encoding",
                                        "connection",
                                        "keep-alive",
                                        "te",
                                        "expect",
                                        "trailer",
                                        "upgrade",
                                        "proxy-connection",
                                        "proxy-authorization"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_eq_nocase(name, str_from(names[i])))
            return true;
    return false;
}

bool client_header_is_secret(struct str name)
{
    return str_eq_nocase(name, STR("authorization")) || str_eq_nocase(name, STR("cookie")) ||
           str_eq_nocase(name, STR("x-amz-security-token"));
}

bool client_header_is_of_body(struct str name)
{
    return name.len >= 8 && str_eq_nocase((struct str){name.ptr, 8}, STR("content-"));
}
