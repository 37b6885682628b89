/* luafn migrate: brings databases up to date (cli/migrations.h). */
#include <stdio.h>
#include <uv.h>

#include "cli/cli.h"
#include "cli/dev_place.h"
#include "cli/load.h"
#include "cli/migrations.h"

/* A database that is brought up to date. */
struct migrated {
    const char *variable;
    unsigned count;
};

static void on_applied(void *arg, const struct migration *migration)
{
    struct migrated *m = arg;
    m->count++;
    printf("%s: applied migrations/%s\n", m->variable, migration->name);
}

static int migrate_one(const struct config *config, const struct migrations *migrations,
                       const char *variable, struct sql *sql, uv_loop_t *loop)
{
    struct migrated m = {.variable = variable};
    struct err err;
    const char *url = env_get(config->env, variable);
    if (url == NULL)
        return cli_fault("%s is set neither in the environment nor in a .env file", variable);
    if (migrations_apply(migrations, sql, loop, str_from(url), config->folder, on_applied, &m,
                         &err) != 0)
        return cli_fault("%s: %s", variable, err.text);
    if (m.count == 0)
        printf("%s: nothing to do\n", variable);
    return 0;
}

static int migrate_all(const struct config *config, const struct migrations *migrations,
                       const struct buf *variables)
{
    uv_loop_t loop;
    int rc = 0;
    if (uv_loop_init(&loop) != 0)
        return cli_fault("no descriptors are left: raise `ulimit -n`");
    struct sql *sql = sql_new(&loop, NULL);
    if (sql == NULL)
        rc = cli_fault("out of memory");
    for (size_t at = 0; rc == 0 && at < variables->len; at += strlen(variables->data + at) + 1)
        rc = migrate_one(config, migrations, variables->data + at, sql, &loop);
    sql_close(sql);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return rc;
}

static int migrate(const struct deployment *deployment, const char *variable)
{
    struct migrations migrations;
    struct buf variables = BUF_INIT;
    int rc = migrations_read(deployment->config->folder, &migrations) > 0 ? EXIT_FAULT : 0;
    if (variable != NULL)
        buf_add(&variables, variable, strlen(variable) + 1);
    if (rc == 0 &&
        (variable != NULL ? buf_failed(&variables) : !migrations_variables(deployment, &variables)))
        rc = cli_fault("out of memory");
    else if (rc == 0 && migrations.count == 0)
        rc = cli_fault("there is no migrations/001_NAME.sql beside functions.lua");
    else if (rc == 0 && variables.len == 0)
        rc = cli_fault("no function lists a variable in `sql`; name the one that has the "
                       "database's address: luafn migrate DATABASE_URL");
    if (rc == 0)
        rc = migrate_all(deployment->config, &migrations, &variables);
    buf_free(&variables);
    migrations_free(&migrations);
    return rc;
}

static int run(int argc, char **argv)
{
    const char *config_file = "functions.lua", *variable = NULL;
    bool dev = false;
    const struct option options[] = {{"--config", OPTION_TEXT, &config_file},
                                     {"--dev", OPTION_FLAG, &dev},
                                     {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_migrate, argc, argv, options, &variable, 1, NULL);
    if (rc != 0)
        return rc;
    const struct load_options load = {.config_file = config_file,
                                      .dev = dev,
                                      .defaults = dev ? dev_place_defaults(config_file) : NULL};
    unsigned faults;
    struct deployment *deployment = load_deployment(&load, &faults);
    if (deployment == NULL)
        return EXIT_FAULT;
    rc = faults == 0 ? migrate(deployment, variable) : EXIT_FAULT;
    load_undo(deployment);
    return rc;
}

const struct command command_migrate = {"migrate", run};
