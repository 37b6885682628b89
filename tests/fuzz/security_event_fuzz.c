/* Any JSON as the claims of a logout token and of a security event: it is refused with a code and a
 * text, or what it asks for is bounded, of now or before, and not for ever. The first byte chooses
 * `typ`. */
#include <stdlib.h>
#include <string.h>

#include "auth/security_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const double now = 1700000000;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void look(const struct security_event *event)
{
    require(event->err == NULL || (event->text != NULL && event->count == 0));
    require(event->err != NULL || event->id.len > 0);
    require(event->count <= LIMIT_REVOCATION_EVENTS);
    for (unsigned i = 0; i < event->count; i++) {
        const struct revocation *r = &event->list[i];
        require(r->before == REVOCATION_ALWAYS || r->before <= now);
        require(r->until > now);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"logout+jwt", "secevent+jwt", "JWT", "at+jwt"};
    struct security_event event;
    if (size == 0)
        return 0;
    json_t *header = json_pack("{s:s}", "typ", types[data[0] % 4]);
    json_t *claims = json_loadb((const char *)data + 1, size - 1, JSON_REJECT_DUPLICATES, NULL);
    if (header != NULL && json_is_object(claims)) {
        const struct str issuer = {"https://idp.example/", 20};
        security_event_read_logout(header, claims, issuer, now, 60, &event);
        look(&event);
        security_event_read_set(header, claims, issuer, now, 60, &event);
        look(&event);
    }
    json_decref(header);
    json_decref(claims);
    return 0;
}
