#include "cli/pack_archive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "unit.h"

static struct key *key;

#define PROGRAM STR("a program")
#define CONFIG  "return {}\n"
#define ME      "return 1\n"

static int make_key(void **state)
{
    (void)state;
    return key_generate(ALG_EDDSA, &key, NULL);
}

static int drop_key(void **state)
{
    (void)state;
    key_unref(key);
    return 0;
}

/* What follows the program; to be freed. */
static struct buf sealed(struct str contents, struct str list)
{
    struct buf out = BUF_INIT;
    struct err err;
    buf_add_str(&out, contents);
    buf_add_str(&out, list);
    assert_int_equal(pack_archive_sign(list, PROGRAM.len, key, &out, &err), 0);
    assert_false(buf_failed(&out));
    return out;
}

static struct buf good_list(void)
{
    struct buf list = BUF_INIT;
    const struct pack_file config = {STR("functions.lua"), STR(CONFIG), 1700000000.0};
    const struct pack_file me = {STR("scripts/me.lua"), STR(ME), 0};
    const struct pack_file none = {STR("web/.well-known/empty"), STR(""), 5};
    pack_archive_begin(&list, PROGRAM, STR("functions.lua"));
    pack_archive_add(&list, &config);
    pack_archive_add(&list, &me);
    pack_archive_add(&list, &none);
    return list;
}

static struct buf good_archive(void)
{
    struct buf list = good_list();
    struct buf out = sealed(STR(CONFIG ME), buf_str(&list));
    buf_free(&list);
    return out;
}

/* From memory of exactly that size, so that sanitizers see who reads behind it. */
static int read_copy(struct str bytes, uint64_t program_len, struct err *err)
{
    char *exact = malloc(bytes.len > 0 ? bytes.len : 1);
    struct pack_archive archive;
    assert_non_null(exact);
    memcpy(exact, bytes.ptr, bytes.len);
    int rc = pack_archive_read((struct str){exact, bytes.len}, program_len, &archive, err);
    if (rc == 0)
        pack_archive_free(&archive);
    free(exact);
    return rc;
}

static void what_was_packed_comes_out(void **state)
{
    (void)state;
    struct buf bytes = good_archive();
    struct pack_archive archive;
    struct err err;
    char hash[PACK_ARCHIVE_HASH_HEX];
    unsigned char mine[PACK_ARCHIVE_KEY];
    assert_int_equal(pack_archive_read(buf_str(&bytes), PROGRAM.len, &archive, &err), 0);
    assert_int_equal(archive.file_count, 3);
    assert_true(str_eq(archive.config, STR("functions.lua")));
    assert_true(str_eq(archive.files[0].bytes, STR(CONFIG)));
    assert_true(archive.files[0].changed == 1700000000.0);
    assert_true(str_eq(archive.files[1].name, STR("scripts/me.lua")));
    assert_true(str_eq(archive.files[1].bytes, STR(ME)));
    assert_int_equal(archive.files[2].bytes.len, 0);
    pack_archive_hash(PROGRAM, hash);
    assert_string_equal(archive.program_hash, hash);
    assert_int_equal(pack_archive_key(key, mine), 0);
    assert_memory_equal(archive.key, mine, sizeof(mine));
    pack_archive_free(&archive);
    buf_free(&bytes);
}

static void no_byte_can_be_another(void **state)
{
    (void)state;
    struct buf bytes = good_archive();
    struct err err;
    for (size_t i = 0; i < bytes.len; i++) {
        for (unsigned bit = 0; bit < 8; bit += 7) {
            bytes.data[i] = (char)(bytes.data[i] ^ 1 << bit);
            assert_int_equal(read_copy(buf_str(&bytes), PROGRAM.len, &err), -EBADMSG);
            assert_non_null(strstr(err.text, "packed in it"));
            bytes.data[i] = (char)(bytes.data[i] ^ 1 << bit);
        }
    }
    assert_int_equal(read_copy(buf_str(&bytes), PROGRAM.len, &err), 0);
    buf_free(&bytes);
}

static void nothing_can_be_cut_off_or_added(void **state)
{
    (void)state;
    struct buf bytes = good_archive();
    struct err err;
    for (size_t i = 0; i < bytes.len; i++) {
        assert_int_equal(read_copy((struct str){bytes.data, i}, PROGRAM.len, &err), -EBADMSG);
        if (i > 0)
            assert_int_equal(read_copy(str_skip(buf_str(&bytes), i), PROGRAM.len, &err), -EBADMSG);
    }
    assert_int_equal(read_copy(buf_str(&bytes), PROGRAM.len + 1, &err), -EBADMSG);
    assert_int_equal(read_copy(buf_str(&bytes), PROGRAM.len, &err), 0);
    buf_add_char(&bytes, '\0');
    assert_int_equal(read_copy(buf_str(&bytes), PROGRAM.len, &err), -EBADMSG);
    buf_free(&bytes);
}

