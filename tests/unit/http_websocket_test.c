/* WebSocket frames, and the handshake's key. Each table's rows are fed whole and byte by byte. */
#include "unit.h"

#include <stdio.h>

#include "http/websocket.h"

enum { LIMIT = 300 };

/* A frame of a client: mask 1 2 3 4. */
static void add_frame(struct buf *out, unsigned first, struct str payload)
{
    static const unsigned char mask[4] = {1, 2, 3, 4};
    unsigned char head[4] = {(unsigned char)first, (unsigned char)(0x80 | payload.len)};
    size_t len = 2;
    if (payload.len > 125) {
        head[1] = 0x80 | 126;
        head[len++] = (unsigned char)(payload.len >> 8);
        head[len++] = (unsigned char)payload.len;
    }
    buf_add(out, head, len);
    buf_add(out, mask, 4);
    for (size_t i = 0; i < payload.len; i++)
        buf_add_char(out, (char)((unsigned char)payload.ptr[i] ^ mask[i & 3]));
}

/* What comes of the bytes: "text:abc ping:x close:1000 fault:1002". */
static void describe(struct str bytes, size_t piece, struct buf *out)
{
    struct websocket_reader reader;
    websocket_reader_init(&reader, LIMIT);
    while (bytes.len > 0) {
        struct str input = {bytes.ptr, bytes.len < piece ? bytes.len : piece};
        bytes = str_skip(bytes, input.len);
        enum websocket_event event;
        while ((event = websocket_feed(&reader, &input)) != WEBSOCKET_MORE) {
            if (event == WEBSOCKET_FAULT) {
                buf_printf(out, "fault:%u ", reader.code);
                bytes.len = 0;
                break;
            }
            if (event == WEBSOCKET_MESSAGE && reader.message.len > 20)
                buf_printf(out, "%zu ", reader.message.len);
            else if (event == WEBSOCKET_MESSAGE)
                buf_printf(out, "%s:%.*s ", reader.kind == WEBSOCKET_TEXT ? "text" : "binary",
                           STR_ARG(buf_str(&reader.message)));
            else if (reader.control_kind == WEBSOCKET_CLOSE)
                buf_printf(out, "close:%u ", reader.code);
            else
                buf_printf(out, "%s:%.*s ", reader.control_kind == WEBSOCKET_PING ? "ping" : "pong",
                           STR_ARG(websocket_control(&reader)));
        }
    }
    buf_add_char(out, '\0');
    websocket_reader_free(&reader);
}

static void expect(const char *name, const struct buf *bytes, const char *wanted)
{
    for (size_t piece = 1; piece <= bytes->len; piece = piece * 3 + 1) {
        struct buf got = BUF_INIT;
        describe(buf_str(bytes), piece, &got);
        if (strcmp(got.data, wanted) != 0)
            fail_msg("%s in pieces of %zu: %s, not %s", name, piece, got.data, wanted);
        buf_free(&got);
    }
}

struct row {
    const char *name;
    struct {
        unsigned first;
        const char *payload;
        size_t repeat; /* of the payload; 0: once */
    } frames[5];
    const char *wanted;
};

static const struct row rows[] = {
    {"a text", {{0x81, "abc", 0}}, "text:abc "},
    {"an empty one", {{0x81, "", 0}}, "text: "},
    {"bytes that are no text", {{0x82, "\xff\xfe", 0}}, "binary:\xff\xfe "},
    {"two", {{0x81, "a", 0}, {0x82, "b", 0}}, "text:a binary:b "},
    {"in fragments", {{0x01, "a", 0}, {0x00, "b", 0}, {0x80, "c", 0}}, "text:abc "},
    {"a ping between them", {{0x01, "a", 0}, {0x89, "p", 0}, {0x80, "c", 0}}, "ping:p text:ac "},
    {"a character cut", {{0x01, "\xc3", 0}, {0x80, "\xb6", 0}}, "text:\xc3\xb6 "},
    {"an unasked pong", {{0x8a, "x", 0}, {0x81, "a", 0}}, "pong:x text:a "},
    {"125 and 126 bytes", {{0x82, "x", 125}, {0x82, "x", 126}}, "125 126 "},
    {"as long as it may be", {{0x82, "x", LIMIT}}, "300 "},
    {"the same in fragments", {{0x02, "x", 200}, {0x80, "x", 100}}, "300 "},
    {"a byte more", {{0x82, "x", LIMIT + 1}}, "fault:1009 "},
    {"a byte more in fragments", {{0x02, "x", 200}, {0x80, "x", 101}}, "fault:1009 "},
    {"a close", {{0x88, "\x03\xe8", 0}}, "close:1000 "},
    {"an empty close", {{0x88, "", 0}}, "close:1005 "},
    {"a close with a reason", {{0x88, "\x0f\xa0why", 0}}, "close:4000 "},
    {"the registered 1012", {{0x88, "\x03\xf4", 0}}, "close:1012 "},
    {"a close of one byte", {{0x88, "\x03", 0}}, "fault:1002 "},
    {"a code that never travels", {{0x88, "\x03\xed", 0}}, "fault:1002 "},
    {"a code that is none", {{0x88, "\x03\xe7", 0}}, "fault:1002 "},
    {"a reason that is no text", {{0x88, "\x03\xe8\xff", 0}}, "fault:1007 "},
    {"a text that is none", {{0x81, "a\xff", 0}}, "fault:1007 "},
    {"a text that ends within a character", {{0x81, "\xc3", 0}}, "fault:1007 "},
    {"a reserved bit", {{0xc1, "a", 0}}, "fault:1002 "},
    {"an unknown kind", {{0x83, "a", 0}}, "fault:1002 "},
    {"an unknown control", {{0x8b, "a", 0}}, "fault:1002 "},
    {"a ping in fragments", {{0x09, "a", 0}}, "fault:1002 "},
    {"a ping of 126", {{0x89, "x", 126}}, "fault:1002 "},
    {"nothing to continue", {{0x80, "a", 0}}, "fault:1002 "},
    {"a message within one", {{0x01, "a", 0}, {0x81, "b", 0}}, "fault:1002 "},
    {"nothing after a fault", {{0x83, "a", 0}, {0x81, "b", 0}}, "fault:1002 "},
};

