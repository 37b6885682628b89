/* Where in a page a value stands. */
#include "html/html_context.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_letter(char c)
{
    return str_is_alnum(c) && c > '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static void append(char *name, unsigned *len, unsigned size, char c)
{
    if (*len < size)
        name[(*len)++] = lower(c);
}

static bool is_one_of(const char *name, unsigned len, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (str_eq((struct str){name, len}, str_from(*list)))
            return true;
    }
    return false;
}

/* ---- scripts: what a string, a comment, an expression is ---- */

static void script_word(struct html_context *c, char byte)
{
    bool in_word = str_is_alnum(byte) || byte == '_' || byte == '$';
    if (in_word && !(str_is_alnum(c->last) || c->last == '_' || c->last == '$'))
        c->word_len = 0;
    if (in_word)
        append(c->word, &c->word_len, sizeof(c->word), byte);
}

/* A slash begins an expression where no value stands before it. */
static bool begins_regex(const struct html_context *c)
{
    static const char *const words[] = {"return", "typeof", "case", "in", "of",    "delete", "void",
                                        "new",    "throw",  "else", "do", "await", "yield",  NULL};
    if (str_is_alnum(c->before) || c->before == '_' || c->before == '$')
        return is_one_of(c->word, c->word_len, words);
    return c->before == '\0' || strchr(")]}\"'`.", c->before) == NULL;
}

static void script_in_code(struct html_context *c, char byte)
{
    if (byte == '"' || byte == '\'' || byte == '`') {
        c->murky = c->murky || c->suspect;
        c->script = byte;
    }
    if (byte == '\n')
        c->suspect = false;
    script_word(c, byte);
    if (!is_blank(byte))
        c->before = byte;
}

/* A slash waits for the byte behind it, which may make it a comment. */
static void script_slash(struct html_context *c, char byte)
{
    if (byte == '/' || byte == '*') {
        c->script = byte == '/' ? 'L' : 'B';
        return;
    }
    c->script = begins_regex(c) ? '/' : 0;
    c->suspect = c->suspect || c->before == ')' || c->before == '}';
    c->murky = c->murky || c->before == '+' || c->before == '-'; /* x++ / y, or + /y/ */
    c->in_class = byte == '[';
    c->escaped = byte == '\\';
    if (c->script == 0) {
        c->before = '/';
        script_in_code(c, byte);
    }
}

static void script_in_string(struct html_context *c, char byte)
{
    bool ends = byte == c->script && !(c->script == '/' && c->in_class);
    if (c->escaped) {
        c->escaped = false;
    } else if (byte == '\\') {
        c->escaped = true;
    } else if (ends || (byte == '\n' && c->script != '`')) {
        c->before = c->script == '/' ? ')' : c->script;
        c->script = 0;
    } else if (c->script == '/') {
        c->in_class = byte == '[' || (c->in_class && byte != ']');
    } else if (c->script == '`' && c->last == '$' && byte == '{') {
        c->murky = true; /* code in a string in code: that is not followed */
    }
}

static void script_feed(struct html_context *c, char byte)
{
    enum { SLASH = 'S' };
    if (c->script == SLASH) {
        script_slash(c, byte);
    } else if (c->script == 'L') {
        c->script = byte == '\n' ? 0 : 'L';
    } else if (c->script == 'B') {
        c->script = c->last == '*' && byte == '/' ? 0 : 'B';
    } else if (c->script != 0) {
        script_in_string(c, byte);
    } else if (byte == '/') {
        c->script = SLASH;
    } else {
        script_in_code(c, byte);
    }
    c->last = byte;
}

static void script_begin(struct html_context *c)
{
    c->script = c->before = c->last = 0;
    c->word_len = 0;
    c->escaped = c->in_class = c->suspect = c->murky = false;
}

/* ---- URLs ---- */

static const char *link_feed(struct html_context *c, char byte)
{
    static const char *const schemes[] = {"http", "https", "mailto", "tel", NULL};
    if (c->attribute == HTML_LINKS && (is_blank(byte) || byte == ',')) {
        c->link = HTML_LINK_START;
        c->name_len = 0;
    } else if (c->link == HTML_LINK_START && is_blank(byte)) {
        return NULL;
    } else if (byte == '/' || byte == '?' || byte == '#') {
        c->link = c->link == HTML_LINK_BAD ? HTML_LINK_BAD : HTML_LINK_REST;
    } else if (byte == ':' && c->link == HTML_LINK_DYNAMIC) {
        return "a URL's scheme would be a value";
    } else if (byte == ':' && c->link != HTML_LINK_REST) {
        bool known = c->link == HTML_LINK_SCHEME && is_one_of(c->name, c->name_len, schemes);
        c->link = known ? HTML_LINK_REST : HTML_LINK_BAD;
    } else if (c->link == HTML_LINK_START || c->link == HTML_LINK_SCHEME) {
        c->link = HTML_LINK_SCHEME;
        append(c->name, &c->name_len, sizeof(c->name), byte);
    }
    return NULL;
}

