/* Any bytes behind a program, as a packed deployment: what is read has names that lead down, each
 * once and in their order, and files that fill the contents to the byte. Whoever has a key can sign
 * any list, so one that begins with a 's' is signed: "s", list, NUL, contents. */
#include "fuzz.h"

#include "cli/pack_archive.h"

enum { PROGRAM = 9 };

static struct key *signer(void)
{
    static struct key *key;
    if (key == NULL)
        require(key_generate(ALG_EDDSA, &key, NULL) == 0, "a key");
    return key;
}

static void check(struct str bytes)
{
    struct pack_archive archive;
    struct err err = {""};
    size_t sum = 0;
    bool config = false;
    if (pack_archive_read(bytes, PROGRAM, &archive, &err) != 0) {
        require(err.text[0] != '\0', "a reason");
        return;
    }
    for (unsigned i = 0; i < archive.file_count; i++) {
        const struct pack_file *file = &archive.files[i];
        require(pack_archive_name_is_good(file->name), "a good name");
        require(file->bytes.ptr == bytes.ptr + sum, "one behind the other");
        require(i == 0 || str_is_before(file[-1].name, file->name), "in their order");
        config = config || str_eq(file->name, archive.config);
        sum += file->bytes.len;
    }
    require(config, "a configuration");
    require(sum < bytes.len - PACK_ARCHIVE_FOOTER, "contents before the list");
    pack_archive_free(&archive);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = whole_input(data, size);
    struct buf bytes = BUF_INIT;
    if (size > 0 && data[0] == 's') {
        struct str rest = str_skip(input, 1);
        struct str list = {rest.ptr, str_find(rest, '\0')};
        if (list.len < rest.len)
            buf_add_str(&bytes, str_skip(rest, list.len + 1));
        buf_add_str(&bytes, list);
        require(pack_archive_sign(list, PROGRAM, signer(), &bytes, NULL) == 0, "a signature");
        input = buf_str(&bytes);
    }
    check(input);
    buf_free(&bytes);
    return 0;
}
