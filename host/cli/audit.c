/* luafn audit: the known attacks on tokens, fired at a running host.
 *
 * Nothing is fetched but from the given host, and from the URL of --jwks. share/audit.lua has the
 * attacks, and judges what becomes of them. */
#include "cli/audit_internal.h"
#include "cli/cli.h"
#include "cli/dev_place.h"

static int audit_run(struct audit *a, const char *url)
{
    int rc = audit_find_targets(a, url);
    if (rc == 0)
        rc = audit_find_keys(a);
    if (rc == 0 && a->issuer.ptr == NULL)
        a->issuer = arena_printf(&a->arena, "%.*s/", STR_ARG(a->origin));
    if (rc == 0 && a->audience.ptr == NULL)
        a->audience = STR(DEV_AUDIENCE);
    if (rc == 0)
        rc = audit_attack(a);
    keyset_unref(a->keys);
    buf_free(&a->answer.body);
    return rc;
}

static int run(int argc, char **argv)
{
    static struct audit a;
    const char *url = NULL, *token = NULL, *issuer = NULL, *audience = NULL;
    int count = 0;
    const struct option options[] = {{"--config", OPTION_TEXT, &a.config_file},
                                     {"--token", OPTION_TEXT, &token},
                                     {"--jwks", OPTION_TEXT, &a.key_set_url},
                                     {"--issuer", OPTION_TEXT, &issuer},
                                     {"--aud", OPTION_TEXT, &audience},
                                     {"--revoke", OPTION_FLAG, &a.revokes},
                                     {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_audit, argc, argv, options, &url, 1, &count);
    if (rc == 0 && count == 0)
        rc = cli_usage(&command_audit, "a URL is missing, as http://127.0.0.1:8888");
    if (rc != 0)
        return rc;
    a.command = &command_audit;
    arena_init(&a.arena);
    a.token = str_from(token);
    a.issuer = str_from(issuer);
    a.audience = str_from(audience);
    if (probe_open(&a.probe) != 0)
        return cli_fault("out of memory");
    rc = audit_run(&a, url);
    probe_close(&a.probe);
    arena_free(&a.arena);
    return rc;
}

const struct command command_audit = {"audit", run};
