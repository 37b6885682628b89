/* Options of the command line, and messages of usage. */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/embedded.h"
#include "base/place.h"
#include "cli/unpack.h"

const struct command *const *cli_commands;

struct str cli_page(const struct command *command)
{
    char path[64];
    snprintf(path, sizeof(path), "share/help/%s.txt", command->name);
    const struct embedded_file *page = embedded_find(path);
    return page != NULL ? (struct str){page->data, page->len} : STR("");
}

void cli_paragraph(const struct command *command, unsigned index, struct buf *out)
{
    struct str rest = cli_page(command), line;
    while (str_split_next(&rest, '\n', &line) && (line.len > 0 || index > 0)) {
        if (line.len == 0)
            index--;
        else if (index == 0)
            buf_printf(out, "%s%.*s", out->len > 0 ? " " : "", STR_ARG(str_trim(line)));
    }
}

int cli_usage(const struct command *command, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct buf usage = BUF_INIT;
    cli_paragraph(command, 0, &usage);
    fprintf(stderr, "luafn %s: %s; %.*s\n", command->name, text, STR_ARG(buf_str(&usage)));
    buf_free(&usage);
    return EXIT_USAGE;
}

int cli_fault(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return EXIT_FAULT;
}

static int write_error; /* why stdout did not take a text; 0: it did */

void cli_write(struct str text)
{
    if (text.len > 0 && fwrite(text.ptr, 1, text.len, stdout) != text.len && write_error == 0)
        write_error = errno;
}

int cli_flush(const char *name)
{
    errno = 0;
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return EXIT_GOOD;
    clearerr(stdout);
    int error = write_error != 0 ? write_error : errno;
    write_error = 0;
    if (error != EPIPE)
        fprintf(stderr, "luafn %s: the output cannot be written: %s\n", name,
                error != 0 ? strerror(error) : "a part of it is missing");
    return EXIT_FAULT;
}

static const struct option *find_option(const struct option *options, const char *word, size_t len)
{
    for (; options->name != NULL; options++) {
        if (strlen(options->name) == len && strncmp(options->name, word, len) == 0)
            return options;
    }
    return NULL;
}

static int set_option(const struct command *command, const struct option *option, const char *value)
{
    if (option->kind != OPTION_LIST) {
        *(const char **)option->out = value;
        return 0;
    }
    struct option_list *list = option->out;
    if (list->count == OPTION_LIST_MAX)
        return cli_usage(command, "%s can be given %d times at most", option->name,
                         OPTION_LIST_MAX);
    list->items[list->count++] = value;
    return 0;
}

static bool is_config(const struct option *option)
{
    return strcmp(option->name, "--config") == 0;
}

/* What reads a configuration reads the one that is packed with this program, where there is one. */
static int set_packed(const struct option *options)
{
    struct err err;
    for (; options->name != NULL && unpack_is_needed(); options++) {
        if (is_config(options) && unpack_open(options->out, &err) != 0)
            return cli_fault("%s", err.text);
    }
    return 0;
}

/* "HOST:PORT", or a port: digits, fewer than any id has. */
static bool is_address(const char *word)
{
    size_t digits = strspn(word, "0123456789");
    return word[0] != '-' &&
           (strchr(word, ':') != NULL || (digits > 0 && digits <= 5 && word[digits] == '\0'));
}