/* Where the footer says so, a size is no reason to read elsewhere. */
static void sizes_of_the_footer_are_bounded(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, LIMIT_PACK_LIST, UINT32_MAX, INT64_MAX, UINT64_MAX};
    struct buf bytes = good_archive();
    struct err err;
    for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        char before[8], *at = bytes.data + bytes.len - PACK_ARCHIVE_FOOTER + 16 + 8 * (i % 2);
        memcpy(before, at, sizeof(before));
        memcpy(at, &sizes[i / 2], sizeof(before));
        assert_int_equal(read_copy(buf_str(&bytes), PROGRAM.len, &err), -EBADMSG);
        memcpy(at, before, sizeof(before));
    }
    assert_int_equal(read_copy(buf_str(&bytes), PROGRAM.len, &err), 0);
    buf_free(&bytes);
}

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
/* Of the empty text, and of "x". */
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define AN_X  "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
#define HEAD  "luafn pack 1\nprogram " ZEROS " 9\nconfig f\n"

/* Lists that are signed well: whoever has a key can write anything. */
static void a_list_is_read_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *list, *contents;
        int rc;
    } cases[] = {
        {HEAD EMPTY " 0 0 f\n", "", 0},
        {HEAD AN_X " 1 9 f\n", "x", 0},
        {HEAD EMPTY " 0 0 a\n" AN_X " 1 0 a b\n" EMPTY " 0 0 f\n", "x", 0},
        {HEAD EMPTY " 0 0 .env\n" EMPTY " 0 0 f\n", "", 0},
        {HEAD, "", -EBADMSG},                                           /* no configuration */
        {HEAD EMPTY " 0 0 g\n", "", -EBADMSG},                          /* another one */
        {HEAD EMPTY " 0 0 f", "", -EBADMSG},                            /* no end of the line */
        {HEAD EMPTY " 0 0 f\n\n", "", -EBADMSG},                        /* an empty one */
        {HEAD EMPTY " 0 0 f\n" EMPTY " 0 0 f\n", "", -EBADMSG},         /* twice */
        {HEAD EMPTY " 0 0 g\n" EMPTY " 0 0 f\n", "", -EBADMSG},         /* not in their order */
        {HEAD EMPTY " 0 0 f\n" EMPTY " 0 0 ../x\n", "", -EBADMSG},      /* leads out */
        {HEAD EMPTY " 0 0 a/../../x\n" EMPTY " 0 0 f\n", "", -EBADMSG}, /* the same */
        {HEAD EMPTY " 0 0 ./a\n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {HEAD EMPTY " 0 0 /etc/x\n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {HEAD EMPTY " 0 0 a//b\n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {HEAD EMPTY " 0 0 a/\n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {HEAD EMPTY " 0 0 \n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {HEAD EMPTY " 0 0 a\tb\n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {HEAD EMPTY " 0 0 a\x7f\n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {HEAD AN_X " 2 0 f\n", "x", -EBADMSG},                    /* more than there is */
        {HEAD EMPTY " 0 0 f\n", "x", -EBADMSG},                   /* less */
        {HEAD AN_X " 18446744073709551615 0 f\n", "x", -EBADMSG}, /* all there can be */
        {HEAD AN_X " 18446744073709551617 0 f\n", "x", -EBADMSG}, /* and more */
        {HEAD AN_X " -1 0 f\n", "x", -EBADMSG},
        {HEAD AN_X " 1 253402300800 f\n", "x", -EBADMSG}, /* the year 10000 */
        {HEAD AN_X " 1 f\n", "x", -EBADMSG},
        {HEAD ZEROS " 0 0 f\n", "", -EBADMSG},
        {HEAD "E" EMPTY " 0 0 f\n", "", -EBADMSG},
        {"luafn pack 2\nprogram " ZEROS " 9\nconfig f\n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {"luafn pack 1\nprogram " ZEROS " 8\nconfig f\n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {"luafn pack 1\nprogram 00 9\nconfig f\n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {"luafn pack 1\nconfig f\n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {"luafn pack 1\nprogram " ZEROS " 9\n" EMPTY " 0 0 f\n", "", -EBADMSG},
        {"luafn pack 1", "", -EBADMSG},
        {"", "", -EBADMSG},
    };
    struct err err;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf bytes = sealed(str_from(cases[i].contents), str_from(cases[i].list));
        int rc = read_copy(buf_str(&bytes), PROGRAM.len, &err);
        if (rc != cases[i].rc)
            fail_msg("case %zu: %d", i, rc);
        buf_free(&bytes);
    }
}

static void no_list_is_too_long(void **state)
{
    (void)state;
    struct err err;
    for (unsigned more = 0; more < 2; more++) {
        struct buf list = BUF_INIT;
        buf_printf(&list, "%s", HEAD);
        for (unsigned i = 0; i < LIMIT_PACK_FILES - 1 + more; i++)
            buf_printf(&list, "%s 0 0 a%05u\n", EMPTY, i);
        buf_printf(&list, "%s 0 0 f\n", EMPTY);
        struct buf bytes = sealed(STR(""), buf_str(&list));
        assert_int_equal(read_copy(buf_str(&bytes), PROGRAM.len, &err), more ? -EBADMSG : 0);
        buf_free(&bytes);
        buf_free(&list);
    }
    char name[LIMIT_PACK_NAME + 2];
    memset(name, 'n', sizeof(name));
    assert_true(pack_archive_name_is_good((struct str){name, LIMIT_PACK_NAME}));
    assert_false(pack_archive_name_is_good((struct str){name, LIMIT_PACK_NAME + 1}));
}

static void others_keys_do_not_sign(void **state)
{
    (void)state;
    static const enum alg kinds[] = {ALG_RS256, ALG_ES256, ALG_HS256};
    struct buf out = BUF_INIT;
    struct err err;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct key *other = NULL;
        assert_int_equal(key_generate(kinds[i], &other, &err), 0);
        assert_int_equal(pack_archive_sign(STR("x"), 0, other, &out, &err), -EINVAL);
        key_unref(other);
    }
    struct buf pem = BUF_INIT;
    struct key *public = NULL;
    assert_int_equal(key_to_public_pem(key, &pem), 0);
    assert_int_equal(key_from_pem(buf_str(&pem), &public, &err), 0);
    assert_int_equal(pack_archive_sign(STR("x"), 0, public, &out, &err), -EINVAL);
    assert_int_equal(out.len, 0);
    assert_int_equal(pack_archive_sign(STR("x"), 0, key, &out, &err), 0);
    assert_int_equal(out.len, PACK_ARCHIVE_FOOTER);
    key_unref(public);
    buf_free(&pem);
    buf_free(&out);
}

static FILE *file_of(struct str program, struct str archive)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(program.ptr, 1, program.len, file), program.len);
    assert_int_equal(fwrite(archive.ptr, 1, archive.len, file), archive.len);
    assert_int_equal(fflush(file), 0);
    return file;
}

static void an_open_file_is_read(void **state)
{
    (void)state;
    struct buf bytes = good_archive();
    struct pack_archive archive;
    struct err err;
    uint64_t len;
    FILE *file = file_of(PROGRAM, buf_str(&bytes));
    assert_int_equal(pack_archive_open(fileno(file), &archive, &err), 0);
    assert_true(str_eq(archive.files[1].bytes, STR(ME)));
    assert_int_equal(pack_archive_program(fileno(file), &len, &err), 0);
    assert_int_equal(len, PROGRAM.len);
    pack_archive_free(&archive);
    fclose(file);
    /* Another program in front of it: what it says of its size is not so. */
    file = file_of(STR("a longer program"), buf_str(&bytes));
    assert_int_equal(pack_archive_open(fileno(file), &archive, &err), -EBADMSG);
    fclose(file);
    file = file_of(STR(""), buf_str(&bytes));
    assert_int_equal(pack_archive_open(fileno(file), &archive, &err), -EBADMSG);
    fclose(file);
    file = file_of(PROGRAM, STR(""));
    assert_int_equal(pack_archive_open(fileno(file), &archive, &err), -ENOENT);
    assert_int_equal(pack_archive_program(fileno(file), &len, &err), 0);
    assert_int_equal(len, PROGRAM.len);
    fclose(file);
    buf_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_packed_comes_out),
        cmocka_unit_test(no_byte_can_be_another),
        cmocka_unit_test(nothing_can_be_cut_off_or_added),
        cmocka_unit_test(sizes_of_the_footer_are_bounded),
        cmocka_unit_test(a_list_is_read_strictly),
        cmocka_unit_test(no_list_is_too_long),
        cmocka_unit_test(others_keys_do_not_sign),
        cmocka_unit_test(an_open_file_is_read),
    };
    return cmocka_run_group_tests(tests, make_key, drop_key);
}
