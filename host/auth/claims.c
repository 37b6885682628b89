/* Verified claims: their life, and what they permit. */
#include "auth/claims.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "auth/mtls.h"

const json_t *claims_at(const json_t *claims, struct str path)
{
    const json_t *found = json_object_getn(claims, path.ptr, path.len);
    for (size_t i = 0; found == NULL && i < path.len; i++) {
        const json_t *below = path.ptr[i] == '.' ? json_object_getn(claims, path.ptr, i) : NULL;
        if (json_is_object(below))
            found = claims_at(below, str_skip(path, i + 1));
    }
    return found;
}

static struct str string_of(const json_t *value)
{
    return (struct str){json_string_value(value), json_string_length(value)};
}

static double number_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

enum claims_type claims_type_of(const json_t *claims, enum claims_type type)
{
    const json_t *events = json_object_get(claims, "events");
    bool ends_session = json_object_get(events, CLAIMS_LOGOUT_EVENT) != NULL;
    return type == CLAIMS_ANY && ends_session ? CLAIMS_LOGOUT_TOKEN : type;
}

struct claims *claims_new(json_t *json, struct str text, enum alg alg, enum claims_type type)
{
    static uint64_t last_serial;
    struct claims *claims = calloc(1, sizeof(*claims) + text.len + 1);
    if (claims == NULL) {
        json_decref(json);
        return NULL;
    }
    claims->refs = 1;
    claims->serial = ++last_serial;
    claims->json = json;
    claims->text_len = (uint32_t)text.len;
    if (text.len > 0)
        memcpy(claims->text, text.ptr, text.len);
    claims->issuer = string_of(json_object_get(json, "iss"));
    claims->subject = string_of(json_object_get(json, "sub"));
    claims->expires = number_of(json_object_get(json, "exp"));
    const json_t *not_before = json_object_get(json, "nbf");
    claims->has_not_before = not_before != NULL;
    claims->not_before = number_of(not_before);
    const json_t *issued_at = json_object_get(json, "iat");
    claims->odd_issued_at = issued_at != NULL && !json_is_number(issued_at);
    claims->audience = json_object_get(json, "aud");
    claims->subject_hash = claims->subject.len > 0 ? str_hash(claims->subject) : 0;
    claims->alg = alg;
    claims->type = claims_type_of(json, type);
    claims->has_cert = mtls_is_bound(json);
    return claims;
}

struct claims *claims_ref(struct claims *claims)
{
    claims->refs++;
    return claims;
}

void claims_unref(struct claims *claims)
{
    if (claims == NULL || --claims->refs > 0)
        return;
    json_decref(claims->json);
    json_decref(claims->plain);
    free(claims->plain_namespace);
    free(claims->sheet.sheet);
    free(claims->plain_sheet.sheet);
    free(claims);
}

/* What a JSON value takes in memory, near enough for a bound: jansson does not say. */
static size_t json_bytes(const json_t *value)
{
    enum { NODE = 64, OBJECT = 256, MEMBER = 96 };
    if (json_is_string(value))
        return NODE + json_string_length(value);
    size_t sum = NODE;
    for (size_t i = 0; i < json_array_size(value); i++)
        sum += sizeof(json_t *) + json_bytes(json_array_get(value, i));
    if (!json_is_object(value))
        return sum;
    json_t *object = (json_t *)value; /* the iterators want it so; nothing is changed */
    const char *key;
    json_t *member;
    json_object_foreach(object, key, member) sum += MEMBER + strlen(key) + json_bytes(member);
    return sum + OBJECT;
}

/* Twice, for the copy without a namespace, whose values are the same, and for the sheets. */
size_t claims_bytes(const struct claims *claims)
{
    return sizeof(*claims) + claims->text_len + 2 * json_bytes(claims->json);
}

/* As the original's claimToArray: one space separates, an array's strings count as they are, and
 * anything else holds no word. */
static bool has_word(const json_t *value, struct str word)
{
    if (json_is_string(value)) {
        struct str rest = string_of(value), part;
        while (str_split_next(&rest, ' ', &part)) {
            if (str_eq(part, word))
                return true;
        }
        return false;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        if (json_is_string(item) && str_eq(string_of(item), word))
            return true;
    }
    return false;
}

