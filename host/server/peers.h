/* How many connections each address has, to keep one address from taking them all.
 *
 * As large as what it counts: an address is in it while it has a connection. Addresses are hashed
 * with a key that strangers do not know. */
#pragma once

struct peers;
struct peer; /* an address with connections */

/* At most `each` (1 or more) connections an address; `all`: how many of all there may be, a guess
 * for the table's size. NULL when out of memory. */
struct peers *peers_new(unsigned each, unsigned all);
void peers_free(struct peers *peers); /* when all have left; may be NULL */

/* One more connection of this address ("192.0.2.1", 45 characters at most). NULL: it has as many as
 * it may, or there is no memory. */
struct peer *peers_join(struct peers *peers, const char *address);
void peers_leave(struct peer *peer);
