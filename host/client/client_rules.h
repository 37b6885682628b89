/* What an outbound call may reach: judged once for the text of a URL, once for every address.
 *
 * The text decides which kinds of address the host may turn out to have; the address that a name
 * resolves to is then held against those kinds. No sockets, no libcurl: pure. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/str.h"
#include "client/client.h"

/* Kinds of address; a hop's reach is a set of them. */
enum client_reach {
    REACH_PUBLIC = 1,   /* globally reachable unicast (IANA special-purpose registries) */
    REACH_LOOPBACK = 2, /* 127.0.0.0/8, ::1, and those as IPv4-mapped IPv6 */
    REACH_INSIDE = 4    /* all the rest: private, link-local, shared, multicast, reserved ... */
};

enum client_reach client_reach_of(const struct sockaddr *address);
/* Of an address as text, without brackets; 0 when it is none. */
unsigned client_reach_of_text(const char *text);

/* Is this name loopback by definition (an address of that kind, localhost, *.localhost)? */
bool client_host_is_loopback(const char *host);

/* The kinds of address that `host` (lower case, no brackets, no trailing dot) may have under these
 * rules, in *reach. 0, or -EACCES with the reason. */
int client_rules_judge(const struct client_rules *rules, bool https, const char *host,
                       const char *port, unsigned *reach, struct err *err)
    __attribute__((warn_unused_result));

/* RFC 9110 9.2.2 */
bool client_method_is_idempotent(struct str method);

/* ---- header fields of a request ---- */

/* Fields of the connection, not of the request; and Host, which would let a script speak to another
 * site than the one that was judged. */
bool client_header_is_left_out(struct str name);
/* Fields that must not follow a redirect to another origin. */
bool client_header_is_secret(struct str name);
/* Fields that go when a redirect drops the body. */
bool client_header_is_of_body(struct str name);
