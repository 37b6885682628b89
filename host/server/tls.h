/* TLS of the server, without sockets: ciphertext in, plaintext out, and back.
 *
 * TLS 1.2 and 1.3, ciphers with forward secrecy only, session tickets (their keys are made once, so
 * that workers forked later understand each other's). Nothing asks for a password on a terminal.
 * This file and tls.c are the only ones of the server that know OpenSSL. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct tls;         /* certificates and their keys */
struct tls_session; /* one connection */

/* PEM files: a certificate with its chain, and the key that belongs to it. */
struct tls_files {
    const char *cert, *key;
};

/* What such files hold. */
struct tls_pem {
    struct str cert, key;
};

/* The certificates, in PEM, of those who sign clients' (or of the clients themselves, where these
 * are their own). 0, or -EINVAL and -ENOMEM with the reason; `file` is its name for that. */
int tls_check_ca(const char *file, struct str pem, struct err *err)
    __attribute__((warn_unused_result));

/* Reads the files of `count` pairs, one at least. A client that names a host gets the certificate
 * that is for this very name, else the one with a wildcard for it, else, as who names none, the
 * first. Where a pair does not load it uses what the one in the same place held at an earlier time,
 * if that is known, and the log says why. With `client_ca` (PEM that tls_check_ca found good; it
 * must outlive this) clients are asked for certificates: who has none is served, too, and one that
 * none of these has signed is as none; empty: nobody is asked. NULL with the reason. The names must
 * outlive it. */
struct tls *tls_new(const struct tls_files *files, unsigned count, const struct tls_pem *earlier,
                    unsigned earlier_count, struct str client_ca, struct err *err);
void tls_free(struct tls *tls); /* may be NULL; after the sessions */

/* How many pairs there are, and what each uses; borrowed until the next refresh. */
unsigned tls_count(const struct tls *tls); /* may be NULL: 0 */
struct tls_pem tls_pem(const struct tls *tls, unsigned i);

/* Reads files again that have changed. New connections use what is new; while a pair does not load,
 * its old one serves and the log says why. True when there is another one. */
bool tls_refresh(struct tls *tls);

/* NULL when out of memory. */
struct tls_session *tls_session_new(struct tls *tls);
void tls_session_free(struct tls_session *session); /* may be NULL */

/* Takes bytes of the peer. 0 or -ENOMEM. */
int tls_feed(struct tls_session *session, struct str bytes) __attribute__((warn_unused_result));
/* Plaintext of what was fed: its length; 0 when there is no more; -ECONNRESET when the peer has
 * closed its side in order; -EPROTO when it breaks the protocol. Advances the handshake. */
long tls_read(struct tls_session *session, char *out, size_t size);
/* Encrypts. 0, -EPROTO or -ENOMEM. */
int tls_write(struct tls_session *session, struct str bytes) __attribute__((warn_unused_result));
/* Ends our side in order, once. */
void tls_close(struct tls_session *session);
/* Ciphertext for the peer, borrowed; after tls_sent it is gone. */
struct str tls_outgoing(struct tls_session *session);
void tls_sent(struct tls_session *session);

/* Did both sides agree on HTTP/2? */
bool tls_wants_h2(const struct tls_session *session);
/* The certificate (DER) that the peer has shown to be his in the handshake; empty: none. Borrowed.
 */
struct str tls_client_cert(struct tls_session *session);
/* Is the handshake over? */
bool tls_is_open(const struct tls_session *session);
