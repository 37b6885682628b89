/* Script files: reading, finding, hashing. */
#include "lua/script.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/embedded.h"
#include "base/file.h"
#include "base/limits.h"

static const struct embedded_file *find_embedded(const char *path)
{
    return embedded_find(path + strlen(SCRIPT_EMBEDDED));
}

static bool is_embedded(const char *path)
{
    return strncmp(path, SCRIPT_EMBEDDED, strlen(SCRIPT_EMBEDDED)) == 0;
}

static int read_all(int fd, struct buf *out, struct err *err)
{
    int rc = file_read_rest(fd, LIMIT_SCRIPT_BYTES, out);
    if (rc == -EFBIG)
        return err_set(err, rc, "the script is larger than %d bytes", LIMIT_SCRIPT_BYTES);
    if (rc == -ENOMEM)
        return err_set(err, rc, "out of memory");
    return rc != 0 ? err_set(err, rc, "cannot be read: %s", strerror(-rc)) : 0;
}

int script_read(const char *path, struct buf *out, struct err *err)
{
    if (is_embedded(path)) {
        const struct embedded_file *file = find_embedded(path);
        if (file == NULL)
            return err_set(err, -ENOENT, "no such script inside the program");
        buf_add(out, file->data, file->len);
        return buf_failed(out) ? err_set(err, -ENOMEM, "out of memory") : 0;
    }
    /* Not waiting: a pipe that nobody writes to would hold the loop for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd == -1)
        return err_set(err, -errno, "cannot be opened: %s", strerror(errno));
    struct stat st;
    int rc = fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
                 ? read_all(fd, out, err)
                 : err_set(err, -EINVAL, "is not a file");
    close(fd);
    return rc;
}

uint64_t script_hash(const char *path)
{
    struct buf content = BUF_INIT;
    uint64_t hash = script_read(path, &content, NULL) == 0 ? str_hash(buf_str(&content)) : 0;
    buf_free(&content);
    return hash;
}

static bool is_separator(char c)
{
    return c == '.' || c == '/';
}

static bool name_is_valid(struct str name)
{
    bool after_word = false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool word = str_is_alnum(c) || c == '_' || c == '-';
        if (!word && !(is_separator(c) && after_word))
            return false;
        after_word = word;
    }
    return after_word;
}

bool script_exists(const char *path)
{
    struct stat st;
    return is_embedded(path) ? find_embedded(path) != NULL
                             : stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

int script_candidate(const char *script, struct str root, struct str name, enum script_place place,
                     bool is_folder, char *path, size_t size)
{
    static const char *const folders[SCRIPT_PLACES] = {"", "", "lua_modules/share/lua/5.4/",
                                                       "lib/"};
    char relative[256];
    if (!name_is_valid(name) || name.len >= sizeof(relative))
        return -EINVAL;
    memcpy(relative, name.ptr, name.len);
    relative[name.len] = '\0';
    for (char *p = relative; *p != '\0'; p++) {
        if (*p == '.')
            *p = '/';
    }
    const char *slash = strrchr(script, '/');
    if (place == SCRIPT_BESIDE)
        root = (struct str){script, slash != NULL ? (size_t)(slash - script) : 0};
    int len = snprintf(path, size, "%.*s/%s%s%s.lua", STR_ARG(root), folders[place], relative,
                       is_folder ? "/init" : "");
    return len > 0 && (size_t)len < size ? 0 : -ENOENT;
}

/* ---- the functions of a folder ---- */

static bool find_function(const char *folder, const char *entry, char *name, size_t name_size,
                          char *script, size_t size)
{
    size_t len = strlen(entry);
    snprintf(name, name_size, "%s", entry);
    snprintf(script, size, "%s/%s/%s.lua", folder, entry, entry);
    if (script_exists(script))
        return true;
    snprintf(script, size, "%s/%s/index.lua", folder, entry);
    if (script_exists(script))
        return true;
    if (len <= 4 || strcmp(entry + len - 4, ".lua") != 0)
        return false;
    if (len > 9 && strcmp(entry + len - 9, "_test.lua") == 0)
        return false; /* what `luafn test` runs is no function */
    snprintf(name, name_size, "%.*s", (int)(len - 4), entry);
    snprintf(script, size, "%s/%s/%s.lua", folder, name, name);
    if (script_exists(script))
        return false; /* the folder's own entry stands for it */
    snprintf(script, size, "%s/%s/index.lua", folder, name);
    if (script_exists(script))
        return false;
    snprintf(script, size, "%s/%s", folder, entry);
    return script_exists(script);
}

int script_folder_list(const char *path, struct buf *out, struct err *err)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        return err_set(err, -errno, "%s", strerror(errno));
    for (int i = 0; i < count; i++) {
        const char *entry = entries[i]->d_name;
        char name[256], script[4096];
        if (entry[0] != '.' && strcmp(entry, "node_modules") != 0 &&
            find_function(path, entry, name, sizeof(name), script, sizeof(script))) {
            buf_add(out, name, strlen(name) + 1);
            buf_add(out, script, strlen(script) + 1);
        }
        free(entries[i]);
    }
    free(entries);
    return 0;
}

const char *script_display_name(const char *path, struct str root)
{
    if (is_embedded(path))
        return path + strlen(SCRIPT_EMBEDDED);
    if (root.len > 0 && strncmp(path, root.ptr, root.len) == 0 && path[root.len] == '/')
        return path + root.len + 1;
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}
