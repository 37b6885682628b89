/* KV_URL: where a server is that speaks Redis' protocol.
 *
 *   redis://[user][:password]@host[:port][/database][?prefix=text]
 *
 * The provisional registration of the scheme at IANA, and `valkey` as another name of it. User and
 * password may hold percent-encoded bytes (RFC 3986 section 2.1); IPv6 addresses stand in brackets.
 * Keys on the server begin with the prefix, which is "luafn" where none is given. */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct redis_address {
    char host[256]; /* a name or an address, without brackets */
    char port[8];
    char user[128], password[512]; /* empty: none */
    char database[8];              /* empty: the server's first */
    char prefix[64];
};

/* 0 or -EINVAL with the reason, which never holds the password. */
int redis_url_parse(struct str url, struct redis_address *out, struct err *err)
    __attribute__((warn_unused_result));
