/* What share/audit.lua needs of the host: keys, signatures, base64url, and requests. */
#include "cli/audit_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "auth/token.h"
#include "json/dump.h"
#include "json/strict.h"
#include "lua/own_script.h"

static const char KEY[] = "luafn.audit.key";
static struct buf scratch; /* what is pushed next: nothing that raises may own memory */

static struct str check_text(lua_State *L, int index)
{
    struct str s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    return s;
}

static int push_scratch(lua_State *L)
{
    if (buf_failed(&scratch))
        return luaL_error(L, "out of memory");
    lua_pushlstring(L, scratch.len > 0 ? scratch.data : "", scratch.len);
    return 1;
}

/* Of a value that is ours to release; NULL: nil. */
static int push_json(lua_State *L, json_t *json)
{
    if (json == NULL)
        return 0;
    buf_clear(&scratch);
    dump_json(&scratch, json, JSON_COMPACT);
    json_decref(json);
    return push_scratch(L);
}

/* ---- keys ---- */

static struct key **push_key(lua_State *L)
{
    struct key **key = lua_newuserdatauv(L, sizeof(struct key *), 0);
    *key = NULL;
    luaL_setmetatable(L, KEY);
    return key;
}

static struct key *check_key(lua_State *L, int index)
{
    return *(struct key **)luaL_checkudata(L, index, KEY);
}

static int l_key_gc(lua_State *L)
{
    key_unref(check_key(L, 1));
    return 0;
}

/* (algorithm) */
static int l_new_key(lua_State *L)
{
    struct err err;
    enum alg alg = alg_parse(check_text(L, 1));
    return key_generate(alg, push_key(L), &err) == 0 ? 1 : luaL_error(L, "%s", err.text);
}

/* (bytes, algorithm); nil where they are no key for it */
static int l_secret(lua_State *L)
{
    struct str secret = check_text(L, 1), name = check_text(L, 2);
    struct key **key = push_key(L);
    int rc = key_from_secret(secret, key, NULL);
    if (rc == -ENOMEM)
        return luaL_error(L, "out of memory");
    return rc == 0 && key_fits(*key, alg_parse(name));
}

/* (key) */
static int l_pem(lua_State *L)
{
    buf_clear(&scratch);
    return key_to_public_pem(check_key(L, 1), &scratch) == 0 ? push_scratch(L) : 0;
}

/* (key): its public half as JSON */
static int l_jwk(lua_State *L)
{
    const struct key *key = check_key(L, 1);
    enum alg alg = ALG_RS256;
    while (alg < ALG_COUNT && !key_fits(key, alg))
        alg++;
    return push_json(L, alg < ALG_COUNT ? jwk_write_key(key, alg) : NULL);
}

/* ---- tokens ---- */

static int l_encode(lua_State *L)
{
    struct str bytes = check_text(L, 1);
    buf_clear(&scratch);
    base64url_encode(bytes.ptr, bytes.len, &scratch);
    return push_scratch(L);
}

static int l_decode(lua_State *L)
{
    struct str text = check_text(L, 1);
    luaL_Buffer bytes;
    size_t len;
    if (base64url_decode(text, luaL_buffinitsize(L, &bytes, BASE64URL_DECODED_MAX(text.len)),
                         &len) != 0)
        return 0;
    luaL_pushresultsize(&bytes, len);
    return 1;
}

/* (key, algorithm, header as JSON, claims as JSON) */
static int l_sign(lua_State *L)
{
    struct err err = {.text = "out of memory"};
    struct key *key = check_key(L, 1);
    enum alg alg = alg_parse(check_text(L, 2));
    struct str header_text = check_text(L, 3), claims = check_text(L, 4);
    json_t *header = strict_json_watched(header_text, 0, NULL);
    buf_clear(&scratch);
    int rc = header != NULL ? key_sign(key, alg, header, claims, &scratch, &err) : -EINVAL;
    json_decref(header);
    return rc == 0 ? push_scratch(L) : luaL_error(L, "%s", err.text);
}

/* (object, member, text): the object's text with that member */
static int l_with(lua_State *L)
{
    struct str object = check_text(L, 1), text = check_text(L, 3);
    const char *name = luaL_checkstring(L, 2);
    json_t *json = strict_json_watched(object, 0, NULL);
    if (json_object_set_new(json, name, json_stringn(text.ptr, text.len)) == 0)
        return push_json(L, json);
    json_decref(json);
    return luaL_error(L, "no claims to put %s in", name);
}