bool claims_have_scope(const json_t *claims, struct str scope)
{
    static const char *const members[] = {"scope", "scp", "permissions"};
    for (size_t i = 0; scope.len > 0 && i < sizeof(members) / sizeof(members[0]); i++) {
        if (has_word(json_object_get(claims, members[i]), scope))
            return true;
    }
    return false;
}

const json_t *claims_roles(const json_t *claims, struct str path)
{
    return path.len > 0 ? claims_at(claims, path) : json_object_get(claims, "roles");
}

bool claims_have_role(const json_t *claims, struct str path, struct str role)
{
    return role.len > 0 && has_word(claims_roles(claims, path), role);
}

static bool is_equal(const json_t *a, const json_t *b)
{
    bool mixed = json_is_number(a) && json_is_number(b) && json_typeof(a) != json_typeof(b);
    return mixed ? json_number_value(a) == json_number_value(b) : json_equal(a, b);
}

static bool is_or_has(const json_t *value, const json_t *wanted)
{
    bool found = value != NULL && is_equal(value, wanted);
    for (size_t i = 0; !found && i < json_array_size(value); i++)
        found = is_equal(json_array_get(value, i), wanted);
    return found;
}

bool claims_match(const json_t *value, const json_t *wanted)
{
    bool found = !json_is_array(wanted) && is_or_has(value, wanted);
    for (size_t i = 0; !found && i < json_array_size(wanted); i++)
        found = is_or_has(value, json_array_get(wanted, i));
    return found;
}

static bool is_registered(struct str name)
{
    static const char *const names[] = {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_eq(name, str_from(names[i])))
            return true;
    }
    return false;
}

/* Adds one member under its shortened name. Members come in the token's order, so where two names
 * fall together the later one wins, as in the original. 0 or -1. */
static int set_plain(json_t *plain, const json_t *claims, struct str ns, struct str name,
                     json_t *value)
{
    size_t before = str_find_text(name, ns);
    if (before == name.len)
        return json_object_setn_nocheck(plain, name.ptr, name.len, value);
    size_t after = name.len - before - ns.len;
    char *rest = malloc(before + after + 1);
    if (rest == NULL)
        return -1;
    memcpy(rest, name.ptr, before);
    memcpy(rest + before, name.ptr + before + ns.len, after);
    bool taken = is_registered((struct str){rest, before + after}) &&
                 json_object_getn(claims, rest, before + after) != NULL;
    int rc = taken ? 0 : json_object_setn_nocheck(plain, rest, before + after, value);
    free(rest);
    return rc;
}

json_t *claims_without_namespace(struct str ns, const json_t *claims)
{
    json_t *plain = json_object();
    /* jansson's iterators want a pointer that is not const; nothing is changed through it. */
    json_t *from = (json_t *)claims;
    const char *key;
    size_t len;
    json_t *value;
    json_object_keylen_foreach(from, key, len, value)
    {
        if (plain == NULL || set_plain(plain, claims, ns, (struct str){key, len}, value) != 0) {
            json_decref(plain);
            return NULL;
        }
    }
    return plain;
}

json_t *claims_plain(struct claims *claims, struct str ns)
{
    if (ns.len == 0)
        return json_incref(claims->json);
    if (claims->plain != NULL && str_eq(str_from(claims->plain_namespace), ns))
        return json_incref(claims->plain);
    char *copy = strndup(ns.ptr, ns.len);
    json_t *plain = copy != NULL ? claims_without_namespace(ns, claims->json) : NULL;
    if (plain == NULL) {
        free(copy);
        return NULL;
    }
    json_decref(claims->plain);
    free(claims->plain_namespace);
    free(claims->plain_sheet.sheet);
    claims->plain_sheet = (struct claims_sheet){NULL, false};
    claims->plain = plain;
    claims->plain_namespace = copy;
    return json_incref(plain);
}

const struct sheet *claims_sheet(struct claims *claims, struct str ns)
{
    json_t *plain = claims_plain(claims, ns);
    if (plain == NULL)
        return NULL;
    json_decref(plain); /* the claims hold it */
    struct claims_sheet *made = plain == claims->json ? &claims->sheet : &claims->plain_sheet;
    if (!made->tried)
        *made = (struct claims_sheet){
            sheet_new(plain, claims->json, (struct str){claims->text, claims->text_len}), true};
    return made->sheet;
}
