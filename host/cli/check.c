/* luafn check: is everything loadable? */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/load.h"

/* A function that says nothing about who may call it is open: worth a word, not a fault. */
static void warn_open(const struct deployment *deployment)
{
    for (unsigned i = 0; i < deployment->function_count; i++) {
        const struct function_spec *spec = deployment->functions[i]->spec;
        if (spec->policy.kind == POLICY_UNSET && spec->cron == NULL)
            fprintf(
                stderr,
                "warning: function %.*s has no `auth`: write auth = true, a table, or \"public\"\n",
                STR_ARG(spec->name));
    }
}

static int run(int argc, char **argv)
{
    const char *config_file = "functions.lua";
    const struct option options[] = {{"--config", OPTION_TEXT, &config_file},
                                     {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_check, argc, argv, options, NULL, 0, NULL);
    if (rc != 0)
        return rc;
    unsigned faults;
    struct deployment *deployment = load_deployment(config_file, &faults);
    if (deployment != NULL) {
        warn_open(deployment);
        if (faults == 0)
            printf("%s: %u functions, no faults\n", config_file, deployment->function_count);
        unload_deployment(deployment);
    }
    return faults == 0 ? EXIT_GOOD : EXIT_FAULT;
}

const struct command command_check = {
    .name = "check",
    .arguments = "[--config FILE]",
    .summary =
        "Loads the configuration and every function, and names each fault with file and line.",
    .help =
        "\nRuns nothing over the network. Exit status 1 when there is a fault. Functions that do not say who may call them are\n"
        "warned about.\n"
        "\nExample:\n  luafn check && luafn serve\n",
    .run = run,
};