/* (object, member): a text, or nil */
static int l_member(lua_State *L)
{
    struct str object = check_text(L, 1);
    json_t *json = strict_json_watched(object, 0, NULL);
    const json_t *text = json_object_get(json, luaL_checkstring(L, 2));
    buf_clear(&scratch);
    buf_add(&scratch, json_string_value(text), json_string_length(text));
    bool found = json_is_string(text);
    json_decref(json);
    return found ? push_scratch(L) : 0;
}

/* ("sub" | "sid" | "jti", id, issuer): nil, or why it could not be done */
static int l_revoke(lua_State *L)
{
    const struct audit *a = lua_touserdata(L, lua_upvalueindex(1));
    struct err err;
    if (audit_revoke(a, check_text(L, 1), check_text(L, 2), check_text(L, 3), &err) == 0)
        return 0;
    lua_pushstring(L, err.text);
    return 1;
}

/* (seconds) */
static int l_sleep(lua_State *L)
{
    uv_sleep((unsigned)(luaL_checknumber(L, 1) * 1000));
    return 0;
}

/* (token): as JSON; nil where it is no token */
static int l_claims_of(lua_State *L)
{
    struct token token;
    if (token_parse(check_text(L, 1), &token) != 0)
        return 0;
    json_t *claims = json_incref(token.claims);
    token_clear(&token);
    return push_json(L, claims);
}

/* (token); nil where it is no token, or has none */
static int l_kid_of(lua_State *L)
{
    struct token token;
    if (token_parse(check_text(L, 1), &token) != 0)
        return 0;
    const json_t *kid = json_object_get(token.header, "kid");
    bool found = json_is_string(kid);
    buf_clear(&scratch);
    buf_add(&scratch, json_string_value(kid), json_string_length(kid));
    token_clear(&token);
    return found ? push_scratch(L) : 0;
}

/* ---- requests ---- */

/* A member of the answer's error frame, as {"error":...,"error_description":...}, or "". */
static void push_member(lua_State *L, const struct audit *a, const char *name)
{
    struct str body = buf_str(&a->answer.body);
    json_t *frame = strict_json_watched(body, 0, NULL);
    const char *text = json_string_value(json_object_get(frame, name));
    buf_clear(&scratch);
    buf_add_str(&scratch, str_from(text != NULL ? text : ""));
    json_decref(frame);
    push_scratch(L);
}

enum { HEADERS = 8 };

/* Field `n` of the list at index 3: a text is a value of Authorization, a table a name and a value.
 */
static bool take_header(lua_State *L, lua_Integer n, struct header *out)
{
    int type = lua_rawgeti(L, 3, n);
    if (type != LUA_TTABLE) {
        *out = (struct header){.name = STR("Authorization")};
        if (type == LUA_TSTRING)
            out->value = check_text(L, -1);
        return type == LUA_TSTRING;
    }
    int pair = lua_gettop(L);
    lua_rawgeti(L, pair, 1);
    lua_rawgeti(L, pair, 2);
    *out = (struct header){check_text(L, -2), check_text(L, -1)};
    return true;
}

/* (method, path, values of Authorization, or pairs, body or nil): the status, and what the answer
 * says as error and its description; 0 and the reason where there is no answer. */
static int l_send(lua_State *L)
{
    struct audit *a = lua_touserdata(L, lua_upvalueindex(1));
    struct header headers[HEADERS];
    unsigned count = 0;
    struct str method = check_text(L, 1);
    while (count < HEADERS && take_header(L, (lua_Integer)count + 1, &headers[count]))
        count++;
    lua_pushlstring(L, a->origin.ptr, a->origin.len);
    lua_pushvalue(L, 2);
    lua_concat(L, 2);
    a->probe.body = lua_isstring(L, 4) ? check_text(L, 4) : (struct str){NULL, 0};
    probe_send(&a->probe, method, check_text(L, -1), headers, count, &a->answer);
    a->probe.body = (struct str){NULL, 0};
    lua_pushinteger(L, a->answer.status);
    if (a->answer.status == 0) {
        lua_pushstring(L, a->answer.error);
        return 2;
    }
    push_member(L, a, "error");
    push_member(L, a, "error_description");
    return 3;
}

static const luaL_Reg calls[] = {
    {"claims_of", l_claims_of}, {"decode", l_decode}, {"encode", l_encode},   {"jwk", l_jwk},
    {"kid_of", l_kid_of},       {"member", l_member}, {"new_key", l_new_key}, {"pem", l_pem},
    {"revoke", l_revoke},       {"secret", l_secret}, {"send", l_send},       {"sign", l_sign},
    {"sleep", l_sleep},         {"with", l_with},     {NULL, NULL},
};

