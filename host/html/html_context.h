/* Where in a page a value stands: the page's own text is followed, and each value is told what it
 * has to be written as.
 *
 * The page is the author's, the values are anybody's: what would make a value's meaning depend on
 * more than this can see is refused (an attribute without quotes, a string of a script, the name of
 * a tag). */
#pragma once

#include <stdbool.h>

#include "base/str.h"

/* What a value is written as; see html_write.h. */
enum html_sink {
    HTML_TEXT,      /* text, and attributes in quotes */
    HTML_URL,       /* the beginning of an attribute's URL */
    HTML_URL_PART,  /* a later part of one */
    HTML_JSON,      /* in a script: a literal */
    HTML_JSON_ATTR, /* in a handler (onclick): the same, in an attribute */
    HTML_STYLE,     /* in a style */
    HTML_NOTHING,   /* in a comment, whose end it could be a part of */
};

enum html_state {
    HTML_IN_TEXT,
    HTML_TAG_OPEN, /* behind "<" or "</" */
    HTML_TAG_NAME,
    HTML_BEFORE_NAME, /* within a tag, no attribute has begun */
    HTML_NAME,
    HTML_AFTER_NAME,
    HTML_NAME_ENDS, /* behind a name that may be there or not: it is whole */
    HTML_BEFORE_VALUE,
    HTML_VALUE,
    HTML_MARKUP,  /* behind "<!" */
    HTML_COMMENT, /* behind "<!--" */
    HTML_BOGUS,   /* <!doctype, <?xml: up to ">" */
    HTML_RAW,     /* within <script>, <style>, <textarea> and the like */
};

enum html_attribute { HTML_PLAIN, HTML_LINK, HTML_LINKS, HTML_CSS, HTML_HANDLER, HTML_PAGE };

enum html_link {
    HTML_LINK_START,   /* nothing was written */
    HTML_LINK_SCHEME,  /* what may become a scheme */
    HTML_LINK_DYNAMIC, /* a value, which may have been one */
    HTML_LINK_REST,    /* a scheme is past */
    HTML_LINK_BAD,     /* ... and is one that runs something, or is not known */
};

struct html_context {
    enum html_state state;
    enum html_attribute attribute;
    enum html_link link;
    char quote;      /* around the value; 0: none */
    bool closing;    /* the tag is an end tag */
    unsigned dashes; /* of a comment's end, seen */
    char tag[16];    /* small letters; cut */
    char name[16];   /* of the attribute, or the scheme of its URL */
    unsigned tag_len, name_len;
    unsigned matched; /* of "</script" in a raw element */
    char script;      /* what the script is in: 0, ' " ` / or L, B: a comment */
    char before;      /* its last character that is no blank */
    char last;        /* its last character */
    char word[12];    /* its last word */
    unsigned word_len;
    bool escaped, in_class, suspect, murky;
};

/* The page's next bytes. NULL, or why those at *at are refused (static). */
const char *html_context_feed(struct html_context *context, struct str text, size_t *at);

/* A value stands here: *sink says what it is written as, and *spaced whether a blank comes before
 * it. NULL, or why there must be none (static). */
const char *html_context_value(struct html_context *context, enum html_sink *sink, bool *spaced);

/* Makes one of two ways to here, of which either may have been gone. False: they differ. */
bool html_context_join(struct html_context *context, const struct html_context *other);

/* Can what began there begin again here, where it has ended? */
bool html_context_repeats(const struct html_context *end, const struct html_context *begin);