static int take_option(const struct command *command, const struct option *options, int argc,
                       char **argv, int *i)
{
    const char *word = argv[*i];
    const char *equals = strchr(word, '=');
    size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const struct option *option = find_option(options, word, len);
    if (option == NULL)
        return cli_usage(command, "unknown option '%.*s'", (int)len, word);
    if (is_config(option) && unpack_is_needed())
        return cli_usage(command, "there is a deployment in this file: --config has no place");
    if (option->kind == OPTION_FLAG) {
        if (equals != NULL)
            return cli_usage(command, "%s takes no value", option->name);
        *(bool *)option->out = true;
        return 0;
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    bool left_out = option->kind == OPTION_ADDRESS && (*i + 1 == argc || !is_address(argv[*i + 1]));
    if (value == NULL && left_out)
        value = "";
    else if (value == NULL && *i + 1 < argc)
        value = argv[++*i];
    if (value == NULL)
        return cli_usage(command, "%s needs a value", option->name);
    return set_option(command, option, value);
}

int cli_parse(const struct command *command, int argc, char **argv, const struct option *options,
              const char **rest, int rest_max, int *rest_count)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        bool is_option = argv[i][0] == '-' && argv[i][1] != '\0';
        if (is_option) {
            int rc = take_option(command, options, argc, argv, &i);
            if (rc != 0)
                return rc;
        } else if (count == rest_max) {
            return cli_usage(command, "'%s' is one word too many", argv[i]);
        } else {
            rest[count++] = argv[i];
        }
    }
    if (rest_count != NULL)
        *rest_count = count;
    return set_packed(options);
}

static int make_folder(const char *path)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -errno;
}

int cli_beside(const char *config_file, const char *name, char *out, size_t size)
{
    const char *slash = strrchr(config_file, '/');
    int folder = slash != NULL ? (int)(slash - config_file) + 1 : 0;
    int len = snprintf(out, size, "%.*s%s", folder, config_file, name);
    return len > 0 && (size_t)len < size ? 0 : -1;
}

/* What is beside the link comes first: a release may bring a folder of that name along. */
int cli_state_path(const char *config_file, const char *name, char *out, size_t size)
{
    char folder[4096], beside[4096 + 16], placed[4096 + 16];
    struct stat st;
    if (place_is_set()) {
        snprintf(placed, sizeof(placed), "%.*s/functions.lua", STR_ARG(place_of(STR(""))));
        config_file = placed;
    }
    int rc = cli_beside(config_file, ".luafn", out, size);
    const char *slash = strrchr(config_file, '/');
    if (rc == 0 && slash != NULL && slash != config_file &&
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - config_file), config_file) <
            (int)sizeof(folder) &&
        lstat(folder, &st) == 0 && S_ISLNK(st.st_mode)) {
        const char *link = strrchr(folder, '/');
        link = link != NULL ? link + 1 : folder;
        snprintf(beside, sizeof(beside), "%.*s.luafn/%s", (int)(link - folder), folder, link);
        if (stat(beside, &st) == 0 || stat(out, &st) != 0)
            rc = (size_t)snprintf(out, size, "%s", beside) < size ? 0 : -1;
    }
    size_t len = rc == 0 ? strlen(out) : 0;
    if (rc == 0 && name != NULL &&
        (size_t)snprintf(out + len, size - len, "/%s", name) >= size - len)
        rc = -1;
    return rc;
}

/* And those above it that are missing, as far as ".luafn". */
static int make_state_folder(char *path)
{
    char *slash = strrchr(path, '/');
    int rc = make_folder(path);
    if (rc != -ENOENT || slash == NULL || slash == path)
        return rc;
    *slash = '\0';
    rc = str_ends_with(str_from(path), STR(".luafn")) ? make_folder(path) : -ENOENT;
    *slash = '/';
    return rc == 0 ? make_folder(path) : rc;
}

int cli_state_folder(const char *config_file, const char *sub, char *out, unsigned size)
{
    char real[PATH_MAX];
    if (cli_state_path(config_file, NULL, out, size) != 0)
        return -ENAMETOOLONG;
    int rc = make_state_folder(out);
    if (rc == 0 && (realpath(out, real) == NULL ||
                    (size_t)snprintf(out, size, "%s%s%s", real, sub != NULL ? "/" : "",
                                     sub != NULL ? sub : "") >= size))
        rc = -ENAMETOOLONG;
    return rc == 0 && sub != NULL ? make_folder(out) : rc;
}
