/* luafn check: is everything loadable? */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/check_diff.h"
#include "cli/check_old.h"
#include "cli/cli.h"
#include "cli/load.h"
#include "cli/dev_place.h"
#include "cli/migrations.h"
#include "lua/script.h"

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

/* Is there a variable of this name, or one that the glob stands for? */
struct env_search {
    struct str pattern;
    bool found;
};

static void on_variable(void *arg, const char *name, const char *value)
{
    struct env_search *search = arg;
    (void)value;
    search->found = search->found || str_glob(search->pattern, str_from(name));
}

/* A variable that a function lists and nobody has set is nil there: maybe it is set where the host
 * will run, so worth a word, not a fault. */
static void warn_unset(const struct deployment *deployment)
{
    for (unsigned i = 0; i < deployment->function_count; i++) {
        const struct function_spec *spec = deployment->functions[i]->spec;
        for (unsigned j = 0; j < spec->env_count; j++) {
            struct env_search search = {.pattern = spec->env[j]};
            env_each(deployment->config->env, false, on_variable, &search);
            if (!search.found)
                fprintf(stderr,
                        "warning: function %.*s lists '%.*s' in `env`, which is set neither in the "
                        "environment nor in a .env file\n",
                        STR_ARG(spec->name), STR_ARG(spec->env[j]));
        }
    }
}

/* What is wrong in _redirects and the like. Returns the number of faults among it. */
static unsigned tell_notes(const struct config *config)
{
    unsigned faults = 0;
    for (unsigned i = 0; i < config->note_count; i++) {
        bool fault = config->notes[i].fault;
        fprintf(stderr, "%s%.*s\n", fault ? "" : "warning: ", STR_ARG(config->notes[i].text));
        faults += fault;
    }
    return faults;
}

/* dev/auth.lua beside the file, if there is one: what the issuer of `dev` would say. */
static unsigned check_auth_file(const char *config_file)
{
    char path[PATH_MAX];
    if (cli_beside(config_file, "dev/auth.lua", path, sizeof(path)) != 0 || access(path, F_OK) != 0)
        return 0;
    const struct load_options options = {.config_file = config_file,
                                         .dev = true,
                                         .defaults = dev_place_defaults(config_file),
                                         .only = SCRIPT_EMBEDDED "scripts/dev/check.lua"};
    unsigned faults;
    struct deployment *deployment = load_deployment(&options, &faults);
    if (deployment != NULL)
        load_undo(deployment);
    return faults;
}

/* Against what it was; `now` has no faults. An exit status. */
static int compare(const struct deployment *now, const struct load_options *as, const char *old,
                   bool allow)
{
    struct check_old before;
    struct load_options as_before = *as;
    unsigned faults;
    int rc = check_old_open(old, as->config_file, &before);
    if (rc != 0)
        return rc;
    as_before.config_file = before.config;
    struct deployment *deployment = load_deployment(&as_before, &faults);
    rc = faults == 0 ? check_diff(deployment, now, allow)
                     : cli_fault("'%s' does not load, so there is nothing to compare with", old);
    if (deployment != NULL)
        load_undo(deployment);
    check_old_close(&before);
    return rc;
}

/* The names of migrations/NNN_name.sql. Returns the number of faults. */
static unsigned check_migrations(const struct config *config)
{
    struct migrations migrations;
    unsigned faults = migrations_read(config->folder, &migrations);
    migrations_free(&migrations);
    return faults;
}

static int run(int argc, char **argv)
{
    const char *config_file = "functions.lua", *old = NULL;
    bool dev = false, allow = false;
    const struct option options[] = {{"--config", OPTION_TEXT, &config_file},
                                     {"--dev", OPTION_FLAG, &dev},
                                     {"--diff", OPTION_TEXT, &old},
                                     {"--allow", OPTION_FLAG, &allow},
                                     {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_check, argc, argv, options, NULL, 0, NULL);
    if (rc == 0 && old != NULL && old[0] == '-')
        rc = cli_usage(&command_check, "--diff takes a folder or a revision of git, not '%s'", old);
    if (rc == 0 && allow && old == NULL)
        rc = cli_usage(&command_check, "--allow is about --diff");
    if (rc != 0)
        return rc;
    const struct load_options as_served = {.config_file = config_file};
    const struct load_options as_dev = {
        .config_file = config_file, .dev = true, .defaults = dev_place_defaults(config_file)};
    const struct load_options *as = dev ? &as_dev : &as_served;
    unsigned faults;
    struct deployment *deployment = load_deployment(as, &faults);
    if (deployment != NULL) {
        faults += tell_notes(deployment->config);
        faults += check_migrations(deployment->config);
        warn_open(deployment);
        warn_unset(deployment);
        unsigned count = deployment->function_count;
        bool of_netlify = str_ends_with(deployment->config->file, STR("/netlify.toml"));
        if (faults == 0 && old != NULL)
            rc = compare(deployment, as, old, allow);
        load_undo(deployment);
        faults += check_auth_file(config_file);
        if (faults == 0 && old == NULL)
            printf("%s: %u function%s, no faults\n", of_netlify ? "netlify.toml" : config_file,
                   count, count == 1 ? "" : "s");
    }
    return faults == 0 ? rc : EXIT_FAULT;
}

const struct command command_check = {"check", run};
