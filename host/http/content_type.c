/* Media types: of files by the endings that the web uses, and which of them are text. */
#include "http/content_type.h"

struct str content_type_of(struct str name)
{
    static const struct {
        const char *ending;
        const char *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".htm", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".map", "application/json"},
        {".webmanifest", "application/manifest+json"},
        {".txt", "text/plain; charset=utf-8"},
        {".md", "text/markdown; charset=utf-8"},
        {".csv", "text/csv; charset=utf-8"},
        {".xml", "application/xml"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".gif", "image/gif"},
        {".webp", "image/webp"},
        {".avif", "image/avif"},
        {".ico", "image/x-icon"},
        {".woff", "font/woff"},
        {".woff2", "font/woff2"},
        {".ttf", "font/ttf"},
        {".otf", "font/otf"},
        {".mp3", "audio/mpeg"},
        {".ogg", "audio/ogg"},
        {".wav", "audio/wav"},
        {".mp4", "video/mp4"},
        {".webm", "video/webm"},
        {".pdf", "application/pdf"},
        {".wasm", "application/wasm"},
        {".zip", "application/zip"},
        {".gz", "application/gzip"},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct str ending = str_from(types[i].ending);
        if (name.len > ending.len && str_eq_nocase(str_skip(name, name.len - ending.len), ending))
            return str_from(types[i].type);
    }
    return STR("application/octet-stream");
}

static bool is_one_of(struct str type, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (str_eq_nocase(type, str_from(*names)))
            return true;
    }
    return false;
}

bool content_type_is_json(struct str value)
{
    static const char *const names[] = {"application/json", "text/json", NULL};
    struct str type = str_trim((struct str){value.ptr, str_find(value, ';')});
    return is_one_of(type, names) ||
           (type.len > 5 && str_eq_nocase(str_skip(type, type.len - 5), STR("+json")));
}

bool content_type_is_text(struct str value, const char *const *also)
{
    static const char *const names[] = {"application/json",     "application/javascript",
                                        "application/xml",      "application/graphql",
                                        "application/x-ndjson", NULL};
    struct str type = str_trim((struct str){value.ptr, str_find(value, ';')});
    if (type.len > 5 && str_eq_nocase((struct str){type.ptr, 5}, STR("text/")))
        return true;
    struct str tail = type.len > 5 ? str_skip(type, type.len - 5) : (struct str){NULL, 0};
    if (str_eq_nocase(tail, STR("+json")) ||
        (tail.len > 0 && str_eq_nocase(str_skip(tail, 1), STR("+xml"))))
        return true;
    return is_one_of(type, names) || is_one_of(type, also);
}