/* ---- the whole ---- */

static void set_text(lua_State *L, const char *name, struct str text)
{
    lua_pushlstring(L, text.ptr, text.len);
    lua_setfield(L, -2, name);
}

/* { name =, headers = { { name, value }, ... } }, ... */
static void push_forged(lua_State *L, const struct target *target)
{
    lua_createtable(L, (int)target->forged_count, 0);
    for (unsigned i = 0; i < target->forged_count; i++) {
        const struct headers *headers = &target->forged[i].headers;
        lua_createtable(L, 0, 2);
        set_text(L, "name", str_from(target->forged[i].name));
        lua_createtable(L, (int)headers->len, 0);
        for (uint32_t h = 0; h < headers->len; h++) {
            lua_createtable(L, 2, 0);
            lua_pushlstring(L, headers->items[h].name.ptr, headers->items[h].name.len);
            lua_rawseti(L, -2, 1);
            lua_pushlstring(L, headers->items[h].value.ptr, headers->items[h].value.len);
            lua_rawseti(L, -2, 2);
            lua_rawseti(L, -2, (lua_Integer)h + 1);
        }
        lua_setfield(L, -2, "headers");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_targets(lua_State *L, const struct audit *a)
{
    lua_createtable(L, (int)a->target_count, 0);
    for (unsigned i = 0; i < a->target_count; i++) {
        lua_createtable(L, 0, 4);
        set_text(L, "method", a->targets[i].method);
        set_text(L, "path", a->targets[i].path);
        if (a->targets[i].body.len > 0)
            set_text(L, "body", a->targets[i].body);
        lua_pushboolean(L, a->targets[i].asks);
        lua_setfield(L, -2, "asks");
        lua_pushboolean(L, a->targets[i].is_site);
        lua_setfield(L, -2, "is_site");
        if (a->targets[i].forged_count > 0) {
            push_forged(L, &a->targets[i]);
            lua_setfield(L, -2, "forged");
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_plan(lua_State *L, const struct audit *a)
{
    struct key *key = a->keys != NULL ? keyset_at(a->keys, 0) : NULL;
    struct str kid = key != NULL ? key_kid(key) : STR("");
    lua_newtable(L);
    set_text(L, "issuer", a->issuer);
    set_text(L, "audience", a->audience);
    set_text(L, "kid", kid.len > 0 ? kid : STR("k1"));
    if (a->token.ptr != NULL)
        set_text(L, "token", a->token);
    lua_pushinteger(L, (lua_Integer)time(NULL));
    lua_setfield(L, -2, "now");
    lua_pushboolean(L, isatty(STDOUT_FILENO));
    lua_setfield(L, -2, "colour");
    push_targets(L, a);
    lua_setfield(L, -2, "targets");
    if (key != NULL) {
        *push_key(L) = key_ref(key);
        lua_setfield(L, -2, "key");
    }
    lua_pushboolean(L, a->revokes);
    lua_setfield(L, -2, "revokes");
    if (a->revokes) {
        struct key **maker = push_key(L);
        *maker = audit_find_maker(a);
        *maker != NULL ? lua_setfield(L, -2, "maker") : lua_pop(L, 1);
    }
}

/* stack: the script */
static void attack(lua_State *L, void *arg)
{
    struct audit *a = arg;
    luaL_newmetatable(L, KEY);
    lua_pushcfunction(L, l_key_gc);
    lua_setfield(L, -2, "__gc");
    lua_settop(L, 1);
    luaL_newlibtable(L, calls);
    lua_pushlightuserdata(L, a);
    luaL_setfuncs(L, calls, 1);
    push_plan(L, a);
    lua_call(L, 2, 1);
    a->verdict =
        lua_isboolean(L, -1) ? (lua_toboolean(L, -1) ? EXIT_GOOD : EXIT_FAULT) : EXIT_USAGE;
}

int audit_attack(struct audit *a)
{
    struct err err;
    int rc = own_script_run("share/audit.lua", attack, a, &err);
    buf_free(&scratch);
    if (rc != 0)
        return cli_fault("%s", err.text);
    if (a->verdict == EXIT_USAGE)
        return cli_usage(a->command, "--token is no signed token, three parts with dots "
                                     "between, such as `luafn token` prints");
    return a->verdict;
}
