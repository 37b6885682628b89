#include "http/proxy_header.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "unit.h"

/* "0d0a", blanks between them; *len bytes in memory that the caller frees, of exactly that size, so
 * that sanitizers see who reads behind it. */
static char *from_hex(const char *hex, size_t *len)
{
    char *out = malloc(strlen(hex));
    *len = 0;
    for (; *hex != '\0'; hex++) {
        if (*hex == ' ')
            continue;
        const char digits[3] = {hex[0], hex[1], '\0'};
        out[(*len)++] = (char)strtoul(digits, NULL, 16);
        hex++;
    }
    char *exact = malloc(*len);
    memcpy(exact, out, *len);
    free(out);
    return exact;
}

static long read_copy(struct str bytes, struct proxy_header *out)
{
    char *exact = malloc(bytes.len > 0 ? bytes.len : 1);
    memcpy(exact, bytes.ptr, bytes.len);
    long len = proxy_header_read((struct str){exact, bytes.len}, out);
    free(exact);
    return len;
}

/* It is whole with its last byte, and not before; what follows is not its business. */
static void expect_good(struct str bytes, const char *ip, bool secure)
{
    struct proxy_header out;
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(read_copy((struct str){bytes.ptr, len}, &out), 0);
    assert_int_equal(read_copy(bytes, &out), (long)bytes.len);
    assert_string_equal(out.ip, ip);
    assert_int_equal(out.secure, secure);
    char more[LIMIT_PROXY_HEADER + 64];
    snprintf(more, sizeof(more), "%s", "");
    memcpy(more, bytes.ptr, bytes.len);
    memcpy(more + bytes.len, "GET / HTTP/1.1\r\n", 16);
    assert_int_equal(proxy_header_read((struct str){more, bytes.len + 16}, &out), (long)bytes.len);
    assert_string_equal(out.ip, ip);
}

static void expect_bad(struct str bytes)
{
    struct proxy_header out;
    assert_int_equal(read_copy(bytes, &out), -EPROTO);
}

