/* A packed deployment behind a program: reading, which trusts nothing, and writing. */
#include "cli/pack_archive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/base64url.h"
#include "base/limits.h"
#include "shared/digest.h"

static const char MAGIC[16] = "LUAFN-PACK-1";
static const char FIRST[] = "luafn pack 1";

enum { AT_PROGRAM = 16, AT_LIST = 24, AT_KEY = 32, AT_SIGNATURE = 64, SIGNATURE = 64 };

void pack_archive_hash(struct str bytes, char out[PACK_ARCHIVE_HASH_HEX])
{
    unsigned char hash[DIGEST_BYTES];
    digest_sha256(bytes, hash);
    str_write_hex(hash, sizeof(hash), out);
}

bool pack_archive_name_is_good(struct str name)
{
    struct str rest = name, part;
    for (size_t i = 0; i < name.len; i++) {
        if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7f)
            return false;
    }
    while (str_split_next(&rest, '/', &part)) {
        if (part.len == 0 || str_eq(part, STR(".")) || str_eq(part, STR("..")))
            return false;
    }
    return name.len > 0 && name.len <= LIMIT_PACK_NAME;
}

/* ---- reading ---- */

static uint64_t number_at(const char *footer, size_t at)
{
    uint64_t value = 0;
    for (unsigned i = 8; i-- > 0;)
        value = value << 8 | (unsigned char)footer[at + i];
    return value;
}

/* RFC 8037 section 2. NULL: out of memory, or no key of Ed25519. */
static struct key *key_of(const unsigned char bytes[PACK_ARCHIVE_KEY])
{
    struct key *key = NULL;
    struct buf x = BUF_INIT;
    base64url_encode(bytes, PACK_ARCHIVE_KEY, &x);
    json_t *jwk = buf_failed(&x) ? NULL
                                 : json_pack("{s:s,s:s,s:s%}", "kty", "OKP", "crv", "Ed25519", "x",
                                             x.data, x.len);
    if (jwk != NULL && jwk_read_key(jwk, &key, NULL) != 0)
        key = NULL;
    json_decref(jwk);
    buf_free(&x);
    return key;
}

static int check_signature(const struct pack_archive *archive, struct str list,
                           struct str signature, struct err *err)
{
    struct key *key = key_of(archive->key);
    int rc =
        key != NULL ? key_verify(key, KEY_BACKEND_OPENSSL, ALG_EDDSA, list, signature) : -EBADMSG;
    key_unref(key);
    return rc == 0 ? 0
                   : err_set(err, -EBADMSG,
                             "what is packed in it was changed: the list of its files does not "
                             "have the signature of its key");
}

/* Words of a line; the last one is what is left of it. */
static bool take_word(struct str *rest, struct str *word)
{
    return str_split_next(rest, ' ', word) && rest->ptr != NULL;
}

static bool is_hash(struct str word)
{
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return word.len == PACK_ARCHIVE_HASH_HEX - 1;
}

static bool read_program(struct str line, struct pack_archive *out)
{
    struct str word, hash;
    uint64_t len;
    if (!take_word(&line, &word) || !str_eq(word, STR("program")) || !take_word(&line, &hash) ||
        !is_hash(hash) || str_to_u64(line, UINT64_MAX, &len) != 0 || len != out->program_len)
        return false;
    memcpy(out->program_hash, hash.ptr, hash.len);
    out->program_hash[hash.len] = '\0';
    return true;
}

/* Its bytes are the first of `contents`, which are taken off. */
static bool read_file(struct str line, struct str *contents, struct pack_file *out,
                      struct str *hash)
{
    struct str size, changed;
    uint64_t len, seconds;
    if (!take_word(&line, hash) || !is_hash(*hash) || !take_word(&line, &size) ||
        str_to_u64(size, contents->len, &len) != 0 || !take_word(&line, &changed) ||
        str_to_u64(changed, (uint64_t)LIMIT_DATE_MAX, &seconds) != 0 ||
        !pack_archive_name_is_good(line))
        return false;
    *out = (struct pack_file){line, {contents->ptr, (size_t)len}, (double)seconds};
    *contents = str_skip(*contents, (size_t)len);
    return true;
}

static int bad_list(struct err *err, unsigned line)
{
    return err_set(err, -EBADMSG,
                   "what is packed in it cannot be read: line %u of the list of its files", line);
}

