/* What was revoked elsewhere: by `luafn revoke`, by other hosts on the same store, before this one
 * was started. What is revoked in this host is in shared memory at once; here the rest is brought
 * there.
 *
 * One request to the store is always under way. The embedded store gives it back when somebody has
 * added something; a server is asked to let it wait for LIMIT_REVOCATIONS_WAIT, again and again. */
#include "app/app.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"

enum { AGAIN_MS = 1000 /* after a failure */ };

static void read_on(struct app *app);

/* Has another worker of this host read some? Then this one knows as much as that. */
static bool others_know(void)
{
    char position[REVOCATION_POSITION];
    revocations_position(position);
    return position[0] != '\0';
}

static void settle(struct app *app)
{
    struct app_reader *reader = &app->reader;
    revocations_expect(reader->needed && !reader->known);
    if (reader->is_settled)
        return;
    reader->is_settled = true;
    reader->settled(app);
}

static void take(struct app *app, struct str entries)
{
    double now = clock_now();
    bool full = false;
    for (; entries.len >= REVOCATION_BYTES; entries = str_skip(entries, REVOCATION_BYTES)) {
        struct revocation revocation = revocations_read(entries.ptr);
        if ((double)revocation.until >= now)
            full = revocations_add(&revocation, now) != 0 || full;
    }
    if (full && !app->reader.full_told)
        log_message(LOG_ERROR,
                    "more than %d revocations: those that were read last do not count here",
                    LIMIT_REVOCATIONS);
    app->reader.full_told = full;
}

static void on_again(uv_timer_t *timer)
{
    read_on(container_of(timer, struct app, reader.again));
}

static void on_read(struct store_request *request)
{
    struct app *app = container_of(request, struct app, reader.request);
    struct app_reader *reader = &app->reader;
    if (request->status == 0) {
        take(app, buf_str(&request->out));
        if (request->position.len > 0)
            revocations_set_position(buf_str(&request->position), true);
        reader->known = reader->known || !request->more;
    }
    bool ok = request->status == 0, more = ok && request->more;
    buf_free(&request->out);
    buf_free(&request->position);
    if (!reader->open)
        return;
    if (!ok)
        reader->known = reader->known || others_know();
    if (!more)
        settle(app);
    reader->asked = ok;
    if (!ok)
        uv_timer_start(&reader->again, on_again, AGAIN_MS, 0);
    else if (!reader->reading)
        read_on(app);
}

/* What is there to be read comes from within, so this is a loop. */
static void read_on(struct app *app)
{
    struct app_reader *reader = &app->reader;
    reader->reading = true;
    do {
        reader->asked = false;
        revocations_position(reader->after);
        reader->request =
            (struct store_request){.kind = STORE_REVOKED,
                                   .after = str_from(reader->after),
                                   .ttl_ms = reader->known ? LIMIT_REVOCATIONS_WAIT : 0,
                                   .limit = LIMIT_REVOCATIONS_READ,
                                   .done = on_read};
        store_submit(app->store, &reader->request);
    } while (reader->asked && reader->open);
    reader->reading = false;
}

void app_revocation_open(struct app *app, void (*settled)(struct app *app))
{
    struct app_reader *reader = &app->reader;
    reader->settled = settled;
    if (app->store == NULL) {
        reader->known = app->options.kv_file == NULL; /* nothing is kept anywhere */
        settle(app);
        return;
    }
    reader->open = true;
    uv_timer_init(app->loop, &reader->again);
    read_on(app);
}

void app_revocation_close(struct app *app)
{
    if (!app->reader.open)
        return;
    app->reader.open = false;
    uv_close((uv_handle_t *)&app->reader.again, NULL);
}

void app_revocation_need(struct app *app, const struct config *config)
{
    app->reader.needed = false;
    for (unsigned i = 0; i < config->issuer_count; i++)
        app->reader.needed = app->reader.needed || config->revocations[i].set;
    revocations_expect(app->reader.needed && !app->reader.known);
}
