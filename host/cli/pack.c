/* luafn pack: the deployment and this program in one file, and whether such a file is what was
 * signed. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/base64url.h"
#include "base/file.h"
#include "base/limits.h"
#include "cli/cli.h"
#include "cli/dev_place.h"
#include "cli/load.h"
#include "cli/pack_archive.h"
#include "cli/pack_contents.h"

struct packing {
    const char *config_file, *out, *key_file, *verify;
    bool env;
    struct key *key;         /* owned */
    struct buf program;      /* owned */
    struct buf list;         /* owned */
    uint64_t size;           /* of the files */
    unsigned count;          /* of them */
    struct buf left_out;     /* owned: names, ", " after each */
    char path[PATH_MAX + 8]; /* of what is written, until it is whole */
    int fd;                  /* of that; -1: none */
};

/* ---- keys ---- */

/* 43 characters that stand for a key. */
static const char *show_key(const unsigned char key[PACK_ARCHIVE_KEY],
                            char out[PACK_ARCHIVE_KEY * 2])
{
    struct buf text = BUF_INIT;
    base64url_encode(key, PACK_ARCHIVE_KEY, &text);
    snprintf(out, PACK_ARCHIVE_KEY * 2, "%.*s", STR_ARG(buf_str(&text)));
    buf_free(&text);
    return out;
}

static int read_key(const char *path, struct key **out)
{
    unsigned char bytes[PACK_ARCHIVE_KEY];
    struct buf pem = BUF_INIT;
    struct err err;
    int rc = file_read_all(path, 0, LIMIT_PEM_BYTES, &pem);
    if (rc != 0)
        rc = cli_fault("%s: %s", path, strerror(-rc));
    else if (key_from_pem(buf_str(&pem), out, &err) != 0)
        rc = cli_fault("%s: %s", path, err.text);
    buf_free(&pem);
    if (rc == 0 && pack_archive_key(*out, bytes) != 0)
        rc = cli_fault("%s: an Ed25519 key is wanted: openssl genpkey -algorithm ed25519 -out %s",
                       path, path);
    return rc;
}

/* Nobody has named a key: that of this deployment. */
static int make_key(const char *path, struct key **out)
{
    struct buf pem = BUF_INIT;
    struct err err;
    int rc = key_generate(ALG_EDDSA, out, &err);
    if (rc != 0)
        return cli_fault("%s", err.text);
    rc = key_to_pem(*out, &pem);
    if (rc == 0)
        rc = file_create(path, buf_str(&pem), 0600);
    buf_free(&pem);
    return rc == 0 ? 0 : cli_fault("%s: %s", path, strerror(-rc));
}

static int find_key(struct packing *p, bool make)
{
    char folder[4096], path[4096 + 16];
    if (p->key_file != NULL)
        return read_key(p->key_file, &p->key);
    if (make ? cli_state_folder(p->config_file, NULL, folder, sizeof(folder)) != 0
             : cli_state_path(p->config_file, NULL, folder, sizeof(folder)) != 0)
        return cli_fault("the folder .luafn cannot be written: name a key with --key");
    snprintf(path, sizeof(path), "%s/pack-key.pem", folder);
    if (make && !file_exists(path))
        return make_key(path, &p->key);
    return read_key(path, &p->key);
}

/* ---- a file that is packed ---- */

static int read_own(struct packing *p)
{
    int rc = file_read_all("/proc/self/exe", 0, LIMIT_PACK_BYTES, &p->program);
    return rc == 0 ? 0 : cli_fault("this program cannot be read: %s", strerror(-rc));
}

static int write_all(struct packing *p, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(p->fd, bytes.ptr, bytes.len);
        if (n < 0 && errno != EINTR)
            return cli_fault("%s: %s", p->out, strerror(errno));
        bytes = str_skip(bytes, n > 0 ? (size_t)n : 0);
    }
    return 0;
}

static bool is_private_key(struct str text)
{
    struct str trimmed = text;
    while (trimmed.len > 0 && strchr(" \t\r\n", trimmed.ptr[0]) != NULL)
        trimmed = str_skip(trimmed, 1);
    return trimmed.len < LIMIT_PEM_BYTES && str_starts_with(trimmed, STR("-----BEGIN ")) &&
           str_find_text(trimmed, STR("PRIVATE KEY-----")) < trimmed.len;
}

