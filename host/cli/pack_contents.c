/* Which files make a deployment. */
#include "cli/pack_contents.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "cli/pack_archive.h"
#include "lua/script.h"

/* ---- names ---- */

static int too_much(struct pack_contents *c)
{
    return err_set(c->err, -EFBIG, "more than %d files would be packed", LIMIT_PACK_FILES);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In their order, each once. */
static void sort_names(struct pack_contents *c)
{
    unsigned kept = 0;
    if (c->count > 0)
        qsort(c->names, c->count, sizeof(*c->names), compare);
    for (unsigned i = 0; i < c->count; i++) {
        if (kept > 0 && strcmp(c->names[kept - 1], c->names[i]) == 0)
            free(c->names[i]);
        else
            c->names[kept++] = c->names[i];
    }
    c->count = kept;
}

/* The same are found again and again: that makes room first. */
static int make_room(struct pack_contents *c)
{
    sort_names(c);
    if (c->count > LIMIT_PACK_FILES)
        return too_much(c);
    if (c->count > c->cap / 2 || c->cap == 0) {
        unsigned cap = c->cap > 0 ? 2 * c->cap : 64;
        char **names = realloc(c->names, cap * sizeof(*names));
        if (names == NULL)
            return err_set(c->err, -ENOMEM, "out of memory");
        c->names = names;
        c->cap = cap;
    }
    return 0;
}

static int add_name(struct pack_contents *c, struct str name)
{
    if (name.ptr == NULL || !pack_archive_name_is_good(name))
        return err_set(c->err, -EINVAL, "%.*s: a file of such a name cannot be packed",
                       STR_ARG(name));
    int rc = c->count == c->cap ? make_room(c) : 0;
    char *copy = rc == 0 ? strndup(name.ptr, name.len) : NULL;
    if (copy == NULL)
        return rc != 0 ? rc : err_set(c->err, -ENOMEM, "out of memory");
    c->names[c->count++] = copy;
    return 0;
}

static int is_outside(struct pack_contents *c, struct str path)
{
    return err_set(c->err, -EXDEV, "%.*s lies outside of the folder of %s, which is what is packed",
                   STR_ARG(path), strrchr(c->config->file.ptr, '/') + 1);
}

/* The path below the folder, without `.` and `..`; the folder itself is empty. */
static int make_relative(struct pack_contents *c, struct str path, struct buf *out)
{
    struct str folder = c->config->folder, part;
    if (!str_starts_with(path, folder) || (path.len > folder.len && path.ptr[folder.len] != '/'))
        return is_outside(c, path);
    struct str rest = str_skip(path, folder.len);
    while (str_split_next(&rest, '/', &part)) {
        if (part.len == 0 || str_eq(part, STR(".")))
            continue;
        if (!str_eq(part, STR(".."))) {
            buf_printf(out, "%s%.*s", out->len > 0 ? "/" : "", STR_ARG(part));
            continue;
        }
        if (out->len == 0)
            return is_outside(c, path);
        while (out->len > 0 && out->data[--out->len] != '/')
            continue;
    }
    return buf_failed(out) ? err_set(c->err, -ENOMEM, "out of memory") : 0;
}

/* ---- folders ---- */

struct walk {
    struct pack_contents *contents;
    bool site;           /* all that is not hidden */
    bool flat;           /* the scripts in it alone */
    struct str wanted;   /* a glob over names; empty: all */
    char path[PATH_MAX]; /* of the folder or file at hand */
    size_t root;         /* where in it the name begins */
};

static bool is_wanted(const struct walk *w, const char *entry)
{
    struct str name = str_from(entry);
    if (w->wanted.len > 0)
        return str_glob(w->wanted, str_from(w->path + w->root));
    if (w->flat && !str_ends_with(name, STR(".lua")))
        return false;
    return w->site || !str_ends_with(name, STR("_test.lua"));
}

static int walk_folder(struct walk *w, unsigned depth);

static int walk_entry(struct walk *w, const char *entry, unsigned depth)
{
    struct pack_contents *c = w->contents;
    struct stat st;
    if (++c->seen > LIMIT_PACK_SEEN)
        return err_set(c->err, -EFBIG, "%s: in its folders are more than %d files", w->path,
                       LIMIT_PACK_SEEN);
    if (stat(w->path, &st) != 0)
        return 0; /* a link that leads nowhere, or gone meanwhile */
    if (S_ISDIR(st.st_mode))
        return w->flat ? 0 : walk_folder(w, depth + 1);
    if (!S_ISREG(st.st_mode) || !is_wanted(w, entry) ||
        (c->without != NULL && st.st_dev == c->without->st_dev && st.st_ino == c->without->st_ino))
        return 0;
    return add_name(c, str_from(w->path + w->root));
}

/* Of w->path, which is as before when it returns. */
static int walk_folder(struct walk *w, unsigned depth)
{
    size_t len = strlen(w->path);
    DIR *dir = depth < LIMIT_PACK_DEPTH ? opendir(w->path) : NULL;
    int rc = 0;
    if (dir == NULL)
        return depth == LIMIT_PACK_DEPTH
                   ? err_set(w->contents->err, -ELOOP, "%s: more than %d folders in each other",
                             w->path, LIMIT_PACK_DEPTH)
               : errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : err_set(w->contents->err, -errno, "%s: %s", w->path, strerror(errno));
    for (const struct dirent *entry; rc == 0 && (entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        if ((name[0] == '.' && strcmp(name, ".well-known") != 0) ||
            strcmp(name, "node_modules") == 0)
            continue;
        if ((size_t)snprintf(w->path + len, sizeof(w->path) - len, "/%s", name) >=
            sizeof(w->path) - len)
            rc = err_set(w->contents->err, -ENAMETOOLONG, "%s: the path is too long", w->path);
        else
            rc = walk_entry(w, name, depth);
    }
    w->path[len] = '\0';
    closedir(dir);
    return rc;
}

/* `name` below the folder of functions.lua; empty: that one. */
static int add_folder(struct pack_contents *c, struct str name, struct walk w)
{
    struct str folder = c->config->folder;
    w.contents = c;
    w.root = folder.len + 1;
    snprintf(w.path, sizeof(w.path), "%.*s%s%.*s", STR_ARG(folder), name.len > 0 ? "/" : "",
             STR_ARG(name));
    return walk_folder(&w, 0);
}

static bool is_new(struct pack_contents *c, struct str folder, bool site)
{
    struct str rest = buf_str(&c->folders), line;
    while (str_split_next(&rest, '\n', &line)) {
        if (line.len == folder.len + 1 && (line.ptr[0] == 's') == site &&
            str_eq(str_skip(line, 1), folder))
            return false;
    }
    buf_printf(&c->folders, "%c%.*s\n", site ? 's' : 'f', STR_ARG(folder));
    return true;
}

/* The folder that a path names, or `up` from it. That of functions.lua has the scripts of it alone,
 * but as a site. */
static int add_folder_of(struct pack_contents *c, struct str path, bool up, bool site)
{
    struct buf name = BUF_INIT;
    int rc = make_relative(c, path, &name);
    while (up && name.len > 0 && name.data[--name.len] != '/')
        continue;
    if (rc == 0 && is_new(c, buf_str(&name), site))
        rc = add_folder(c, buf_str(&name),
                        (struct walk){.site = site, .flat = !site && name.len == 0});
    buf_free(&name);
    return rc;
}

/* ---- what it consists of ---- */

static int add_read(struct pack_contents *c, struct str path)
{
    struct buf name = BUF_INIT;
    int rc = make_relative(c, path, &name);
    if (rc == 0) {
        struct str all = buf_str(&name), last = all;
        for (size_t at; (at = str_find(last, '/')) < last.len;)
            last = str_skip(last, at + 1);
        if (str_starts_with(last, STR(".env")) && !c->with_env)
            buf_printf(&c->env_files, "%.*s, ", STR_ARG(all));
        else
            rc = add_name(c, all);
    }
    buf_free(&name);
    return rc;
}

static int add_origin(struct pack_contents *c, const struct origin *origin)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && origin != NULL && i < origin->count; i++) {
        const struct origin_note *note = &origin->list[i];
        struct str path = str_from(note->path);
        if (note->text == NULL || str_starts_with(path, STR(SCRIPT_EMBEDDED)))
            continue;
        if (note->kind == ORIGIN_FILE || note->kind == ORIGIN_LOOK)
            rc = add_read(c, path);
        if (rc == 0 && (note->kind == ORIGIN_FOLDER || str_ends_with(path, STR(".lua"))))
            rc = add_folder_of(c, path, note->kind != ORIGIN_FOLDER, false);
    }
    return rc;
}

