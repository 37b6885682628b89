/* Parts of multipart/form-data: what browsers and curl send, what data may look like, and all that
 * is no form. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>

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

/* "name|filename|type|data;" for each, "-" for what is not there; then "end" or "bad". */
static void describe(struct str body, struct str boundary, char *out)
{
    struct multipart_part part;
    struct str rest;
    int more = multipart_begin(body, boundary, &rest) ? 1 : -EINVAL;
    out[0] = '\0';
    while (more > 0 && (more = multipart_next(&rest, boundary, &part)) > 0) {
        const struct str fields[] = {part.name, part.filename, part.type, part.data};
        for (size_t i = 0; i < 4; i++)
            sprintf(out + strlen(out), "%.*s%c", fields[i].ptr != NULL ? (int)fields[i].len : 1,
                    fields[i].ptr != NULL ? fields[i].ptr : "-", i < 3 ? '|' : ';');
    }
    strcat(out, more == 0 ? "end" : "bad");
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
        {"--b\r\n" HEAD "x", "bad"},
        {"--b\r\n" HEAD "x\r\n--b", "bad"},
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
        describe(str_from(cases[i].body), STR("b"), said);
        assert_string_equal(said, cases[i].said);
    }
}

/* Cut anywhere before its end, a form is no form. */
static void none_that_is_cut(void **state)
{
    (void)state;
    static const char whole[] = "--b\r\n" HEAD "x\r\n--b\r\n" HEAD "y\r\n--b--";
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        char said[512];
        describe((struct str){whole, len}, STR("b"), said);
        assert_non_null(strstr(said, "bad"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boundaries),
        cmocka_unit_test(parts),
        cmocka_unit_test(none_that_is_cut),
    };
    return cmocka_run_group_tests_name("http_multipart", tests, NULL, NULL);
}
