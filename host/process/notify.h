/* The service manager (systemd): what it is told, and the sockets that it hands over. Both
 * protocols are a few lines of text and numbers, so no library of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Does somebody want to be told? ($NOTIFY_SOCKET) */
bool notify_wanted(void);
/* Sends assignments such as "READY=1\nSTATUS=..." in one datagram; what cannot be sent is lost. */
void notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* How often it wants to hear WATCHDOG=1, in nanoseconds; 0: not at all. */
uint64_t notify_watchdog(void);

struct notify_socket {
    int fd;
    char name[64]; /* of $LISTEN_FDNAMES; "unknown" where there is none */
};

/* The sockets that were handed over to this process; how many of at most `max`. The variables that
 * tell of them are taken out of the environment. */
unsigned notify_sockets(struct notify_socket *out, unsigned max);