static bool has_config(const struct pack_archive *archive)
{
    for (unsigned i = 0; i < archive->file_count; i++) {
        if (str_eq(archive->files[i].name, archive->config))
            return true;
    }
    return false;
}

static int read_files(struct str list, struct str contents, struct pack_archive *out,
                      struct err *err)
{
    struct str line, hash;
    char is[PACK_ARCHIVE_HASH_HEX];
    size_t lines = str_count(list, '\n');
    out->files =
        calloc(lines < LIMIT_PACK_FILES ? lines + 1 : LIMIT_PACK_FILES + 1, sizeof(*out->files));
    if (out->files == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    while (str_split_next(&list, '\n', &line) && list.ptr != NULL) {
        struct pack_file *file = &out->files[out->file_count];
        if (out->file_count == LIMIT_PACK_FILES || !read_file(line, &contents, file, &hash) ||
            (out->file_count > 0 && !str_is_before(file[-1].name, file->name)))
            return bad_list(err, out->file_count + 4);
        pack_archive_hash(file->bytes, is);
        if (memcmp(is, hash.ptr, hash.len) != 0)
            return err_set(err, -EBADMSG, "%.*s, which is packed in it, was changed",
                           STR_ARG(file->name));
        out->file_count++;
    }
    if (line.len > 0 || contents.len > 0)
        return bad_list(err, out->file_count + 4);
    return has_config(out) ? 0 : bad_list(err, 3);
}

static int read_list(struct str list, struct str contents, struct pack_archive *out,
                     struct err *err)
{
    struct str line, word;
    if (!str_split_next(&list, '\n', &line) || !str_eq(line, STR(FIRST)))
        return bad_list(err, 1);
    if (!str_split_next(&list, '\n', &line) || !read_program(line, out))
        return bad_list(err, 2);
    if (!str_split_next(&list, '\n', &line) || !take_word(&line, &word) ||
        !str_eq(word, STR("config")) || list.ptr == NULL)
        return bad_list(err, 3);
    out->config = line;
    return read_files(list, contents, out, err);
}

static int do_not_fit(struct err *err)
{
    return err_set(err, -EBADMSG,
                   "what is packed in it was cut off or changed: its sizes do not fit together");
}

int pack_archive_read(struct str bytes, uint64_t program_len, struct pack_archive *out,
                      struct err *err)
{
    *out = (struct pack_archive){.program_len = program_len};
    if (bytes.len < PACK_ARCHIVE_FOOTER)
        return do_not_fit(err);
    size_t before = bytes.len - PACK_ARCHIVE_FOOTER;
    const char *footer = bytes.ptr + before;
    uint64_t list_len = number_at(footer, AT_LIST);
    if (memcmp(footer, MAGIC, sizeof(MAGIC)) != 0 || number_at(footer, AT_PROGRAM) != program_len ||
        list_len > before || list_len > LIMIT_PACK_LIST)
        return do_not_fit(err);
    struct str contents = {bytes.ptr, before - (size_t)list_len};
    struct str list = {bytes.ptr + contents.len, (size_t)list_len};
    memcpy(out->key, footer + AT_KEY, sizeof(out->key));
    int rc = check_signature(out, list, (struct str){footer + AT_SIGNATURE, SIGNATURE}, err);
    if (rc == 0)
        rc = read_list(list, contents, out, err);
    if (rc != 0)
        pack_archive_free(out);
    return rc;
}

void pack_archive_free(struct pack_archive *archive)
{
    free(archive->files);
    buf_free(&archive->bytes);
    *archive = (struct pack_archive){.files = NULL};
}

/* Where the program ends, and the file. -ENOENT: there is no archive. */
static int find_archive(int fd, uint64_t *program_len, uint64_t *file_len, struct err *err)
{
    struct stat st;
    char footer[PACK_ARCHIVE_FOOTER];
    if (fstat(fd, &st) != 0)
        return err_set(err, -errno, "%s", strerror(errno));
    *file_len = (uint64_t)st.st_size;
    if (!S_ISREG(st.st_mode) || *file_len < sizeof(footer) ||
        pread(fd, footer, sizeof(footer), (off_t)(*file_len - sizeof(footer))) !=
            (ssize_t)sizeof(footer) ||
        memcmp(footer, MAGIC, sizeof(MAGIC)) != 0)
        return -ENOENT;
    *program_len = number_at(footer, AT_PROGRAM);
    if (*program_len > *file_len - sizeof(footer))
        return do_not_fit(err);
    if (*file_len - *program_len > (uint64_t)LIMIT_PACK_BYTES + LIMIT_PACK_LIST + sizeof(footer))
        return err_set(err, -EFBIG, "what is packed in it has more than %d MB",
                       LIMIT_PACK_BYTES >> 20);
    return 0;
}

static int read_at(int fd, uint64_t from, size_t len, struct buf *out)
{
    int rc = buf_reserve(out, len + 1);
    while (rc == 0 && out->len < len) {
        ssize_t n = pread(fd, out->data + out->len, len - out->len, (off_t)(from + out->len));
        if (n > 0)
            out->len += (size_t)n;
        else if (n == 0)
            rc = -EIO; /* it has become shorter */
        else if (errno != EINTR)
            rc = -errno;
    }
    return rc;
}

int pack_archive_open(int fd, struct pack_archive *out, struct err *err)
{
    uint64_t program_len = 0, file_len = 0;
    struct buf bytes = BUF_INIT;
    *out = (struct pack_archive){.files = NULL};
    int rc = find_archive(fd, &program_len, &file_len, err);
    if (rc != 0)
        return rc;
    rc = read_at(fd, program_len, (size_t)(file_len - program_len), &bytes);
    if (rc != 0)
        err_set(err, rc, "%s", strerror(-rc));
    else
        rc = pack_archive_read(buf_str(&bytes), program_len, out, err);
    if (rc == 0)
        out->bytes = bytes;
    else
        buf_free(&bytes);
    return rc;
}

int pack_archive_program(int fd, uint64_t *out, struct err *err)
{
    uint64_t file_len = 0;
    int rc = find_archive(fd, out, &file_len, err);
    if (rc == -ENOENT)
        *out = file_len;
    return rc == -ENOENT ? 0 : rc;
}

/* ---- writing ---- */

void pack_archive_begin(struct buf *list, struct str program, struct str config)
{
    char hash[PACK_ARCHIVE_HASH_HEX];
    pack_archive_hash(program, hash);
    buf_printf(list, "%s\nprogram %s %zu\nconfig %.*s\n", FIRST, hash, program.len,
               STR_ARG(config));
}

void pack_archive_add(struct buf *list, const struct pack_file *file)
{
    char hash[PACK_ARCHIVE_HASH_HEX];
    pack_archive_hash(file->bytes, hash);
    buf_printf(list, "%s %zu %.0f %.*s\n", hash, file->bytes.len,
               file->changed > 0 ? file->changed : 0, STR_ARG(file->name));
}

static void add_number(struct buf *out, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        buf_add_char(out, (char)(value >> 8 * i & 0xff));
}

int pack_archive_key(const struct key *key, unsigned char out[PACK_ARCHIVE_KEY])
{
    unsigned char bytes[BASE64URL_DECODED_MAX(64)];
    size_t len = 0;
    json_t *jwk = jwk_write_key(key, ALG_EDDSA);
    const char *curve = json_string_value(json_object_get(jwk, "crv"));
    struct str x = str_from(json_string_value(json_object_get(jwk, "x")));
    bool good = curve != NULL && strcmp(curve, "Ed25519") == 0 && x.len <= 64 &&
                base64url_decode(x, bytes, &len) == 0 && len == PACK_ARCHIVE_KEY;
    if (good)
        memcpy(out, bytes, PACK_ARCHIVE_KEY);
    json_decref(jwk);
    return good ? 0 : -EINVAL;
}

int pack_archive_sign(struct str list, uint64_t program_len, struct key *key, struct buf *out,
                      struct err *err)
{
    unsigned char bytes[PACK_ARCHIVE_KEY];
    if (!key_can_sign(key) || pack_archive_key(key, bytes) != 0)
        return err_set(err, -EINVAL, "a private Ed25519 key is wanted");
    buf_add(out, MAGIC, sizeof(MAGIC));
    add_number(out, program_len);
    add_number(out, list.len);
    buf_add(out, bytes, sizeof(bytes));
    return key_sign_bytes(key, ALG_EDDSA, list, out, err);
}
