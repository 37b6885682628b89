/* luafn routes: what is served where, behind which check. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/load.h"
#include "routes.h"

static int run(int argc, char **argv)
{
    const char *config_file = "functions.lua";
    bool json = false;
    const struct option options[] = {{"--config", OPTION_TEXT, &config_file},
                                     {"--json", OPTION_FLAG, &json},
                                     {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_routes, argc, argv, options, NULL, 0, NULL);
    if (rc != 0)
        return rc;
    unsigned faults;
    struct deployment *deployment = load_deployment(config_file, &faults);
    if (deployment == NULL)
        return EXIT_FAULT;
    struct buf out = BUF_INIT;
    if (json)
        routes_write_json(deployment, &out);
    else
        routes_write_text(deployment, &out);
    buf_add_str(&out, json ? STR("\n") : STR(""));
    fwrite(out.data, 1, out.len, stdout);
    bool failed = buf_failed(&out);
    buf_free(&out);
    unload_deployment(deployment);
    return faults == 0 && !failed ? EXIT_GOOD : EXIT_FAULT;
}

const struct command command_routes = {
    .name = "routes",
    .arguments = "[--json] [--config FILE]",
    .summary = "Prints a row a route: method, path, function, script, auth, limits, generation.",
    .help = "\n  --json  the same as a JSON array\n\nExample:\n  luafn routes --json\n",
    .run = run,
};
