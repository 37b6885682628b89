/* /_luafn/dev/: the pages inside the program, for whoever writes the functions.
 *
 * They are looked for before anything of the user's, and no rule of his reaches them: neither
 * header rules nor CORS, which would let pages of other origins read what requests contained. What
 * the dev issuer tells its pages is a function's (scripts/dev/issuer.lua), below /_luafn/dev/api/.
 */
#include "app/app.h"

#include "http/static.h"
#include "http/target.h"
#include "journal/hook.h"
#include "lua/origin.h"
#include "lua/script.h"

#define HOME "/_luafn/dev"

static const struct static_site pages = {.embedded_prefix = "web/"};

/* Frames, other origins and windows that a page of the user's opens get nothing; nothing but the
 * program's own scripts runs. A page may name more in a policy of its own, where both count. */
static const struct {
    struct str name, value;
} guards[] = {
    {{"Content-Security-Policy", 23}, {"frame-ancestors 'none'", 22}},
    {{"Cross-Origin-Opener-Policy", 26}, {"noopener-allow-popups", 21}},
    {{"Cross-Origin-Resource-Policy", 28}, {"same-origin", 11}},
    {{"Referrer-Policy", 15}, {"no-referrer", 11}},
    {{"X-Content-Type-Options", 22}, {"nosniff", 7}},
};

void app_dev_decorate(struct exchange *ex)
{
    const struct app *app = ex->app;
    if (ex->hook != NULL)
        ex->hook->type->answer(ex->hook);
    for (size_t i = 0; i < sizeof(guards) / sizeof(guards[0]); i++) {
        if (headers_set(&ex->res.headers, &ex->arena, guards[i].name, guards[i].value) != 0)
            ex->res.close = true; /* out of memory: the answer leaves without it */
    }
    if (app->current != NULL && app->current->config->compression)
        ex->encode = app_encode;
}

/* The text of a script that is loaded, by the name that messages have for it; ptr NULL: none is. */
static struct str find_source(const struct app *app, struct str name)
{
    for (unsigned i = 0; app->current != NULL && i < app->current->function_count; i++) {
        const struct function *function = app->current->functions[i];
        const struct origin *origin = function->spec->is_dev ? NULL : function->origin;
        for (unsigned k = 0; origin != NULL && k < origin->count; k++) {
            const struct origin_note *note = &origin->list[k];
            if (note->kind == ORIGIN_FILE && note->text != NULL &&
                str_eq(name, str_from(script_display_name(note->path, function->spec->root))))
                return origin_text_str(note->text);
        }
    }
    return (struct str){NULL, 0};
}

static void answer_source(const struct app *app, struct exchange *ex, struct str path)
{
    struct str name = target_percent_decode(&ex->arena, path, false);
    struct str text = name.ptr != NULL ? find_source(app, name) : (struct str){NULL, 0};
    struct str copy = text.ptr != NULL ? arena_copy(&ex->arena, text) : text;
    if (copy.ptr == NULL)
        exchange_answer_error(ex, 404, STR("not_found"), STR("No script of that name is loaded"));
    else if (response_set_body(&ex->res, &ex->arena, 200, STR("text/plain; charset=utf-8"), copy) ==
                 0 &&
             headers_add(&ex->res.headers, &ex->arena, STR("Cache-Control"), STR("no-store")) == 0)
        exchange_answer(ex);
    else
        exchange_answer_no_memory(ex);
}

bool app_dev(struct app *app, struct exchange *ex, struct str path)
{
    static const struct str source = {HOME "/source/", sizeof(HOME "/source/") - 1};
    if (!str_starts_with(path, STR(HOME "/")))
        return false;
    if (str_starts_with(path, source))
        answer_source(app, ex, str_skip(path, source.len));
    else if (static_serve(&pages, ex, str_skip(path, sizeof(HOME) - 1)))
        exchange_answer(ex);
    else
        return false;
    return true;
}

