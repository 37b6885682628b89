/* Who is behind a proxy: networks whose word counts, and the one header that they write, by
 * X-Forwarded-For's custom or RFC 7239. Pure text, no sockets.
 *
 * Anybody can send such headers, and most proxies pass on what a client says in those that they do
 * not write themselves. So one header is believed, from the networks that the configuration names,
 * and read from its end: each address was written by the hop to its right. */
#pragma once

#include "http/request.h"

/* Addresses as IPv6; one of IPv4 is a mapped one (::ffff:0:0/96). */
struct network {
    unsigned char address[16];
    unsigned bits; /* of the address, from its beginning, that count */
};

struct proxies {
    struct network *from; /* borrowed from the configuration */
    unsigned from_count;
    bool from_unix; /* who comes by a unix socket is believed, too */
    enum forwarded_by header;
    bool trust_host;        /* what they say about the host's name counts, too */
    struct str cert_header; /* in which they tell the client's certificate (RFC 9440), in small
                               letters; empty: in none */
};

/* The address of who comes by a unix socket. */
#define FORWARDED_UNIX STR("unix")

/* "10.0.0.0/8", "::1". False: it is none, or has bits behind those that count. */
bool forwarded_parse_network(struct str text, struct network *out);

/* Is anybody believed? */
bool forwarded_any(const struct proxies *proxies);

/* Is the word of a peer with this address believed? */
bool forwarded_trusts(const struct proxies *proxies, struct str peer);

/* Puts the client's address, scheme and, with trust_host, host into the request of a trusted peer,
 * whose address req->client_ip is, and notes in req->forwarded whose header that was. Addresses are
 * written in one form. What cannot be read is the end of what is believed: the client is then the
 * last hop that is known. With cert_header the client's certificate is the one that stands there,
 * if it is one field of that syntax; from anybody else such a header says nothing. 0 or -ENOMEM. */
int forwarded_apply(const struct proxies *proxies, struct request *req, struct arena *arena)
    __attribute__((warn_unused_result));

/* May a handler see this header of the request (lower case)? Not when it says who is behind a
 * proxy, and nobody who is trusted said so. */
bool forwarded_may_show(const struct request *req, struct str name);