/* ---- tags ---- */

static enum html_attribute attribute_of(const struct html_context *c)
{
    static const char *const links[] = {
        "href",     "src",    "action",   "formaction", "cite",     "poster",  "background",
        "longdesc", "usemap", "manifest", "icon",       "codebase", "classid", "archive",
        "profile",  "dynsrc", "lowsrc",   "xlink:href", "data",     NULL};
    static const char *const lists[] = {"srcset", "imagesrcset", "ping", NULL};
    static const char *const animated[] = {"to", "from", "by", "values", NULL};
    struct str tag = {c->tag, c->tag_len}, name = {c->name, c->name_len};
    bool animates = str_starts_with(tag, STR("animate")) || str_eq(tag, STR("set"));
    if (is_one_of(c->name, c->name_len, links) ||
        (animates && is_one_of(c->name, c->name_len, animated)))
        return HTML_LINK;
    if (is_one_of(c->name, c->name_len, lists))
        return HTML_LINKS;
    if (str_eq(name, STR("style")))
        return HTML_CSS;
    if (str_eq(name, STR("srcdoc")))
        return HTML_PAGE;
    return str_starts_with(name, STR("on")) ? HTML_HANDLER : HTML_PLAIN;
}

static void begin_value(struct html_context *c, char quote)
{
    c->state = HTML_VALUE;
    c->quote = quote;
    c->attribute = attribute_of(c);
    c->link = HTML_LINK_START;
    c->name_len = 0;
    script_begin(c);
}

static void end_tag(struct html_context *c)
{
    static const char *const raw[] = {"script", "style",   "textarea", "title",     "xmp",
                                      "iframe", "noembed", "noframes", "plaintext", NULL};
    c->state = !c->closing && is_one_of(c->tag, c->tag_len, raw) ? HTML_RAW : HTML_IN_TEXT;
    c->matched = 0;
    script_begin(c);
}

static void begin_name(struct html_context *c, char byte)
{
    c->state = HTML_NAME;
    c->name_len = 0;
    append(c->name, &c->name_len, sizeof(c->name), byte);
}

static void tag_open(struct html_context *c, char byte)
{
    if (is_letter(byte)) {
        c->state = HTML_TAG_NAME;
        c->tag_len = 0;
        append(c->tag, &c->tag_len, sizeof(c->tag), byte);
    } else if (byte == '/' && !c->closing) {
        c->closing = true;
    } else if (byte == '!' && !c->closing) {
        c->state = HTML_MARKUP;
        c->dashes = 0;
    } else if (byte == '?' || (c->closing && byte != '>')) {
        c->state = HTML_BOGUS;
    } else {
        c->state = byte == '<' ? HTML_TAG_OPEN : HTML_IN_TEXT;
        c->closing = false;
    }
}

static const char *in_tag(struct html_context *c, char byte)
{
    if (byte == '>')
        end_tag(c);
    else if (byte == '/' ||
             (is_blank(byte) && c->state != HTML_NAME && c->state != HTML_AFTER_NAME))
        c->state = HTML_BEFORE_NAME;
    else if (is_blank(byte))
        c->state = HTML_AFTER_NAME;
    else if (byte == '=' && c->state == HTML_BEFORE_NAME)
        return "a `=` stands where an attribute's name should be";
    else if (byte == '=')
        c->state = HTML_BEFORE_VALUE;
    else if (c->state == HTML_NAME)
        append(c->name, &c->name_len, sizeof(c->name), byte);
    else
        begin_name(c, byte);
    return NULL;
}

static void tag_name(struct html_context *c, char byte)
{
    if (byte == '>')
        end_tag(c);
    else if (is_blank(byte) || byte == '/')
        c->state = HTML_BEFORE_NAME;
    else
        append(c->tag, &c->tag_len, sizeof(c->tag), byte);
}

static void before_value(struct html_context *c, char byte)
{
    if (byte == '"' || byte == '\'') {
        begin_value(c, byte);
    } else if (byte == '>') {
        end_tag(c);
    } else if (!is_blank(byte)) {
        begin_value(c, 0);
    }
}

