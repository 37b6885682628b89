/* Requests and answers of fetch as JSON, without secrets. */
#include "bindings/fetch_told.h"

#include "base/limits.h"
#include "http/exchange.h"

static void add_member(struct hook *hook, const char *name, struct str text, struct buf *out)
{
    if (text.ptr == NULL)
        return;
    buf_printf(out, ",\"%s\":", name);
    redact_add_text(hook->redact, text, LIMIT_JOURNAL_TEXT, out);
}

unsigned lx_fetch_told_begin(lua_State *L, struct hook *hook, const struct fetch_request *fetch)
{
    const struct client_request *req = &fetch->req;
    unsigned count = req->header_count - fetch->traced;
    struct buf *out = hook_text(hook);
    buf_add_str(out, STR("{\"url\":"));
    redact_add_text(hook->redact, req->url, LIMIT_JOURNAL_TEXT, out);
    add_member(hook, "method", req->method, out);
    add_member(hook, "as", req->as, out);
    if (count > 0) {
        buf_add_str(out, STR(",\"headers\":"));
        redact_add_headers(hook->redact, req->headers, count, out);
    }
    add_member(hook, "body", req->body, out);
    buf_add_str(out, fetch->stream ? STR(",\"stream\":true}") : STR("}"));
    return lx_told_begin(L, hook, "fetch");
}

/* Cookies of an answer may turn up again in later texts of this run. */
static void learn(struct hook *hook, const struct header *headers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!redact_is_header(hook->redact, headers[i].name))
            continue;
        struct str copy = arena_copy(&hook->ex->arena, headers[i].value);
        if (copy.ptr != NULL)
            redact_learn_header(hook->redact, headers[i].name, copy);
    }
}

void fetch_told_answer(struct hook *hook, unsigned call, long status, struct str url,
                       const struct header *headers, unsigned count, struct str body)
{
    struct buf *out = hook_text(hook);
    learn(hook, headers, count);
    buf_printf(out, "{\"status\":%ld", status);
    add_member(hook, "url", url, out);
    buf_add_str(out, STR(",\"headers\":"));
    redact_add_headers(hook->redact, headers, count, out);
    add_member(hook, "body", body, out);
    buf_add_char(out, '}');
    told_end(hook, call);
}

void fetch_told_error(struct hook *hook, unsigned call, const char *text)
{
    struct buf *out = hook_text(hook);
    buf_add_str(out, STR("{\"error\":"));
    redact_add_text(hook->redact, str_from(text), LIMIT_JOURNAL_TEXT, out);
    buf_add_char(out, '}');
    told_end(hook, call);
}