static int pack_one(struct packing *p, struct str folder, const char *name)
{
    char path[PATH_MAX];
    struct buf bytes = BUF_INIT;
    struct stat st;
    snprintf(path, sizeof(path), "%.*s/%s", STR_ARG(folder), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int rc = fd >= 0 && fstat(fd, &st) == 0 ? 0 : -errno;
    if (rc == 0)
        rc = file_read_rest(fd, LIMIT_PACK_BYTES - (size_t)p->size, &bytes);
    if (fd >= 0)
        close(fd);
    if (rc == -EFBIG)
        rc = cli_fault("%s: the files have more than %d MB together", name, LIMIT_PACK_BYTES >> 20);
    else if (rc != 0)
        rc = cli_fault("%s: %s", name, strerror(-rc));
    if (rc == 0 && !p->env && is_private_key(buf_str(&bytes))) {
        buf_printf(&p->left_out, "%s, ", name);
    } else if (rc == 0) {
        const struct pack_file file = {str_from(name), buf_str(&bytes), (double)st.st_mtim.tv_sec};
        p->count++;
        p->size += bytes.len;
        pack_archive_add(&p->list, &file);
        rc = write_all(p, file.bytes);
    }
    buf_free(&bytes);
    return rc;
}

/* A name beside it, so that what is there, and may run, is replaced at once or not at all. */
static int begin_file(struct packing *p)
{
    snprintf(p->path, sizeof(p->path), "%s.XXXXXX", p->out);
    p->fd = mkostemp(p->path, O_CLOEXEC);
    if (p->fd < 0)
        return cli_fault("%s: %s", p->out, strerror(errno));
    return write_all(p, buf_str(&p->program));
}

static int end_file(struct packing *p)
{
    struct buf footer = BUF_INIT;
    struct err err;
    int rc = 0;
    if (buf_failed(&p->list) || buf_failed(&p->left_out))
        rc = cli_fault("out of memory");
    else if (p->list.len > LIMIT_PACK_LIST)
        rc = cli_fault("the names of the files have more than %d MB", LIMIT_PACK_LIST >> 20);
    else if (pack_archive_sign(buf_str(&p->list), p->program.len, p->key, &footer, &err) != 0)
        rc = cli_fault("%s", err.text);
    if (rc == 0)
        rc = write_all(p, buf_str(&p->list));
    if (rc == 0)
        rc = write_all(p, buf_str(&footer));
    buf_free(&footer);
    if (rc == 0 && (fchmod(p->fd, p->env ? 0700 : 0755) != 0 || fsync(p->fd) != 0 ||
                    rename(p->path, p->out) != 0))
        rc = cli_fault("%s: %s", p->out, strerror(errno));
    return rc;
}

/* ---- packing ---- */

static void tell(const struct packing *p, struct str env_files)
{
    unsigned char key[PACK_ARCHIVE_KEY];
    char shown[PACK_ARCHIVE_KEY * 2];
    struct buf left = BUF_INIT;
    buf_add_str(&left, env_files);
    buf_add_str(&left, buf_str(&p->left_out));
    if (left.len > 2)
        fprintf(stderr, "left out: %.*s; --env takes such files along\n", (int)left.len - 2,
                left.data);
    buf_free(&left);
    if (pack_archive_key(p->key, key) == 0)
        fprintf(stderr, "%s: %u files of %.1f MB, signed by %s\n", p->out, p->count,
                (double)p->size / 1e6, show_key(key, shown));
}

static int pack_found(struct packing *p, const struct pack_contents *contents)
{
    const struct config *config = contents->config;
    struct str name = str_skip(config->file, config->folder.len + 1);
    int rc = read_own(p);
    if (rc == 0)
        rc = begin_file(p);
    pack_archive_begin(&p->list, buf_str(&p->program), name);
    for (unsigned i = 0; rc == 0 && i < contents->count; i++)
        rc = pack_one(p, config->folder, contents->names[i]);
    if (rc == 0)
        rc = end_file(p);
    if (rc == 0)
        tell(p, buf_str(&contents->env_files));
    else if (p->fd >= 0)
        (void)unlink(p->path);
    if (p->fd >= 0)
        close(p->fd);
    return rc;
}

/* The folder's name, where none was given. */
static int name_file(struct packing *p, const struct config *config)
{
    struct stat st;
    const char *slash = strrchr(config->real_folder.ptr, '/');
    if (p->out == NULL)
        p->out = slash + 1;
    if (p->out[0] == '\0')
        return cli_usage(&command_pack, "-o needs the name of a file");
    if (stat(p->out, &st) == 0 && !S_ISREG(st.st_mode))
        return cli_fault("%s: is no file; -o names another", p->out);
    return 0;
}

static int pack(struct packing *p, const struct deployment *deployment)
{
    struct pack_contents contents = {.count = 0};
    struct err err;
    struct stat st;
    int rc = name_file(p, deployment->config);
    bool there = rc == 0 && stat(p->out, &st) == 0;
    if (rc == 0)
        rc = find_key(p, true);
    if (rc == 0 && pack_contents_find(deployment, p->env, there ? &st : NULL, &contents, &err) != 0)
        rc = cli_fault("%s", err.text);
    if (rc == 0)
        rc = pack_found(p, &contents);
    pack_contents_free(&contents);
    return rc;
}

/* ---- verifying ---- */

static int check_program(const char *file, int fd, const struct pack_archive *archive)
{
    struct buf program = BUF_INIT;
    char hash[PACK_ARCHIVE_HASH_HEX];
    int rc = lseek(fd, 0, SEEK_SET) == 0
                 ? file_read_rest(fd, LIMIT_PACK_BYTES * (size_t)2, &program)
                 : -errno;
    if (rc != 0) {
        rc = cli_fault("%s: %s", file, strerror(-rc));
    } else {
        pack_archive_hash((struct str){program.data, (size_t)archive->program_len}, hash);
        if (program.len < archive->program_len || strcmp(hash, archive->program_hash) != 0)
            rc = cli_fault("%s: the program in it was changed", file);
    }
    buf_free(&program);
    return rc;
}

static int check_key(const struct packing *p, const struct pack_archive *archive)
{
    unsigned char key[PACK_ARCHIVE_KEY];
    char its[PACK_ARCHIVE_KEY * 2], wanted[PACK_ARCHIVE_KEY * 2];
    if (pack_archive_key(p->key, key) == 0 && memcmp(key, archive->key, sizeof(key)) == 0)
        return 0;
    return cli_fault("%s: is signed by %s, not by %s", p->verify, show_key(archive->key, its),
                     show_key(key, wanted));
}

static int verify(struct packing *p)
{
    struct pack_archive archive;
    struct err err;
    char shown[PACK_ARCHIVE_KEY * 2];
    int rc = find_key(p, false);
    if (rc != 0)
        return rc;
    int fd = open(p->verify, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return cli_fault("%s: %s", p->verify, strerror(errno));
    rc = pack_archive_open(fd, &archive, &err);
    if (rc != 0) {
        close(fd);
        return cli_fault("%s: %s", p->verify,
                         rc == -ENOENT ? "there is no deployment packed in it" : err.text);
    }
    rc = check_key(p, &archive);
    if (rc == 0)
        rc = check_program(p->verify, fd, &archive);
    for (unsigned i = 0; rc == 0 && i < archive.file_count; i++)
        printf("%10zu  %.*s\n", archive.files[i].bytes.len, STR_ARG(archive.files[i].name));
    if (rc == 0)
        fprintf(stderr, "%s: as it was signed by %s\n", p->verify, show_key(archive.key, shown));
    pack_archive_free(&archive);
    close(fd);
    return rc;
}

static int run(int argc, char **argv)
{
    struct packing p = {.config_file = "functions.lua", .fd = -1};
    const struct option options[] = {{"-o", OPTION_TEXT, &p.out},
                                     {"--env", OPTION_FLAG, &p.env},
                                     {"--key", OPTION_TEXT, &p.key_file},
                                     {"--verify", OPTION_TEXT, &p.verify},
                                     {"--config", OPTION_TEXT, &p.config_file},
                                     {NULL, OPTION_FLAG, NULL}};
    unsigned faults;
    int rc = cli_parse(&command_pack, argc, argv, options, NULL, 0, NULL);
    if (rc != 0)
        return rc;
    if (p.verify != NULL && (p.out != NULL || p.env))
        return cli_usage(&command_pack, "--verify packs nothing: it takes no -o and no --env");
    if (p.verify != NULL) {
        rc = verify(&p);
    } else {
        const struct load_options load = {.config_file = p.config_file,
                                          .defaults = dev_place_defaults(p.config_file)};
        struct deployment *deployment = load_deployment(&load, &faults);
        rc = deployment != NULL && faults == 0 ? pack(&p, deployment) : EXIT_FAULT;
        if (deployment != NULL)
            load_undo(deployment);
    }
    key_unref(p.key);
    buf_free(&p.program);
    buf_free(&p.list);
    buf_free(&p.left_out);
    return rc;
}

const struct command command_pack = {"pack", run};
