/* Parts of multipart/form-data: what browsers and curl send, what data may look like, and all that
 * is no form. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/multipart.h"

#define HEAD "Content-Disposition: form-data; name=\"a\"\r\n\r\n"

static void boundaries(void **state)
{
    (void)state;
    static const struct {
        const char *type, *boundary; /* NULL: none */
    } cases[] = {
        {"multipart/form-data; boundary=abc", "abc"},
        {"Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"", "a b"},
        {"multipart/form-data;boundary=----WebKitFormBoundaryA1", "----WebKitFormBoundaryA1"},
        {"multipart/form-data", NULL},
        {"multipart/form-data; boundary=", NULL},
        {"multipart/form-data; boundary=\"abc", NULL},
        {"multipart/mixed; boundary=abc", NULL},
        {"text/plain; boundary=abc", NULL},
        {"multipart/form-data; boundary="
         "0123456789012345678901234567890123456789012345678901234567890123456789a",
         NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str out;
        bool found = multipart_boundary(str_from(cases[i].type), &out);
        assert_int_equal(found, cases[i].boundary != NULL);
        if (found)
            assert_true(str_eq(out, str_from(cases[i].boundary)));
    }
}

static void say(char *out, struct str s, char behind)
{
    sprintf(out + strlen(out), "%.*s%c", s.ptr != NULL ? (int)s.len : 1,
            s.ptr != NULL ? s.ptr : "-", behind);
}

/* "name|filename|type|data;" for each, "-" for what is not there; then "end", or "bad", also where
 * the end is missing. Given in pieces of `size` bytes, the first one of `first`; each lies in a
 * block of its own, so that nothing is read beyond it. */
static void describe(struct str body, size_t first, size_t size, char *out)
{
    static struct multipart_reader reader;
    enum multipart_event event = MULTIPART_MORE;
    bool open = false;
    multipart_init(&reader, STR("b"));
    out[0] = '\0';
    for (size_t at = 0, len = first; at < body.len; at += len, len = size) {
        len = len < body.len - at ? len : body.len - at;
        char *copy = malloc(len > 0 ? len : 1);
        memcpy(copy, body.ptr + at, len);
        struct str rest = {copy, len};
        while ((event = multipart_feed(&reader, &rest)) == MULTIPART_PART ||
               event == MULTIPART_DATA) {
            if (event == MULTIPART_DATA) {
                sprintf(out + strlen(out), "%.*s", STR_ARG(reader.data));
                continue;
            }
            strcat(out, open ? ";" : "");
            open = true;
            say(out, reader.part.name, '|');
            say(out, reader.part.filename, '|');
            say(out, reader.part.type, '|');
        }
        assert_true(event == MULTIPART_FAULT || rest.len == 0);
        free(copy);
        if (len == 0 && size == 0)
            break;
    }
    strcat(out, open ? ";" : "");
    strcat(out, event == MULTIPART_END ? "end" : "bad");
}

static void parts(void **state)
{
    (void)state;
    static const struct {
        const char *body, *said;
    } cases[] = {
        {"--b\r\n" HEAD "x\r\n--b--\r\n", "a|-|-|x;end"},
        {"--b\r\n" HEAD "x\r\n--b--", "a|-|-|x;end"},
        {"preamble\r\n--b\r\n" HEAD "x\r\n--b--epilogue", "a|-|-|x;end"},
        {"--b \t\r\n" HEAD "x\r\n--b \r\n" HEAD "y\r\n--b--", "a|-|-|x;a|-|-|y;end"},
        {"--b\r\n" HEAD "\r\n--b--", "a|-|-|;end"},
        {"--b\r\n" HEAD "\r\n\r\n--b--", "a|-|-|\r\n;end"},
        {"--b\r\n" HEAD "x\r\n--bc\r\n--b--", "a|-|-|x\r\n--bc;end"}, /* begins like one */
        {"--b--", "end"},
        {"--b\r\nContent-Type: text/plain\r\ncontent-disposition:form-data;filename=\"f \\\"1\\\".txt\" ; "
         "name=n\r\n\r\nx\r\n--b--",
         "n|f \\\"1\\\".txt|text/plain|x;end"},
        {"--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"C:\\d\\\"\r\n\r\nx\r\n--b--",
         "bad"}, /* the quote is escaped, so the text does not end */
        {"--b\r\nContent-Disposition: form-data; name=\"a;b=c\"; filename=\"\"\r\n\r\nx\r\n--b--",
         "a;b=c||-|x;end"},
        {"", "bad"},
        {"x", "bad"},
        {"--c\r\n" HEAD "x\r\n--c--", "bad"},
        {"--b\r\n" HEAD "x", "a|-|-|x;bad"},
        {"--b\r\n" HEAD "x\r\n--b", "a|-|-|x;bad"},
        /* what only looks like a boundary is data */
        {"--b\r\n" HEAD "\r\r\n\r\n--b \t x\r\n-\r\n--\r\n--b\r\r\n--b-\r\n--b--",
         "a|-|-|\r\r\n\r\n--b \t x\r\n-\r\n--\r\n--b\r\r\n--b-;end"},
        {"--b\r\n" HEAD "--b\r\n" HEAD "--b--", "a|-|-|;a|-|-|;end"},
        {"-b\r\n--b\r\n" HEAD "x\n--b--\r\n--b--", "a|-|-|x\n--b--;end"},
        {"--b\r\n" HEAD "x\r\n--b\r\n", "a|-|-|x;bad"},
        {"--b\r\n\r\nx\r\n--b--", "bad"},
        {"--b\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\nx\r\n--b--", "bad"},
        {"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", "bad"},
        {"--b\r\nno colon\r\n" HEAD "x\r\n--b--", "bad"},
        {"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n" HEAD "x\r\n--b--", "bad"},
        {"--b\n" HEAD "x\n--b--", "bad"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char said[512];
        struct str body = str_from(cases[i].body);
        describe(body, body.len, 1, said);
        assert_string_equal(said, cases[i].said);
        for (size_t cut = 1; cut < body.len; cut++) { /* in two, at every place */
            describe(body, cut, body.len, said);
            assert_string_equal(said, cases[i].said);
            describe(body, cut, cut, said);
            assert_string_equal(said, cases[i].said);
        }
    }
}

enum { MANY = LIMIT_FORM_FIELDS + 1 };

/* Repeats `text` `times` times and puts `end` behind it. */
static struct str repeated(const char *begin, const char *text, size_t times, const char *end)
{
    size_t len = strlen(text), at = strlen(begin);
    char *out = malloc(at + len * times + strlen(end) + 1);
    strcpy(out, begin);
    for (size_t i = 0; i < times; i++, at += len)
        memcpy(out + at, text, len + 1);
    strcpy(out + at, end);
    return (struct str){out, at + strlen(end)};
}

static void limits(void **state)
{
    (void)state;
    static struct multipart_reader r;
    const struct {
        const char *begin, *text;
        size_t times;
        const char *end;
        const struct http_fault *fault; /* NULL: a good form */
    } cases[] = {
        {"", "--b\r\n" HEAD "x\r\n", MANY - 1, "--b--", NULL},
        {"", "--b\r\n" HEAD "x\r\n", MANY, "--b--", &multipart_too_many},
        {"--b\r\nContent-Disposition: form-data; name=\"", "n", LIMIT_FORM_PART_HEAD / 2,
         "\"\r\n\r\nx\r\n--b--", NULL},
        {"--b\r\nContent-Disposition: form-data; name=\"", "n", 1 << 20, "\"\r\n\r\nx\r\n--b--",
         &multipart_long_head},
        {"--b\r\n", "X-Field: y\r\n", 1000, "\r\nx\r\n--b--", &multipart_long_head},
        {"--b\r\n" HEAD "x\r\n--b", " ", MULTIPART_PADDING_MAX, "\r\n" HEAD "x\r\n--b--", NULL},
        {"--b\r\n\r\n", "x", 1, "\r\n--b--", &multipart_bad_part},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str body = repeated(cases[i].begin, cases[i].text, cases[i].times, cases[i].end);
        enum multipart_event event;
        struct str rest = body;
        multipart_init(&r, STR("b"));
        while ((event = multipart_feed(&r, &rest)) == MULTIPART_PART || event == MULTIPART_DATA)
            ;
        assert_int_equal(event, cases[i].fault != NULL ? MULTIPART_FAULT : MULTIPART_END);
        assert_ptr_equal(r.fault, cases[i].fault);
        assert_int_equal(multipart_feed(&r, &rest), event); /* and it stays so */
        free((char *)(uintptr_t)body.ptr);
    }
}

/* Data in a piece of its own is given as it lies there: not copied, and not cut. */
static void data_in_place(void **state)
{
    (void)state;
    static struct multipart_reader r;
    static const char boundary[] =
        "0123456789012345678901234567890123456789012345678901234567890123456789";
    char head[256], end[256];
    sprintf(head, "--%s\r\n%s", boundary, HEAD);
    sprintf(end, "\r\n--%s--", boundary);
    struct str pieces[] = {str_from(head), STR("anything\r\n at all"), str_from(end)};
    multipart_init(&r, str_from(boundary));
    assert_int_equal(multipart_feed(&r, &pieces[0]), MULTIPART_PART);
    assert_int_equal(multipart_feed(&r, &pieces[0]), MULTIPART_MORE);
    struct str whole = pieces[1];
    assert_int_equal(multipart_feed(&r, &pieces[1]), MULTIPART_DATA);
    assert_ptr_equal(r.data.ptr, whole.ptr);
    assert_int_equal(r.data.len, whole.len);
    assert_int_equal(multipart_feed(&r, &pieces[1]), MULTIPART_MORE);
    assert_int_equal(multipart_feed(&r, &pieces[2]), MULTIPART_END);
}

/* Cut anywhere before its end, a form is no form. */
static void none_that_is_cut(void **state)
{
    (void)state;
    static const char whole[] = "--b\r\n" HEAD "x\r\n--b\r\n" HEAD "y\r\n--b--";
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        char said[512];
        describe((struct str){whole, len}, len, 1, said);
        assert_non_null(strstr(said, "bad"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boundaries),       cmocka_unit_test(parts),
        cmocka_unit_test(limits),           cmocka_unit_test(data_in_place),
        cmocka_unit_test(none_that_is_cut),
    };
    return cmocka_run_group_tests_name("http_multipart", tests, NULL, NULL);
}
