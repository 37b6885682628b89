/* The small synchronous modules. */
#include "unit.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "bindings/bindings.h"
#include "bindings/json.h"
#include "http/exchange.h"
#include "run/invocation.h"
#include "run/task.h"
#include "lua/vm.h"

/* ---- a state with the modules, and a host that knows three variables ---- */

static const char *const variables[][2] = {
    {"TV_API_URL", "https://api.tvmaze.com/shows"}, {"TV_KEY", "k"}, {"SECRET", "s"}};

static const char *on_getenv(void *arg, const char *name)
{
    (void)arg;
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(variables[i][0], name) == 0)
            return variables[i][1];
    }
    return NULL;
}

static void on_each_env(void *arg, void (*fn)(void *, const char *, const char *), void *fn_arg)
{
    (void)arg;
    for (size_t i = 0; i < 3; i++)
        fn(fn_arg, variables[i][0], variables[i][1]);
}

static const struct services services = {.getenv = on_getenv, .each_env = on_each_env};
static struct vm vm;
static lua_State *L;

static const struct binding modules[] = {
    {"base64", open_base64}, {"crypto", open_crypto}, {"env", open_env},   {"json", open_json},
    {"jwt", open_jwt},       {"log", open_log},       {"time", open_time}, {"url", open_url},
};

static int set_up(void **state)
{
    (void)state;
    vm = (struct vm){.services = &services};
    L = luaL_newstate();
    if (L == NULL)
        return -1;
    *(struct vm **)lua_getextraspace(L) = &vm;
    luaL_openlibs(L);
    for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
        lua_pushcfunction(L, modules[i].open);
        lua_call(L, 0, 1);
        lua_setglobal(L, modules[i].name);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lua_close(L);
    buf_free(json_scratch());
    return 0;
}

