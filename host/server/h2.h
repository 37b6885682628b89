/* HTTP/2 on a connection (RFC 9113), by nghttp2; for conn*.c alone.
 *
 * Each stream is an exchange. A request's pseudo-header fields and fields are written down as an
 * HTTP/1.1 head and go through the same parser as every other request: what is refused, and how, is
 * the same. DATA is the exchange's body as it comes, and its window is given again as somebody
 * takes it. nghttp2 is fed and asked for bytes; handlers never run inside of it. */
#ifndef LUAFN_SERVER_H2_H
#define LUAFN_SERVER_H2_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct conn;
struct h2;

#define H2_PREFACE STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

/* Begins, before any byte of the preface was taken. NULL when out of memory. */
struct h2 *h2_new(struct conn *conn);
/* Every stream must have ended (h2_abandon). */
void h2_free(struct h2 *h2); /* may be NULL */

/* Bytes of the peer, from the preface on. Closes the connection when they are no HTTP/2. */
void h2_input(struct h2 *h2, struct str bytes);
/* Appends what is to be sent, up to the connection's high-water mark, and ends what is done. */
void h2_output(struct h2 *h2, struct buf *out);
/* What h2_output gave was sent: ends the streams whose answers the kernel has taken. */
void h2_settle(struct h2 *h2);
/* Begins requests that had to wait for room, and whether there is any that may begin. */
void h2_take_ready(struct h2 *h2);
bool h2_may_take_ready(const struct h2 *h2);
/* Tells streams whose bytes are out that they may go on. */
void h2_tell_drained(struct h2 *h2);
/* Tells the peer to begin no more streams (RFC 9113 6.8); what it begins before it has read that is
 * answered. */
void h2_drain(struct h2 *h2);
/* No more streams are taken. */
void h2_end(struct h2 *h2);
/* Ends every stream: the connection closes. */
void h2_abandon(struct h2 *h2);

/* No streams? */
bool h2_is_idle(const struct h2 *h2);
/* Is some request's body waited for? */
bool h2_is_reading(const struct h2 *h2);
/* Refuses those whose body comes too slowly: 408. How many? */
unsigned h2_time_out(struct h2 *h2);
/* Ends those requests that have had their answer for a while and still are not all there. Were
 * there any? Then there is something to send. */
bool h2_end_late(struct h2 *h2);
/* Answers wait although the socket takes bytes: the peer gives no window. */
bool h2_is_blocked(const struct h2 *h2);
/* Are there frames that may be sent now? */
bool h2_has_output(const struct h2 *h2);
/* Breaks off the answers of which the peer has taken too little in the time for that, and ends a
 * connection of which nothing else is left. How many? */
unsigned h2_time_out_answers(struct h2 *h2);

const char *h2_library_version(void);

#endif
