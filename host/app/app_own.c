/* What the functions that the program brings itself may ask: struct own_services. */
#include "app/app.h"

#include "app/routes.h"
#include "bindings/bindings.h"
#include "journal/journal.h"
#include "lua/script.h"

static void add_function(struct buf *out, const struct function *function)
{
    const struct function_spec *spec = function->spec;
    buf_add_str(out, out->data[out->len - 1] == '[' ? STR("{\"name\":") : STR(",{\"name\":"));
    buf_add_json(out, spec->name);
    buf_add_str(out, STR(",\"script\":"));
    buf_add_json(out, str_from(script_display_name(spec->script.ptr, spec->root)));
    buf_add_str(out, STR(",\"kv\":"));
    buf_add_json(out, function_spec_kv(spec));
    buf_printf(out, ",\"own\":%s,\"serving\":%s,\"suspended\":%s,\"loading\":%s,\"generation\":%u",
               spec->is_dev ? "true" : "false", function->current != NULL ? "true" : "false",
               function->suspended ? "true" : "false", function->loading != NULL ? "true" : "false",
               function->generation);
    if (function->failed) {
        buf_add_str(out, STR(",\"error\":"));
        buf_add_json(out, str_from(function->error.text));
    }
    buf_add_char(out, '}');
}

static void write_state(void *arg, struct buf *out)
{
    const struct app *app = arg;
    const struct deployment *d = app->current;
    buf_add_char(out, '{');
    if (app->config_error.text[0] != '\0') {
        buf_add_str(out, STR("\"config_error\":"));
        buf_add_json(out, str_from(app->config_error.text));
        buf_add_char(out, ',');
    }
    if (d != NULL) {
        buf_add_str(out, STR("\"root\":"));
        buf_add_json(out, d->config->real_folder);
        buf_add_char(out, ',');
    }
    buf_add_str(out, STR("\"functions\":["));
    for (unsigned i = 0; d != NULL && i < d->function_count && !buf_failed(out); i++)
        add_function(out, d->functions[i]);
    buf_add_str(out, STR("]}"));
}

static void write_routes(void *arg, struct buf *out)
{
    const struct app *app = arg;
    if (app->current != NULL)
        routes_write_json(app->current, out);
    else
        buf_add_str(out, STR("[]"));
}

static struct redact_names *redacted(void *arg)
{
    struct app *app = arg;
    return app->journal != NULL ? journal_names(app->journal) : NULL;
}

void app_own_init(struct app *app)
{
    app->own = (struct own_services){.bindings = bindings_own,
                                     .program = app->options.program,
                                     .config_file = app->options.config_file,
                                     .journal_folder = app->options.journal_folder,
                                     .write_state = write_state,
                                     .write_routes = write_routes,
                                     .redacted = redacted,
                                     .arg = app};
}
