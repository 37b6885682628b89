/* The table of routes. */
#include "app/routes.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "auth/policy.h"
#include "base/clock.h"
#include "options/cron.h"
#include "lua/script.h"

struct row {
    char methods[64];
    char path[256];
    const struct function *function;
    struct str policy;
};

static void write_methods(unsigned methods, char *out, size_t size)
{
    size_t used = 0;
    if (methods == METHOD_ALL) {
        snprintf(out, size, "*");
        return;
    }
    for (unsigned m = 0; m < METHOD_COUNT && used < size; m++) {
        if ((methods & METHOD_BIT(m)) != 0)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? "," : "",
                                     method_name((enum http_method)m));
    }
}

static void each_row(const struct deployment *d, void (*fn)(const struct row *row, void *arg),
                     void *arg)
{
    struct arena arena;
    arena_init(&arena);
    for (unsigned i = 0; i < d->function_count; i++) {
        const struct function *function = d->functions[i];
        const struct function_spec *spec = function->spec;
        if (spec->is_dev)
            continue;
        struct row row = {.function = function, .policy = policy_text(&spec->policy, &arena)};
        write_methods(spec->methods, row.methods, sizeof(row.methods));
        if (spec->cron != NULL)
            snprintf(row.methods, sizeof(row.methods), "%s", "-");
        snprintf(row.path, sizeof(row.path), "%.*s/%.*s", STR_ARG(d->config->prefix),
                 STR_ARG(spec->name));
        if (spec->path_count == 0)
            fn(&row, arg);
        for (unsigned p = 0; p < spec->path_count; p++) {
            snprintf(row.path, sizeof(row.path), "%.*s", STR_ARG(spec->paths[p]));
            fn(&row, arg);
        }
    }
    arena_free(&arena);
}

static void add_member(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, ",\"%s\":", name);
    buf_add_json(out, value);
}

/* "2026-01-02T03:04:05Z", or nothing. */
static struct str next_run(const struct function_spec *spec, char out[32])
{
    int64_t at = spec->cron != NULL ? cron_next(spec->cron, (int64_t)clock_now()) : -1;
    time_t seconds = (time_t)at;
    struct tm tm;
    if (at < 0)
        return STR("");
    gmtime_r(&seconds, &tm);
    return (struct str){out, strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm)};
}

static void write_json_row(const struct row *row, void *arg)
{
    struct buf *out = arg;
    const struct function_spec *spec = row->function->spec;
    buf_add_str(out, out->len > 1 ? STR(",{\"method\":") : STR("{\"method\":"));
    buf_add_json(out, str_from(row->methods));
    add_member(out, "path", str_from(row->path));
    add_member(out, "function", spec->name);
    add_member(out, "script", str_from(script_display_name(spec->script.ptr, spec->root)));
    add_member(out, "auth", row->policy);
    buf_printf(
        out,
        ",\"limits\":{\"timeout\":%g,\"cpu\":%g,\"memory\":%zu,\"body\":%zu,\"concurrency\":%u,"
        "\"queue\":%u}",
        spec->timeout, spec->cpu, spec->memory, spec->body, spec->concurrency, spec->queue);
    buf_printf(out, ",\"background\":%s,\"generation\":%u", spec->background ? "true" : "false",
               row->function->generation);
    char next[32];
    if (spec->cron != NULL) {
        add_member(out, "schedule", spec->schedule);
        add_member(out, "next_run", next_run(spec, next));
    }
    if (row->function->failed) {
        add_member(out, "error", str_from(row->function->error.text));
        buf_printf(out, ",\"serving\":%s", row->function->current != NULL ? "true" : "false");
    }
    buf_add_char(out, '}');
}

void routes_write_json(const struct deployment *deployment, struct buf *out)
{
    buf_add_char(out, '[');
    each_row(deployment, write_json_row, out);
    buf_add_char(out, ']');
}

enum { COLUMNS = 7 };

/* What a row shows, and how wide each column has become. */
struct table {
    struct buf *out;
    size_t widths[COLUMNS];
};

struct cells {
    char limits[96], generation[16];
    struct str items[COLUMNS];
};

static void fill_cells(const struct row *row, struct cells *cells)
{
    const struct function_spec *spec = row->function->spec;
    snprintf(cells->limits, sizeof(cells->limits), "%gs cpu %gs %zuMB x%u", spec->timeout,
             spec->cpu, spec->memory >> 20, spec->concurrency);
    snprintf(cells->generation, sizeof(cells->generation), "%u", row->function->generation);
    const struct str items[COLUMNS] = {
        str_from(row->methods),
        str_from(row->path),
        spec->name,
        str_from(script_display_name(spec->script.ptr, spec->root)),
        row->policy,
        str_from(cells->limits),
        str_from(cells->generation),
    };
    memcpy(cells->items, items, sizeof(items));
}

static void widen(struct table *table, const struct str *items)
{
    for (unsigned i = 0; i < COLUMNS; i++)
        table->widths[i] = items[i].len > table->widths[i] ? items[i].len : table->widths[i];
}

static void measure_row(const struct row *row, void *arg)
{
    struct cells cells;
    fill_cells(row, &cells);
    widen(arg, cells.items);
}

static void write_cells(const struct table *table, const struct str *items)
{
    for (unsigned i = 0; i + 1 < COLUMNS; i++)
        buf_printf(table->out, "%-*.*s  ", (int)table->widths[i], STR_ARG(items[i]));
    buf_printf(table->out, "%.*s\n", STR_ARG(items[COLUMNS - 1]));
}

static void write_text_row(const struct row *row, void *arg)
{
    const struct table *table = arg;
    const struct function_spec *spec = row->function->spec;
    int indent = (int)table->widths[0];
    struct cells cells;
    char next[32];
    fill_cells(row, &cells);
    write_cells(table, cells.items);
    if (spec->cron != NULL)
        buf_printf(table->out, "%-*s  runs at \"%.*s\" (UTC), next %.*s\n", indent, "",
                   STR_ARG(spec->schedule), STR_ARG(next_run(spec, next)));
    if (row->function->failed && row->function->current != NULL)
        buf_printf(table->out, "%-*s  generation %u goes on, as its files do not load: %s\n",
                   indent, "", row->function->generation, row->function->error.text);
    else if (row->function->failed)
        buf_printf(table->out, "%-*s  does not load: %s\n", indent, "", row->function->error.text);
}

void routes_write_text(const struct deployment *deployment, struct buf *out)
{
    const struct str heads[COLUMNS] = {STR("METHOD"),    STR("PATH"), STR("FUNCTION"),
                                       STR("SCRIPT"),    STR("AUTH"), STR("LIMITS"),
                                       STR("GENERATION")};
    struct table table = {.out = out};
    widen(&table, heads);
    each_row(deployment, measure_row, &table);
    write_cells(&table, heads);
    each_row(deployment, write_text_row, &table);
}