/* The folder that a glob begins with is walked; what has no star is a file or nothing. */
static int add_listed(struct pack_contents *c, const struct function_spec *spec)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < spec->file_count; i++) {
        struct str glob = spec->files[i], folder = {glob.ptr, str_find(glob, '*')};
        while (folder.len > 0 && folder.ptr[folder.len - 1] != '/')
            folder.len--;
        if (folder.len > 0)
            folder.len--;
        rc = add_folder(c, folder, (struct walk){.site = true, .wanted = glob});
    }
    return rc;
}

static int find(const struct deployment *deployment, struct pack_contents *c)
{
    static const char *const folders[] = {"lib", "lua_modules/share/lua/5.4", "migrations"};
    const struct config *config = c->config;
    if (config->folder.len == 1)
        return err_set(c->err, -EINVAL, "/ is the root of the file system, and no deployment");
    int rc = add_read(c, config->file);
    if (rc == 0)
        rc = add_origin(c, config->origin);
    for (unsigned i = 0; rc == 0 && i < sizeof(folders) / sizeof(folders[0]); i++)
        rc = add_folder(c, str_from(folders[i]), (struct walk){.site = false});
    if (rc == 0 && config->publish_named.len > 0)
        rc = add_folder_of(c, config->publish_named, false, true);
    for (unsigned i = 0; rc == 0 && i < deployment->function_count; i++) {
        const struct function *function = deployment->functions[i];
        rc = add_origin(c, function->origin);
        if (rc == 0)
            rc = add_listed(c, function->spec);
    }
    return rc;
}