static void test_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf bytes = BUF_INIT;
        for (size_t f = 0; f < 5 && rows[i].frames[f].payload != NULL; f++) {
            struct buf payload = BUF_INIT;
            size_t times = rows[i].frames[f].repeat;
            for (size_t n = 0; n < (times == 0 ? 1 : times); n++)
                buf_add_str(&payload, str_from(rows[i].frames[f].payload));
            add_frame(&bytes, rows[i].frames[f].first, buf_str(&payload));
            buf_free(&payload);
        }
        expect(rows[i].name, &bytes, rows[i].wanted);
        buf_free(&bytes);
    }
}

/* Heads that no good client writes. */
static void test_heads(void **state)
{
    static const struct {
        const char *name;
        struct str bytes;
        const char *wanted;
    } heads[] = {
        {"unmasked",
         {"\x81\x01"
          "a",
          3},
         "fault:1002 "},
        {"126 in the long form", {"\x82\xfe\x00\x7d\1\2\3\4", 8}, "fault:1002 "},
        {"65535 in the longest", {"\x82\xff\0\0\0\0\0\0\xff\xff\1\2\3\4", 14}, "fault:1002 "},
        {"2^63", {"\x82\xff\x80\0\0\0\0\0\0\0\1\2\3\4", 14}, "fault:1002 "},
        {"2^40", {"\x82\xff\0\0\1\0\0\0\0\0\1\2\3\4", 14}, "fault:1009 "},
        {"half a head", {"\x82", 1}, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct buf bytes = BUF_INIT;
        buf_add_str(&bytes, heads[i].bytes);
        expect(heads[i].name, &bytes, heads[i].wanted);
        buf_free(&bytes);
    }
}

static void test_writing(void **state)
{
    static char large[70000];
    struct buf out = BUF_INIT;
    (void)state;
    websocket_put(&out, WEBSOCKET_TEXT, STR("ab"));
    assert_true(str_eq(buf_str(&out), (struct str){"\x81\x02"
                                                   "ab",
                                                   4}));
    buf_clear(&out);
    websocket_put(&out, WEBSOCKET_BINARY, (struct str){large, 126});
    assert_memory_equal(out.data, "\x82\x7e\0\x7e", 4);
    buf_clear(&out);
    websocket_put(&out, WEBSOCKET_BINARY, (struct str){large, 65536});
    assert_memory_equal(out.data, "\x82\x7f\0\0\0\0\0\1\0\0", 10);
    assert_int_equal(out.len, 65546);
    buf_clear(&out);
    websocket_put_close(&out, WEBSOCKET_NO_CODE, STR("unheard"));
    assert_true(str_eq(buf_str(&out), (struct str){"\x88\0", 2}));
    buf_clear(&out);
    memset(large, 'x', 122);
    memcpy(large + 122, "\xc3\xb6", 2); /* a character across the 123rd byte goes whole */
    websocket_put_close(&out, WEBSOCKET_NORMAL, (struct str){large, 124});
    assert_memory_equal(out.data, "\x88\x7c\x03\xe8", 4);
    assert_int_equal(out.len, 126);
    buf_free(&out);
}

static void test_codes(void **state)
{
    static const long long good[] = {1000, 1001, 1008, 1011, 1013, 3000, 4999};
    static const long long bad[] = {0, -1, 999, 1004, 1005, 1006, 1010, 1015, 2000, 5000, 66536};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(websocket_code_is_valid(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(websocket_code_is_valid(bad[i]));
}

/* RFC 6455 section 1.3. */
static void test_accept(void **state)
{
    char accept[WEBSOCKET_ACCEPT_BYTES];
    (void)state;
    websocket_accept(STR("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof(accept));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),  cmocka_unit_test(test_heads),
        cmocka_unit_test(test_writing), cmocka_unit_test(test_codes),
        cmocka_unit_test(test_accept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