static void run(const char *code)
{
    lua_settop(L, 0);
    if (luaL_dostring(L, code) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

/* The code must raise with this text in the message. */
static void refuse(const char *code, const char *message)
{
    lua_settop(L, 0);
    if (luaL_dostring(L, code) == LUA_OK)
        fail_msg("%s: no error", code);
    if (strstr(lua_tostring(L, -1), message) == NULL)
        fail_msg("%s: %s", code, lua_tostring(L, -1));
}

/* ---- modules ---- */

static void test_base64(void **state)
{
    (void)state;
    run("local plain = {'', 'f', 'fo', 'foo', 'foob', 'fooba', 'foobar', '\\0\\xff\\xfe'}\n"
        "local text = {'', 'Zg==', 'Zm8=', 'Zm9v', 'Zm9vYg==', 'Zm9vYmE=', 'Zm9vYmFy', 'AP/+'}\n"
        "for i = 1, #plain do\n"
        "  local url = text[i]:gsub('=', ''):gsub('/', '_'):gsub('+', '-')\n"
        "  assert(base64.encode(plain[i]) == text[i])\n"
        "  assert(base64.decode(text[i]) == plain[i])\n"
        "  assert(base64.decode((text[i]:gsub('=', ''))) == plain[i])\n"
        "  assert(base64.encode_url(plain[i]) == url and base64.decode_url(url) == plain[i])\n"
        "end\n"
        "local all = {} for i = 0, 255 do all[#all + 1] = string.char(i) end all = table.concat(all)\n"
        "for i = 0, 256 do assert(base64.decode(base64.encode(all:sub(1, i))) == all:sub(1, i)) end\n");
    static const char *const bad[] = {"Z", "Zh==", "Zm9=", "Zm 9v", "Zm9v=",    "Zg=",
                                      "=", "====", "Zg-_", "Zm9\n", "Zg==Zg==", "\xff\xff\xff\xff"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        lua_pushstring(L, bad[i]);
        lua_setglobal(L, "text");
        run("local v, err = base64.decode(text) assert(v == nil and err:find('base64'), text)");
    }
    run("assert(base64.decode('Zg-_') == nil and base64.decode_url('Zg-_'))\n"
        "assert(select(2, base64.decode('Zm9v!m9v')) == 'invalid base64 at byte 5')\n"
        "assert(base64.decode_url('Zg==') == nil and base64.decode_url('Zg') == 'f')\n");
    refuse("base64.encode()", "string expected");
    refuse("base64.decode({})", "string expected");
}

static void test_crypto(void **state)
{
    (void)state;
    run("local empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'\n"
        "assert(crypto.sha256('') == empty)\n"
        "assert(crypto.sha256('', 'base64') == '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=')\n"
        "assert(crypto.sha256('', 'base64url') == '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU')\n"
        "assert(#crypto.sha256('', 'raw') == 32)\n"
        /* RFC 4231 test case 2; RFC 2202 test case 2 */
        "local key, text = 'Jefe', 'what do ya want for nothing?'\n"
        "assert(crypto.hmac('sha256', key, text) ==\n"
        "  '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843')\n"
        "assert(crypto.hmac('sha384', key, text):sub(1, 16) == 'af45d2e376484031')\n"
        "assert(crypto.hmac('sha512', key, text):sub(1, 16) == '164b7a7bfcf819e2')\n"
        "assert(crypto.hmac('sha1', key, text) == 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79')\n"
        "assert(#crypto.hmac('sha256', '', '') == 64)\n"
        /* FIPS 180-4's example "abc"; RFC 5869 A.1 */
        "assert(crypto.sha1('abc') == 'a9993e364706816aba3e25717850c26c9cd0d89d')\n"
        "assert(crypto.sha384('abc'):sub(1, 16) == 'cb00753f45a35e8b')\n"
        "assert(crypto.sha512('abc', 'raw'):byte(1) == 0xdd)\n"
        "local ikm, salt = ('\\x0b'):rep(22), '\\0\\1\\2\\3\\4\\5\\6\\7\\8\\9\\10\\11\\12'\n"
        "local okm = crypto.hkdf('sha256', ikm, salt, '\\xf0\\xf1\\xf2\\xf3\\xf4\\xf5\\xf6\\xf7\\xf8\\xf9', 42)\n"
        "assert(#okm == 42 and okm:sub(1, 4) == '\\x3c\\xb2\\x5f\\x25' and okm:sub(-2) == '\\x58\\x65')\n"
        "assert(crypto.equals('abc', 'abc') and crypto.equals('', ''))\n"
        "assert(not crypto.equals('abc', 'abd') and not crypto.equals('abc', 'abcd'))\n"
        "assert(#crypto.random(0) == 0 and #crypto.random(65536) == 65536)\n"
        "assert(crypto.random(16) ~= crypto.random(16))\n"
        "local seen = {}\n"
        "for i = 1, 100 do\n"
        "  local id = crypto.uuid()\n"
        "  assert(id:match('^%x+%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$') and #id == 36, id)\n"
        "  assert(not seen[id]) seen[id] = true\n"
        "end\n");
    refuse("crypto.random(65537)", "must be 0 to 65536 bytes");
    refuse("crypto.random(-1)", "must be 0 to 65536 bytes");
    refuse("crypto.hmac('md5', 'k', 's')", "invalid option 'md5'");
    refuse("crypto.sha256('', 'octal')", "invalid option 'octal'");
    refuse("crypto.equals('a')", "string expected");
    refuse("crypto.hkdf('sha256', '', '', '', 32)", "an empty key");
    refuse("crypto.hkdf('sha256', 'k', '', '', 0)", "length: 1 to 1024 expected");
    refuse("crypto.scrypt('a', 'b')", "cannot be waited for here");
    refuse("crypto.scrypt('a', 'b', { n = 1000 })", "n: a power of two above 1 expected");
    refuse("crypto.scrypt('a', 'b', { n = 1 << 23, r = 8 })", "n * r * p: at most 16777216");
    refuse("crypto.scrypt('a', 'b', { N = 2 })", "N: unknown key; did you mean `n`?");
    refuse("crypto.pbkdf2('sha256', 'a', 'b', 0, 1)", "iterations: 1 to 5000000 expected");
}

static void test_sealed(void **state)
{
    (void)state;
    run("local key, other = ('k'):rep(32), ('K'):rep(32)\n"
        "for _, text in ipairs { '', 'a', ('x'):rep(100000) } do\n"
        "  local sealed = crypto.encrypt(key, text)\n"
        "  assert(#sealed == #text + 28 and sealed ~= crypto.encrypt(key, text))\n"
        "  assert(crypto.decrypt(key, sealed) == text)\n"
        "  local none, why = crypto.decrypt(other, sealed)\n"
        "  assert(none == nil and why == 'another key, or the text was changed')\n"
        "  for _, at in ipairs { 1, 12, #sealed - 15, #sealed } do\n"
        "    local bad = sealed:sub(1, at - 1) .. string.char(sealed:byte(at) ~ 1) .. sealed:sub(at + 1)\n"
        "    assert(crypto.decrypt(key, bad) == nil)\n"
        "  end\n"
        "  assert(crypto.decrypt(key, sealed:sub(1, -2)) == nil)\n"
        "end\n"
        "assert(select(2, crypto.decrypt(key, ('x'):rep(27))):find('too short'))\n");
    refuse("crypto.encrypt('short', '')", "a key of 32 bytes expected");
    refuse("crypto.sign('HS256', 'k', 't')", "shared secrets are crypto.hmac's");
    run("local none, why = crypto.sign('RS256', 'no pem', 't')\n"
        "assert(none == nil and #why > 0)\n"
        "assert(crypto.verify('RS256', 'no pem', 't', 's') == nil)\n");
}

static void test_time(void **state)
{
    (void)state;
    run("assert(math.abs(time.now() - os.time()) < 2)\n"
        "local a = time.monotonic() assert(time.monotonic() >= a)\n"
        "assert(time.iso(0) == '1970-01-01T00:00:00.000Z')\n"
        "assert(time.iso(1767323045.678) == '2026-01-02T03:04:05.678Z')\n"
        "assert(time.iso(1595000000.75) == '2020-07-17T15:33:20.750Z')\n"
        "assert(time.iso(-0.5) == '1969-12-31T23:59:59.500Z')\n"
        "assert(time.iso(253402300799) == '9999-12-31T23:59:59.000Z')\n"
        "assert(time.iso(-62167219200) == '0000-01-01T00:00:00.000Z')\n"
        "assert(time.iso():match('^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$'))\n"
        "assert(time.http(784111777) == 'Sun, 06 Nov 1994 08:49:37 GMT')\n"
        "assert(#time.http() == 29)\n");
    static const struct {
        const char *text, *seconds;
    } cases[] = {
        {"1970-01-01T00:00:00Z", "0"},
        {"2026-01-02T03:04:05.678Z", "1767323045.678"},
        {"2026-01-02t03:04:05z", "1767323045"},
        {"2026-01-02 04:34:05+01:30", "1767323045"},
        {"2026-01-01T22:04:05-05:00", "1767323045"},
        {"2026-01-02", "1767312000"},
        {"2024-02-29", "1709164800"},
        {"2000-02-29", "951782400"},
        {"1969-12-31T23:59:59.5Z", "-0.5"},
        {"2026-01-02T03:04:05.6789999999999999999999Z", "1767323045.679"},
        {"2026-01-02T03:04:05", "nil"},
        {"2026-01-02T03:04Z", "nil"},
        {"2026-01-02T03:04:05.Z", "nil"},
        {"2026-01-02T03:04:05Zx", "nil"},
        {"2026-01-02T03:04:05+0130", "nil"},
        {"2026-01-02T24:00:00Z", "nil"},
        {"2026-01-02T03:60:00Z", "nil"},
        {"2026-01-02T03:04:60Z", "nil"},
        {"2026-13-01", "nil"},
        {"2026-00-01", "nil"},
        {"2026-01-32", "nil"},
        {"2026-01-00", "nil"},
        {"2025-02-29", "nil"},
        {"1900-02-29", "nil"},
        {"26-01-01", "nil"},
        {"2026-1-1", "nil"},
        {"", "nil"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char code[256];
        snprintf(code, sizeof(code),
                 "local t, err = time.parse('%s') local want = %s\n"
                 "assert(t == want or t and math.abs(t - want) < 1e-6, tostring(t))\n"
                 "assert((t == nil) == (err == 'not a time like 2026-01-02T03:04:05Z'))",
                 cases[i].text, cases[i].seconds);
        run(code);
    }
    refuse("time.iso(0/0)", "not a time between the years 0 and 9999");
    refuse("time.iso(1e20)", "not a time between the years 0 and 9999");
    refuse("time.http(-1e20)", "not a time between the years 0 and 9999");
    refuse("time.iso('x')", "number expected");
}

static void test_url_escapes(void **state)
{
    (void)state;
    run("assert(url.encode('a b&c=d/\xc3\xa4~-._') == 'a%20b%26c%3Dd%2F%C3%A4~-._')\n"
        "assert(url.decode('a%20b%26%c3%A4+') == 'a b&\xc3\xa4+')\n"
        "assert(url.decode(url.encode('\\0\\xff%')) == '\\0\\xff%')\n"
        "for _, bad in ipairs{'abc%', 'abc%2', 'abc%zz', 'abc%2x'} do\n"
        "  local v, err = url.decode(bad)\n"
        "  assert(v == nil and err == \"'%' without two hexadecimal digits at byte 4\", err)\n"
        "end\n");
    run("assert(url.query{} == '')\n"
        "assert(url.query{b='x y', a=1, c={'p', 2.0, true}, ['d&']=2.5, e={}} ==\n"
        "  'a=1&b=x%20y&c=p&c=2&c=true&d%26=2.5')\n"
        "local last, all = url.parse_query('?a=1&b=x+y%20z&a=2&c&=e&d==&%zz=1&&')\n"
        "assert(last.a == '2' and last.b == 'x y z' and last.c == '' and last[''] == 'e')\n"
        "assert(last.d == '=' and last['%zz'] == '1')\n"
        "assert(#all.a == 2 and all.a[1] == '1' and all.a[2] == '2' and #all.c == 1)\n"
        "assert(next((url.parse_query(''))) == nil and next((url.parse_query('?'))) == nil)\n");
    refuse("url.query{1}", "names must be strings");
    refuse("url.query{a=print}", "cannot encode a function as a value of 'a'");
    refuse("url.query{a={{}}}", "cannot encode a table as a value of 'a'");
    refuse("url.query('x')", "table expected");
}

static void test_url_parse(void **state)
{
    (void)state;
    static const struct {
        const char *url, *parts; /* as json.encode with sorted keys gives them */
    } cases[] = {
        {"https://api.example/shows?page=1#top",
         "{'fragment':'top','host':'api.example','path':'/shows','query':'page=1',"
         "'scheme':'https'}"},
        {"HTTP://User:Pass@Example.COM:8080",
         "{'host':'example.com','path':'/','port':8080,'scheme':'http','user':'User:Pass'}"},
        {"http://[::1]:80/", "{'host':'[::1]','path':'/','port':80,'scheme':'http'}"},
        {"http://h:/p", "{'host':'h','path':'/p','scheme':'http'}"},
        {"http://h?q", "{'host':'h','path':'/','query':'q','scheme':'http'}"},
        {"http://h/?#", "{'host':'h','path':'/','query':'','scheme':'http'}"},
        {"http://h/a b/../c#d", "{'fragment':'d','host':'h','path':'/c','scheme':'http'}"},
        {"http://:p@h/", "{'host':'h','path':'/','scheme':'http','user':':p'}"},
        {"/a/b?c=d", "{'path':'/a/b','query':'c=d'}"},
        {"//h/p", "{'host':'h','path':'/p'}"},
        {"mailto:a@b.example", "{'path':'a@b.example','scheme':'mailto'}"},
        {"ftp://user@h:21/x", "{'host':'h','path':'/x','port':21,'scheme':'ftp','user':'user'}"},
        {"a/b:c", "{'path':'a/b:c'}"},
        {"", "{'path':''}"},
        /* what fetch would ask, however it is written */
        {"http:/127.0.0.1:1/", "{'host':'127.0.0.1','path':'/','port':1,'scheme':'http'}"},
        {"http:///127.0.0.1/", "{'host':'127.0.0.1','path':'/','scheme':'http'}"},
        {"http://%3127.0.0.1/", "{'host':'127.0.0.1','path':'/','scheme':'http'}"},
        {"http://%31%32%37.1/", "{'host':'127.0.0.1','path':'/','scheme':'http'}"},
        {"http://127.1/", "{'host':'127.0.0.1','path':'/','scheme':'http'}"},
        {"http://2130706433/", "{'host':'127.0.0.1','path':'/','scheme':'http'}"},
        {"http://0x7f.1/", "{'host':'127.0.0.1','path':'/','scheme':'http'}"},
        {"http://B\xc3\xbc"
         "cher.EXAMPLE./",
         "{'host':'xn--bcher-kva.example','path':'/','scheme':'http'}"},
        {"http://[::FFFF:127.0.0.1]/", "{'host':'[::ffff:127.0.0.1]','path':'/','scheme':'http'}"},
        {"http://%2531.0.0.1/", "URL is not valid: Bad hostname"},
        {"http://[::1%25eth0]/", "URL has no usable host"},
        {"http://a@b@c/", "URL is not valid: Bad hostname"},
        {"http://user@/p", "URL is not valid: No host part in the URL"},
        {"http://h:65536/",
         "URL is not valid: Port number was not a decimal number between 0 and 65535"},
        {"http://h:8x/",
         "URL is not valid: Port number was not a decimal number between 0 and 65535"},
        {"http://[::1/", "URL is not valid: Bad IPv6 address"},
        {"http://[::1]x/",
         "URL is not valid: Port number was not a decimal number between 0 and 65535"},
        {"http://h/\\r\\n", "URL is not valid: Bad path"},
        {"ftp://[::1/", "a '[' without ']' in the host"},
        {"//h/a b", "white space and control characters must be percent-encoded"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char code[512];
        snprintf(code, sizeof(code),
                 "local v, err = url.parse(\"%s\")\n"
                 "local got = v and json.encode(v, {sort_keys=true}):gsub('\"', \"'\") or err\n"
                 "assert(got == \"%s\", got)",
                 cases[i].url, cases[i].parts);
        run(code);
    }
    refuse("url.parse(nil)", "string expected");
}

/* ---- env ---- */

static void test_env(void **state)
{
    (void)state;
    run("assert(env.TV_API_URL == 'https://api.tvmaze.com/shows' and env.SECRET == 's')\n"
        "assert(env.MISSING == nil and env[1] == nil and env['SECRET\\0'] == nil)\n"
        "local n = 0 for name, value in pairs(env) do n = n + 1 assert(env[name] == value) end\n"
        "assert(n == 3)\n"
        "assert(getmetatable(env) == false)\n");
    refuse("env.SECRET = 'x'", "env is read-only");

    struct str globs[] = {STR("TV_*"), STR("OTHER")};
    const struct function_spec spec = {
        .name = STR("shows"), .env = globs, .env_count = 2, .env_declared = true};
    vm.spec = &spec;
    run("assert(env.TV_API_URL and env.TV_KEY == 'k' and env.SECRET == nil)\n"
        "local n = 0 for name in pairs(env) do n = n + 1 assert(name:find('^TV_')) end\n"
        "assert(n == 2)\n");
    vm.spec = NULL;

    vm.services = NULL;
    run("assert(env.SECRET == nil) for _ in pairs(env) do error('empty') end");
}

/* ---- log ---- */

/* Runs the code with stderr in a file, and leaves what was written there in `text`. */
static void capture(const char *code, char *text, size_t size)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    dup2(fileno(file), STDERR_FILENO);
    lua_settop(L, 0);
    int status = luaL_dostring(L, code);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
    if (status != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

/* A request under way, as far as log lines look at it. */
static struct exchange exchange = {.request_id = "r-1", .generation = 3};
static struct invocation invocation;
static struct task task;

static void start_request(void)
{
    static const struct function_spec spec = {.name = {"me", 2}};
    invocation = (struct invocation){.ex = &exchange};
    task = (struct task){.invocation = &invocation};
    vm.spec = &spec;
    vm.task = &task;
}

static void test_log_lines(void **state)
{
    (void)state;
    static const struct {
        const char *code, *part; /* part NULL: nothing is written */
    } cases[] = {
        {"log.info('hello')",
         "\"level\":\"info\",\"msg\":\"hello\",\"function\":\"me\",\"generation\":3,"
         "\"request_id\":\"r-1\"}\n"},
        {"log.warn('w', {a={1, 2}})",
         "\"level\":\"warn\",\"msg\":\"w\",\"function\":\"me\",\"generation\":3,"
         "\"request_id\":\"r-1\",\"fields\":{\"a\":[1,2]}}\n"},
        {"log.error(nil)", "\"msg\":\"nil\""},
        {"log.error(12.5)", "\"msg\":\"12.5\""},
        {"log.info('a\\nb\"\\0\\xff')", "\"msg\":\"a\\nb\\\"?\xef\xbf\xbd\""},
        {"log.info('x', {f=print})", "\"fields\":\"cannot encode a function at .f\""},
        {"log.info('x', {s=('y'):rep(9000)})", "\"fields\":\"9008 bytes of fields are too many\""},
        {"log.info(('\xc3\xa4'):rep(9000))", "\xc3\xa4...\",\"function\""},
        {"log.debug('quiet')", NULL},
        {"log.info('x', nil)",
         "\"msg\":\"x\",\"function\":\"me\",\"generation\":3,\"request_id\":\"r-1\"}\n"},
    };
    start_request();
    char text[32 * 1024];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        capture(cases[i].code, text, sizeof(text));
        if (cases[i].part == NULL ? text[0] != '\0' : strstr(text, cases[i].part) == NULL)
            fail_msg("%s: %.300s", cases[i].code, text);
    }
    refuse("log.info()", "value expected");
    refuse("log.info('x', 5)", "table expected");
}

static void test_log_outside(void **state)
{
    (void)state;
    char text[1024];
    capture("log.info('loading')", text, sizeof(text));
    assert_non_null(strstr(text, "\"msg\":\"loading\"}\n"));
}

static void test_log_allowance(void **state)
{
    (void)state;
    start_request();
    static char text[256 * 1024];
    capture("for i = 1, 100 do log.info(('x'):rep(1023)) end", text, sizeof(text));
    unsigned lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    assert_int_equal(lines, 65); /* 64 of 1 KB, and the notice */
    assert_non_null(strstr(text, "this request has logged too much"));
    start_request();
    capture("log.info('again')", text, sizeof(text));
    assert_non_null(strstr(text, "again"));
}

/* What people read: a script cannot forge a line of its own or move the cursor. */
static void test_log_text(void **state)
{
    (void)state;
    char text[4096];
    log_setup(LOG_FORMAT_TEXT, LOG_INFO);
    capture("log.info('one\\nerror two\\x1b[2J\\tx', {a=1})", text, sizeof(text));
    log_setup(LOG_FORMAT_JSON, LOG_INFO);
    assert_true(strlen(text) > 13 && text[2] == ':' && text[8] == '.'); /* the time comes first */
    assert_string_equal(text + 12, " info  one\n      error two?[2J\tx fields={\"a\":1}\n");
}

/* ---- the list of modules ---- */

/* The list is sorted, and complete for the modules that need nothing of the host. */
static void test_list(void **state)
{
    (void)state;
    size_t found = 0;
    for (size_t i = 0; bindings[i].name != NULL; i++) {
        if (i > 0)
            assert_true(strcmp(bindings[i - 1].name, bindings[i].name) < 0);
        for (size_t k = 0; k < sizeof(modules) / sizeof(modules[0]); k++)
            found += strcmp(modules[k].name, bindings[i].name) == 0 &&
                     modules[k].open == bindings[i].open;
    }
    assert_int_equal(found, sizeof(modules) / sizeof(modules[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_base64, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_crypto, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sealed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_url_escapes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_url_parse, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_env, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log_outside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log_allowance, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log_text, set_up, tear_down),
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