/* It would be looked for where it was, and not where the package is unpacked. */
static int refuse_fixed(struct pack_contents *c)
{
    struct str path = c->config->fixed;
    struct buf name = BUF_INIT;
    int rc = path.len > 0 ? make_relative(c, path, &name) : 0;
    if (rc == 0 && path.len > 0)
        rc = err_set(c->err, -EINVAL,
                     "%.*s is an absolute path, which leads past what is packed: write \"%.*s\"",
                     STR_ARG(path), STR_ARG(name.len > 0 ? buf_str(&name) : STR(".")));
    buf_free(&name);
    return rc;
}

int pack_contents_find(const struct deployment *deployment, bool with_env,
                       const struct stat *without, struct pack_contents *out, struct err *err)
{
    *out = (struct pack_contents){
        .config = deployment->config, .without = without, .with_env = with_env, .err = err};
    int rc = find(deployment, out);
    if (rc == 0)
        rc = refuse_fixed(out);
    sort_names(out);
    if (rc == 0 && (buf_failed(&out->env_files) || buf_failed(&out->folders)))
        rc = err_set(err, -ENOMEM, "out of memory");
    if (rc == 0 && out->count > LIMIT_PACK_FILES)
        rc = too_much(out);
    return rc;
}

void pack_contents_free(struct pack_contents *contents)
{
    for (unsigned i = 0; i < contents->count; i++)
        free(contents->names[i]);
    free(contents->names);
    buf_free(&contents->folders);
    buf_free(&contents->env_files);
}
