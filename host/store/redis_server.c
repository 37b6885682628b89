#include "store/redis_server.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "store/redis_tls.h"

enum { QUIET_MS = 10000 };

void redis_server_init(struct redis_server *server, const struct redis_address *address)
{
    const struct redis_place *first = &address->places[0];
    const char *open = strchr(first->host, ':') != NULL ? "[" : "";
    *server = (struct redis_server){.address = address};
    if (address->primary[0] != '\0')
        snprintf(server->shown, sizeof(server->shown), "'%s' of the Sentinel at %s%s%s:%s%s",
                 address->primary, open, first->host, open[0] != '\0' ? "]" : "", first->port,
                 address->place_count > 1 ? ", ..." : "");
    else
        snprintf(server->shown, sizeof(server->shown), "%s%s%s:%s", open, first->host,
                 open[0] != '\0' ? "]" : "", first->port);
}

void redis_server_free(struct redis_server *server)
{
    redis_tls_free(server->tls);
    server->tls = NULL;
}

static bool may_tell(struct redis_server *server, uint64_t now_ms)
{
    if (now_ms < server->quiet_ms)
        return false;
    server->quiet_ms = now_ms + QUIET_MS;
    return true;
}

/* What to write where it is the login that the server does not like. */
static const char *advice(const char *said)
{
    static const struct {
        const char *says, *advice;
    } known[] = {
        {"WRONGPASS",
         ": KV_URL: user:password before the @ are others, or must be percent-encoded"},
        {"NOAUTH", ": KV_URL: user:password or :password before the @ is missing"},
        {"ERR AUTH", ": KV_URL: it wants no :password before the @"},
        {"ERR Client sent AUTH", ": KV_URL: it wants no :password before the @"},
        {"NOPERM", ": KV_URL's user needs the commands, ~PREFIX* and &PREFIX*"},
        {"ERR DB index", ": KV_URL: the number after the / is of no database there"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strstr(said, known[i].says) != NULL)
            return known[i].advice;
    }
    return "";
}

void redis_server_tell_down(struct redis_server *server, uint64_t now_ms, const char *why)
{
    if (server->down_told || !may_tell(server, now_ms))
        return;
    log_message(LOG_ERROR, "the store at %s cannot be reached: %s%s", server->shown, why,
                advice(why));
    server->down_told = true;
}

void redis_server_tell_up(struct redis_server *server)
{
    if (server->down_told)
        log_message(LOG_INFO, "the store at %s answers again", server->shown);
    server->down_told = false;
    server->ups++;
}

void redis_server_tell_refused(struct redis_server *server, uint64_t now_ms, const char *what)
{
    if (may_tell(server, now_ms))
        log_message(LOG_ERROR, "the store at %s refuses: %s%s", server->shown, what, advice(what));
}