/* ---- faults, for people ---- */

static void add_text(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.ptr[i]) {
        case '&':
            buf_add_str(out, STR("&amp;"));
            break;
        case '<':
            buf_add_str(out, STR("&lt;"));
            break;
        case '"':
            buf_add_str(out, STR("&quot;"));
            break;
        default:
            buf_add_char(out, text.ptr[i]);
        }
    }
}

static bool accepts_page(const struct exchange *ex)
{
    const struct str *accept = headers_get(&ex->req.headers, STR("accept"));
    return accept != NULL && str_find_text(*accept, STR("text/html")) < accept->len;
}

/* Around the body that there is. */
static void set_page(struct exchange *ex)
{
    struct buf page = BUF_INIT;
    buf_printf(&page,
               "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta "
               "name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
               "<title>%d</title>\n<meta name=\"luafn-request\" content=\"",
               ex->res.status);
    add_text(&page, str_from(ex->request_id));
    buf_printf(&page,
               "\">\n<link rel=\"icon\" href=\"" HOME "/icon.svg\">\n"
               "<link rel=\"stylesheet\" href=\"" HOME "/style.css\">\n"
               "<link rel=\"stylesheet\" href=\"" HOME "/dashboard.css\">\n"
               "<script type=\"module\" src=\"" HOME "/fault.js\"></script>\n</head>"
               "<body data-status=\"%d\"><header class=\"bar\"><p class=\"brand\">luafn</p>"
               "<a href=\"" HOME "/\">Dashboard</a></header>\n<main><h1>%d %s</h1>\n<pre>",
               ex->res.status, ex->res.status, response_reason(ex->res.status));
    add_text(&page, ex->res.body);
    buf_add_str(&page, STR("</pre>\n<div id=\"routes\"></div>\n<article id=\"one\" class=\"one\">"
                           "</article></main></body></html>\n"));
    struct str copy =
        buf_failed(&page) ? (struct str){NULL, 0} : arena_copy(&ex->arena, buf_str(&page));
    buf_free(&page);
    if (copy.ptr == NULL || headers_set(&ex->res.headers, &ex->arena, STR("Content-Type"),
                                        STR("text/html; charset=utf-8")) != 0)
        return; /* no memory: JSON will do */
    ex->res.body = copy;
}

void app_dev_page(struct exchange *ex)
{
    const struct response *res = &ex->res;
    if (ex->error_code != NULL && res->status >= 500 && !res->streamed && res->file == NULL &&
        accepts_page(ex))
        set_page(ex);
}

bool app_dev_not_found(struct exchange *ex, struct str text)
{
    if (!accepts_page(ex) ||
        response_set_error(&ex->res, &ex->arena, 404, STR("not_found"), text) != 0)
        return false;
    set_page(ex);
    exchange_answer(ex);
    return true;
}

/* Where the user has nothing: the dashboard, and what its neighbours were called. */
bool app_dev_elsewhere(struct app *app, struct exchange *ex, struct str path)
{
    static const struct str moved[] = {{"/", 1}, {"/issuer.html", 12}, {"/auth0.html", 11}};
    bool reads = ex->req.method == METHOD_GET || ex->req.method == METHOD_HEAD;
    for (size_t i = 0; app->options.dev && reads && i < sizeof(moved) / sizeof(moved[0]); i++) {
        if (!str_eq(path, moved[i]))
            continue;
        struct str target = arena_printf(&ex->arena, HOME "%.*s", STR_ARG(path));
        if (target.ptr == NULL ||
            response_set_body(&ex->res, &ex->arena, 302, STR("text/plain"), STR("")) != 0 ||
            headers_set(&ex->res.headers, &ex->arena, STR("Location"), target) != 0 ||
            headers_set(&ex->res.headers, &ex->arena, STR("Cache-Control"), STR("no-store")) != 0)
            ex->res = (struct response){.status = 500};
        exchange_answer(ex);
        return true;
    }
    return false;
}