static void lines_of_version_1(void **state)
{
    (void)state;
    static const struct {
        const char *line, *ip; /* ip NULL: bad */
    } cases[] = {
        {"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", "192.0.2.1"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"},
        {"PROXY TCP4 192.0.2.1 198.51.100.7 0 0\r\n", "192.0.2.1"},
        {"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", "2001:db8::1"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"PROXY TCP6 ::ffff:10.0.0.1 ::1 1 2\r\n", "10.0.0.1"},
        {"PROXY UNKNOWN\r\n", ""},
        {"PROXY UNKNOWN junk, of whatever kind: 1.2.3.4\r\n", ""},
        {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         ""}, /* 107 bytes */
        {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 655350\r\n",
         NULL}, /* 108 */
        {"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n", NULL},
        {"PROXY TCP4 192.0.2.1  198.51.100.7 56324 443\r\n", NULL},
        {"PROXY  TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n", NULL},
        {"PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 198.51.100.7 56324 \r\n", NULL},
        {"PROXY TCP4 192.0.2.1 198.51.100.7 56324 65536\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 198.51.100.7 056324 443\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 198.51.100.7 00 443\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 198.51.100.7 +1 443\r\n", NULL},
        {"PROXY TCP4 192.0.2.01 198.51.100.7 1 443\r\n", NULL},
        {"PROXY TCP4 192.0.2 198.51.100.7 1 443\r\n", NULL},
        {"PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n", NULL},
        {"PROXY TCP6 192.0.2.1 198.51.100.7 1 443\r\n", NULL},
        {"PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n", NULL},
        {"PROXY TCP5 192.0.2.1 198.51.100.7 1 443\r\n", NULL},
        {"PROXY tcp4 192.0.2.1 198.51.100.7 1 443\r\n", NULL},
        {"PROXY UDP4 192.0.2.1 198.51.100.7 1 443\r\n", NULL},
        {"proxy TCP4 192.0.2.1 198.51.100.7 1 443\r\n", NULL},
        {"PROXY\r\n", NULL},
        {"PROXY \r\n", NULL},
        {"PROXY UNKNOWNS\r\n", NULL},
        {"GET / HTTP/1.1\r\n", NULL},
        {"\r\nPROXY UNKNOWN\r\n", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (cases[i].ip != NULL)
            expect_good(str_from(cases[i].line), cases[i].ip, false);
        else
            expect_bad(str_from(cases[i].line));
    }
    char zero[] = "PROXY TCP4 192.0.2.1\0 198.51.100.7 1 443\r\n";
    expect_bad((struct str){zero, sizeof(zero) - 1});
}

#define V2     "0d0a0d0a000d0a515549540a "
#define SOURCE "c0000201 c6336407 dc04 01bb "

static void headers_of_version_2(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *ip;
        bool secure;
    } cases[] = {
        {V2 "21 11 000c " SOURCE, "192.0.2.1", false},
        {V2 "21 11 0018 " SOURCE "01 0002 6832 03 0004 d75eaea3", "192.0.2.1", false},
        {V2 "21 11 0018 " SOURCE "01 0002 6832 03 0004 d75eaea2", NULL, false},
        {V2 "21 11 0018 " SOURCE "01 0002 6833 03 0004 d75eaea3", NULL, false},
        {V2 "21 11 0012 " SOURCE "03 0003 d75eae", NULL, false},
        {V2 "21 11 0016 7f000001 7f000001 ac9a 7215 03 0004 6d9272f7 05 0000", "127.0.0.1", false},
        {V2 "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 dc0401bb",
         "2001:db8::1", false},
        {V2 "21 21 0024 00000000000000000000ffff0a000001 20010db8000000000000000000000002 dc0401bb",
         "10.0.0.1", false},
        {V2 "20 00 0000", "", false},
        {V2 "20 11 000c " SOURCE, "", false}, /* LOCAL, with bytes */
        {V2 "20 ff 0003 ffffff", "", false},  /* whatever they are */
        {V2 "21 00 0000", "", false},         /* UNSPEC */
        {V2 "21 00 0003 04 0000", "", false}, /* with a TLV */
        {V2 "21 00 0004 04 0002 00", NULL, false} /* that runs out of it */,
        {V2 "21 11 000b c0000201 c6336407 dc04 01", NULL, false},
        {V2 "21 21 000c " SOURCE, NULL, false},
        {V2 "21 31 000c " SOURCE, NULL, false},
        {V2 "21 12 000c " SOURCE, NULL, false}, /* UDP */
        {V2 "21 41 000c " SOURCE, NULL, false},
        {V2 "21 10 000c " SOURCE, NULL, false},
        {V2 "22 11 000c " SOURCE, NULL, false},
        {V2 "11 11 000c " SOURCE, NULL, false},
        {V2 "21 11 000d " SOURCE "04", NULL, false},
        {V2 "21 11 000e " SOURCE "0400", NULL, false},
        {V2 "21 11 000f " SOURCE "040001", NULL, false},
        {V2 "21 11 0010 " SOURCE "040001 00", "192.0.2.1", false},
        {V2 "21 11 0014 " SOURCE "20 0005 01 00000000", "192.0.2.1", true},
        {V2 "21 11 0014 " SOURCE "20 0005 02 00000000", "192.0.2.1", false},
        {V2 "21 11 0013 " SOURCE "20 0004 01 000000", NULL, false},
        {"0d0a0d0a000d0a515549540b 21 11 000c " SOURCE, NULL, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len;
        char *bytes = from_hex(cases[i].hex, &len);
        if (cases[i].ip != NULL)
            expect_good((struct str){bytes, len}, cases[i].ip, cases[i].secure);
        else
            expect_bad((struct str){bytes, len});
        free(bytes);
    }
}

/* One TLV that fills it. */
static struct str filled(char *bytes, size_t len)
{
    static const unsigned char start[] = {0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49,
                                          0x54, 0x0a, 0x21, 0x11, 0, 0,    192,  0,    2,    1};
    memset(bytes, 0, len);
    memcpy(bytes, start, sizeof(start));
    bytes[14] = (char)((len - 16) >> 8);
    bytes[15] = (char)(len - 16);
    bytes[28] = 4;
    bytes[29] = (char)((len - 31) >> 8);
    bytes[30] = (char)(len - 31);
    return (struct str){bytes, len};
}

static void long_ones(void **state)
{
    (void)state;
    static char bytes[20 * 1024];
    struct proxy_header out;
    struct str longest = filled(bytes, LIMIT_PROXY_HEADER);
    assert_int_equal(proxy_header_read((struct str){bytes, longest.len - 1}, &out), 0);
    assert_int_equal(proxy_header_read(longest, &out), LIMIT_PROXY_HEADER);
    filled(bytes, LIMIT_PROXY_HEADER + 1);
    expect_bad((struct str){bytes, 16}); /* it is not waited for */
    expect_bad(filled(bytes, 16 * 1024));
    memset(bytes, 'x', sizeof(bytes));
    memcpy(bytes, "PROXY UNKNOWN ", 14);
    assert_int_equal(proxy_header_read((struct str){bytes, 106}, &out), 0);
    expect_bad((struct str){bytes, 107});
    expect_bad((struct str){bytes, 16 * 1024});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_version_1),
        cmocka_unit_test(headers_of_version_2),
        cmocka_unit_test(long_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
