/* luafn journal: the requests that were written down. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/journal_view.h"
#include "journal/journal_reader.h"
#include "lua/own_script.h"

/* Lines that are looked at for the newest rows: workers write side by side. */
enum { ROWS = LIMIT_JOURNAL_DEV, LOOK_AT = 4 * ROWS };

struct row {
    double time;
    char *line; /* owned */
};

struct listing {
    struct journal_view view;
    struct str id; /* empty: all */
    struct row rows[LOOK_AT];
    unsigned count;
    unsigned unreadable;
};

/* "time": of a line; the newest where there is none. */
static double time_of(struct str line)
{
    size_t at = str_find_text(line, STR(",\"time\":"));
    return at < line.len ? strtod(line.ptr + at + 8, NULL) : 0;
}

static bool keep(void *arg, struct str line)
{
    struct listing *l = arg;
    if (!journal_is_readable(line)) {
        l->unreadable++;
        return true;
    }
    if (l->id.len > 0 && !journal_is_record(line, l->id))
        return true;
    char *copy = strndup(line.ptr, line.len);
    if (copy == NULL)
        return false;
    l->rows[l->count++] = (struct row){time_of(str_from(copy)), copy};
    return l->count < LOOK_AT;
}

static int by_time(const void *a, const void *b)
{
    double first = ((const struct row *)a)->time, second = ((const struct row *)b)->time;
    return (first > second) - (first < second);
}

/* stack: the script */
static void print(lua_State *L, void *arg)
{
    struct listing *l = arg;
    journal_view_open(L);
    unsigned first = l->id.len > 0 ? l->count - 1 : l->count > ROWS ? l->count - ROWS : 0;
    for (unsigned i = first; i < l->count; i++)
        l->unreadable += !journal_view_print(L, &l->view, str_from(l->rows[i].line), l->id.len > 0);
}

static int show(struct listing *l, const char *folder)
{
    struct err err;
    int rc = journal_read(folder, keep, l);
    if (rc == -ENOENT || (rc == 0 && l->count == 0 && l->unreadable == 0 && l->id.len == 0))
        return cli_fault("there is no record in %s: `luafn dev` writes one of each request, `luafn "
                         "serve` where functions.lua has journal = { errors = true }",
                         folder);
    if (rc != 0)
        return cli_fault("%s cannot be read: %s", folder, strerror(-rc));
    if (l->id.len > 0 && l->count == 0)
        return cli_fault("no record in %s has the id %.*s; `luafn journal` lists those there are",
                         folder, STR_ARG(l->id));
    qsort(l->rows, l->count, sizeof(l->rows[0]), by_time);
    if (own_script_run("share/journal.lua", print, l, &err) != 0)
        return cli_fault("%s", err.text);
    if (l->unreadable > 0)
        fprintf(stderr, "%u records cannot be read: cut off, or of another version of luafn\n",
                l->unreadable);
    return EXIT_GOOD;
}

static int run(int argc, char **argv)
{
    static struct listing listing;
    const char *config_file = "functions.lua", *id = NULL;
    const struct option options[] = {{"--config", OPTION_TEXT, &config_file},
                                     {"--json", OPTION_FLAG, &listing.view.json},
                                     {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_journal, argc, argv, options, &id, 1, NULL);
    if (rc != 0)
        return rc;
    char folder[4096];
    if (cli_state_path(config_file, "journal", folder, sizeof(folder)) != 0)
        return cli_fault("the path of %s is too long", config_file);
    listing.id = str_from(id);
    rc = show(&listing, folder);
    for (unsigned i = 0; i < listing.count; i++)
        free(listing.rows[i].line);
    return rc;
}

const struct command command_journal = {"journal", run};
