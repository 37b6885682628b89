/* luafn routes: what is served where, behind which check. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/dev_place.h"
#include "cli/load.h"
#include "app/routes.h"

static int run(int argc, char **argv)
{
    const char *config_file = "functions.lua";
    bool json = false, openapi = false;
    const struct option options[] = {{"--config", OPTION_TEXT, &config_file},
                                     {"--json", OPTION_FLAG, &json},
                                     {"--openapi", OPTION_FLAG, &openapi},
                                     {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_routes, argc, argv, options, NULL, 0, NULL);
    if (rc != 0)
        return rc;
    unsigned faults;
    const struct load_options from = {.config_file = config_file,
                                      .defaults = dev_place_defaults(config_file)};
    struct deployment *deployment = load_deployment(&from, &faults);
    if (deployment == NULL)
        return EXIT_FAULT;
    struct buf out = BUF_INIT;
    if (openapi)
        routes_write_openapi(deployment, &out);
    else if (json)
        routes_write_json(deployment, &out);
    else
        routes_write_text(deployment, &out);
    buf_add_str(&out, json || openapi ? STR("\n") : STR(""));
    cli_write(buf_str(&out));
    bool failed = buf_failed(&out);
    buf_free(&out);
    load_undo(deployment);
    return faults == 0 && !failed ? EXIT_GOOD : EXIT_FAULT;
}

const struct command command_routes = {"routes", run};
