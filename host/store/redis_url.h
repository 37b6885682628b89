/* KV_URL: where a server is that speaks Redis' protocol.
 *
 *   redis://[[user]:password@]host[:port][/database][?options]
 *   redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/name[/database][?options]
 *
 * `rediss` and `rediss+sentinel` are the same over TLS, and `valkey` is another name of `redis`.
 * User and password may hold percent-encoded bytes (RFC 3986 section 2.1); IPv6 addresses stand in
 * brackets. The hosts of Sentinel are asked where the primary of that name is; user and password
 * are the primary's, and Sentinel's where it wants any. Options: prefix=TEXT, with which keys on
 * the server begin ("luafn" where none is given); with TLS ca=FILE (who signs the server's
 * certificate; else the system's CAs), and cert=FILE&key=FILE, which the server is shown. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

struct redis_place {
    char host[256]; /* a name or an address, without brackets */
    char port[8];
};

/* Bytes alone, so that two can be compared as memory. */
struct redis_address {
    struct redis_place places[LIMIT_KV_SENTINELS]; /* the server; or Sentinels, with `primary` */
    unsigned char place_count;                     /* 0: no address */
    bool tls;
    char primary[128];             /* its name at Sentinel; empty: no Sentinel */
    char user[128], password[512]; /* empty: none */
    char database[8];              /* empty: the server's first */
    char prefix[64];
    char ca[512], cert[512], key[512]; /* files; empty: none */
};

/* 0 or -EINVAL with the reason, which never holds the password. Files that are not absolute are
 * taken to lie in `folder`. */
int redis_url_parse(struct str url, struct str folder, struct redis_address *out, struct err *err)
    __attribute__((warn_unused_result));
