/* Static files: which file a path means, and the answer for it.
 *
 * Sources are a folder (functions.lua `publish`) and the pages inside the program. Rules
 * as in Netlify's dev server: pretty URLs (/foo -> foo.html, foo/index.html), ETag, Last-Modified
 * and 304, one range, 404.html, Cache-Control: public, max-age=0, must-revalidate; GET and HEAD
 * only. Dot files are never served, except under /.well-known. */
#pragma once

#include "http/content_type.h"
#include "http/exchange.h"

struct static_site {
    const char *folder;          /* borrowed; NULL: none */
    const char *embedded_prefix; /* "web/" for pages inside the program; NULL: none */
};

/* Fills ex->res and returns true when `path` (normalised, percent-encoded) names a file; false when
 * there is none, the path hides a separator or a NUL, or a symbolic link leads out of the folder. A
 * method other than GET and HEAD on an existing file is answered with 405. Up to LIMIT_FILE_WHOLE
 * bytes are read here; of more, ex->res.file is open. Nothing is read for HEAD and where a
 * condition decides. A file that cannot be read is a 500, one too many a 503. */
bool static_serve(const struct static_site *site, struct exchange *ex, struct str path);

/* Fills ex->res with 404.html, status 404; false when the site has none. */
bool static_serve_not_found(const struct static_site *site, struct exchange *ex);