static const char *in_value(struct html_context *c, char byte)
{
    if (c->quote != 0 ? byte == c->quote : is_blank(byte)) {
        c->state = HTML_BEFORE_NAME;
    } else if (c->quote == 0 && byte == '>') {
        end_tag(c);
    } else if (c->attribute == HTML_LINK || c->attribute == HTML_LINKS) {
        return link_feed(c, byte);
    } else if (c->attribute == HTML_HANDLER) {
        if (c->last == '&' && (byte == '#' || is_letter(byte)))
            c->murky = true; /* a character that is written otherwise, maybe a quote */
        script_feed(c, byte);
    }
    return NULL;
}

/* ---- comments and raw elements ---- */

static void in_markup(struct html_context *c, char byte)
{
    if (byte == '-' && ++c->dashes == 2)
        c->state = HTML_COMMENT; /* "<!-->" ends at once: the dashes count */
    else if (byte != '-')
        c->state = byte == '>' ? HTML_IN_TEXT : HTML_BOGUS;
}

static void in_comment(struct html_context *c, char byte)
{
    if (byte == '>' && c->dashes >= 2)
        c->state = HTML_IN_TEXT;
    else if (byte == '-')
        c->dashes = c->dashes < 2 ? c->dashes + 1 : 2;
    else if (byte != '!' || c->dashes < 2)
        c->dashes = 0;
}

static const char *in_raw(struct html_context *c, char byte)
{
    bool ends = byte == '>' || byte == '/' || is_blank(byte);
    bool is_script = str_eq((struct str){c->tag, c->tag_len}, STR("script"));
    if (c->matched == c->tag_len + 2 && ends) {
        c->closing = true;
        c->state = HTML_BEFORE_NAME;
        if (byte == '>')
            end_tag(c);
        return NULL;
    }
    char wanted = c->matched < 2 ? "</"[c->matched] : c->tag[c->matched - 2];
    if (c->matched < c->tag_len + 2 && lower(byte) == wanted)
        c->matched++;
    else
        c->matched = byte == '<';
    if (byte == '!' && c->last == '<')
        c->dashes = 1;
    else
        c->dashes = byte == '-' && c->dashes > 0 ? c->dashes + 1 : 0;
    if (is_script && c->dashes == 3)
        return "a comment of HTML in a script changes where that ends";
    if (is_script)
        script_feed(c, byte);
    return NULL;
}

static const char *feed_one(struct html_context *c, char byte)
{
    switch (c->state) {
    case HTML_IN_TEXT:
        c->state = byte == '<' ? HTML_TAG_OPEN : HTML_IN_TEXT;
        c->closing = false;
        return NULL;
    case HTML_TAG_OPEN:
        tag_open(c, byte);
        return NULL;
    case HTML_TAG_NAME:
        tag_name(c, byte);
        return NULL;
    case HTML_BEFORE_NAME:
    case HTML_NAME:
    case HTML_AFTER_NAME:
        return in_tag(c, byte);
    case HTML_NAME_ENDS:
        if (byte != '>' && byte != '/' && !is_blank(byte))
            return "the name of an attribute is put together of pieces, or has its value apart";
        c->state = HTML_BEFORE_NAME;
        return in_tag(c, byte);
    case HTML_BEFORE_VALUE:
        before_value(c, byte);
        return NULL;
    case HTML_VALUE:
        return in_value(c, byte);
    case HTML_MARKUP:
        in_markup(c, byte);
        return NULL;
    case HTML_COMMENT:
        in_comment(c, byte);
        return NULL;
    case HTML_BOGUS:
        c->state = byte == '>' ? HTML_IN_TEXT : HTML_BOGUS;
        return NULL;
    default:
        return in_raw(c, byte);
    }
}

const char *html_context_feed(struct html_context *context, struct str text, size_t *at)
{
    const char *why = NULL;
    for (*at = 0; *at < text.len; ++*at) {
        why = feed_one(context, text.ptr[*at]);
        if (why != NULL)
            break;
    }
    return why;
}

/* ---- values ---- */

static const char *value_of_script(struct html_context *c, bool *spaced)
{
    if (c->script == 'S')
        return "stands behind a slash in a script";
    if (c->script == 'L' || c->script == 'B')
        return "stands in a comment of a script";
    if (c->script != 0)
        return "stands in a string of a script: without the quotes around it, it is written with "
               "its own";
    if (c->murky)
        return "stands in a script behind what is not followed (a `${}` in a string, an expression "
               "after a bracket): put it before that, into a variable";
    *spaced = str_is_alnum(c->last) || (c->last != 0 && strchr("_$-+.", c->last) != NULL);
    c->before = c->last = ')'; /* a value, behind which a slash divides */
    return NULL;
}

