/* luafn revoke: tokens that the hosts of this configuration let in no more.
 *
 * It writes to the store that they share, whose workers hear of it at once; no host need run. */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/rfc3339.h"
#include "cli/cli.h"
#include "cli/dev_place.h"
#include "cli/kept_store.h"
#include "shared/revocations.h"

struct revoke {
    const char *config_file, *ids[REVOCATION_KINDS], *before, *issuer;
    bool dev;
    enum revocation_kind kind;
    uint32_t time; /* of --before, or what stands for it */
    double now;
};

static const char *const names[REVOCATION_KINDS] = {"sub", "sid", "jti"};

/* ---- what is asked for ---- */

static int read_id(struct revoke *o)
{
    unsigned given = 0;
    for (unsigned i = 0; i < REVOCATION_KINDS; i++) {
        if (o->ids[i] == NULL)
            continue;
        o->kind = (enum revocation_kind)i;
        given++;
    }
    if (given != 1)
        return cli_usage(&command_revoke, "one of --sub, --sid and --jti is needed");
    return o->ids[o->kind][0] != '\0' ? 0
                                      : cli_usage(&command_revoke, "--%s is empty", names[o->kind]);
}

static int read_before(struct revoke *o)
{
    int64_t seconds;
    double fraction;
    o->time = o->kind == REVOCATION_SUB ? (uint32_t)o->now : REVOCATION_ALWAYS;
    if (o->before == NULL)
        return 0;
    if (!rfc3339_read(str_from(o->before), &seconds, &fraction) || seconds < 0)
        return cli_usage(&command_revoke,
                         "--before is a time such as 2026-01-02T03:04:05Z, not '%s'", o->before);
    if ((double)seconds > o->now)
        return cli_usage(&command_revoke, "--before %s is yet to come", o->before);
    o->time = (uint32_t)seconds;
    return 0;
}

/* ---- it is done ---- */

static void print_done(const struct revoke *o)
{
    char text[32];
    time_t time = (time_t)o->time;
    struct tm tm;
    gmtime_r(&time, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    bool always = o->time == REVOCATION_ALWAYS;
    printf("revoked: tokens whose %s is '%s'%s%s\n", names[o->kind], o->ids[o->kind],
           always ? "" : ", of who signed in up to ", always ? "" : text);
}

static int carry_out(const struct revoke *o, const struct config *config)
{
    struct err err;
    const struct revocation revocation =
        revocations_make(o->kind, str_from(o->issuer != NULL ? o->issuer : ""),
                         str_from(o->ids[o->kind]), o->time, o->now);
    if (kept_store_revoke(o->config_file, config, &revocation, &err) != 0)
        return cli_fault("nothing was revoked: %s", err.text);
    print_done(o);
    return 0;
}

/* ---- the command ---- */

static int run(int argc, char **argv)
{
    struct revoke o = {.config_file = "functions.lua", .now = floor(clock_now())};
    const struct option options[] = {{"--sub", OPTION_TEXT, &o.ids[REVOCATION_SUB]},
                                     {"--sid", OPTION_TEXT, &o.ids[REVOCATION_SID]},
                                     {"--jti", OPTION_TEXT, &o.ids[REVOCATION_JTI]},
                                     {"--before", OPTION_TEXT, &o.before},
                                     {"--issuer", OPTION_TEXT, &o.issuer},
                                     {"--config", OPTION_TEXT, &o.config_file},
                                     {"--dev", OPTION_FLAG, &o.dev},
                                     {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_revoke, argc, argv, options, NULL, 0, NULL);
    if (rc == 0)
        rc = read_id(&o);
    if (rc == 0)
        rc = read_before(&o);
    if (rc != 0)
        return rc;
    struct err err;
    const struct config_options config_options = {
        .file = o.config_file, .dev = o.dev, .defaults = dev_place_defaults(o.config_file)};
    struct config *config = config_load(&config_options, &err);
    if (config == NULL)
        return cli_fault("%s", err.text);
    rc = carry_out(&o, config);
    config_free(config);
    return rc;
}

const struct command command_revoke = {"revoke", run};