static const char *value_of_attribute(struct html_context *c, enum html_sink *sink, bool *spaced)
{
    if (c->quote == 0)
        return "stands in an attribute without quotes: write name=\"{{ ... }}\"";
    switch (c->attribute) {
    case HTML_LINK:
    case HTML_LINKS:
        if (c->link == HTML_LINK_BAD)
            return "stands in a URL whose scheme is not http, https, mailto or tel";
        *sink = c->link == HTML_LINK_START ? HTML_URL : HTML_URL_PART;
        c->link = c->link == HTML_LINK_REST ? HTML_LINK_REST : HTML_LINK_DYNAMIC;
        return NULL;
    case HTML_CSS:
        *sink = HTML_STYLE;
        return NULL;
    case HTML_HANDLER:
        *sink = HTML_JSON_ATTR;
        return value_of_script(c, spaced);
    case HTML_PAGE:
        return "stands in a page in an attribute, whose places are not followed";
    default:
        return NULL;
    }
}

const char *html_context_value(struct html_context *context, enum html_sink *sink, bool *spaced)
{
    struct str tag = {context->tag, context->tag_len};
    *sink = HTML_TEXT;
    *spaced = false;
    switch (context->state) {
    case HTML_IN_TEXT:
        return NULL;
    case HTML_COMMENT:
        *sink = HTML_NOTHING;
        return NULL;
    case HTML_RAW:
        if (context->matched > 0)
            return "stands in what may be the end of this element";
        context->dashes = 0;
        if (str_eq(tag, STR("script"))) {
            *sink = HTML_JSON;
            return value_of_script(context, spaced);
        }
        *sink = str_eq(tag, STR("style")) ? HTML_STYLE : HTML_TEXT;
        return NULL;
    case HTML_VALUE:
        return value_of_attribute(context, sink, spaced);
    case HTML_BEFORE_VALUE:
        return "stands in an attribute without quotes: write name=\"{{ ... }}\"";
    default:
        return "stands in the name of a tag or an attribute, or in a declaration";
    }
}

/* An attribute that is there or not: <option {% if x %}selected{% end %}>. */
static void settle(struct html_context *c)
{
    if (c->state == HTML_NAME || c->state == HTML_AFTER_NAME || c->state == HTML_BEFORE_NAME)
        c->state = HTML_NAME_ENDS;
}

static bool same_name(const struct html_context *a, const struct html_context *b)
{
    return a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0;
}

static bool same_tag(const struct html_context *a, const struct html_context *b)
{
    return a->closing == b->closing && a->tag_len == b->tag_len &&
           memcmp(a->tag, b->tag, a->tag_len) == 0;
}

/* What is the same in both whatever they have seen on the way. */
static bool same_place(const struct html_context *a, const struct html_context *b)
{
    bool value = a->state == HTML_VALUE, script = value || a->state == HTML_RAW;
    bool named =
        a->state == HTML_NAME || a->state == HTML_AFTER_NAME || a->state == HTML_BEFORE_VALUE;
    if (a->state != b->state)
        return false;
    if (a->state == HTML_IN_TEXT)
        return true;
    return same_tag(a, b) && (!named || same_name(a, b)) && a->matched == b->matched &&
           a->dashes == b->dashes &&
           (!value || (a->quote == b->quote && a->attribute == b->attribute)) &&
           (!script || a->script == b->script);
}

bool html_context_join(struct html_context *context, const struct html_context *other)
{
    struct html_context b = *other, *a = context;
    if (a->state != b.state || (a->state == HTML_NAME && !same_name(a, &b)) ||
        (a->state == HTML_AFTER_NAME && !same_name(a, &b))) {
        settle(a);
        settle(&b);
    }
    if (!same_place(a, &b))
        return false;
    /* The less certain of the two. */
    if (a->link != b.link || !same_name(a, &b))
        a->link =
            a->link == HTML_LINK_BAD || b.link == HTML_LINK_BAD ? HTML_LINK_BAD : HTML_LINK_DYNAMIC;
    bool same_word = a->word_len == b.word_len && memcmp(a->word, b.word, a->word_len) == 0;
    a->murky = a->murky || b.murky;
    a->before = a->before == b.before && same_word ? a->before : ')'; /* a slash is suspect then */
    a->suspect = a->suspect || b.suspect;
    a->escaped = a->escaped || b.escaped;
    return true;
}

bool html_context_repeats(const struct html_context *end, const struct html_context *begin)
{
    bool link =
        end->state == HTML_VALUE && (end->attribute == HTML_LINK || end->attribute == HTML_LINKS);
    return same_place(end, begin) && (!link || end->link == begin->link);
}
