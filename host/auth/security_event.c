/* From claims to revocations. */
#include "auth/security_event.h"

#include <math.h>
#include <string.h>

#include "auth/claims.h"
#include "auth/verify.h"

#define CAEP "https://schemas.openid.net/secevent/caep/event-type/"
#define RISC "https://schemas.openid.net/secevent/risc/event-type/"
#define SSF  "https://schemas.openid.net/secevent/ssf/event-type/"

static bool refuse(struct security_event *out, const char *err, const char *text)
{
    out->err = err;
    out->text = text;
    out->count = 0;
    return false;
}

static bool refuse_request(struct security_event *out, const char *text)
{
    return refuse(out, "invalid_request", text);
}

static struct str text_at(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return (struct str){json_string_value(value), json_string_length(value)};
}

static bool is_text(const json_t *object, const char *name)
{
    return text_at(object, name).len > 0;
}

/* Of a thing that has happened: not later than now. */
static bool read_time(const json_t *value, double now, double ahead, uint32_t *out)
{
    double time = json_number_value(value);
    if (!json_is_number(value) || !(time >= 0) || !(time <= now + ahead))
        return false;
    *out = (uint32_t)(time < now ? time : now);
    return true;
}

/* What both kinds have: `iat`, `jti` and `events`. */
static bool check_common(const json_t *claims, double now, double ahead, uint32_t *issued,
                         struct security_event *out)
{
    if (!read_time(json_object_get(claims, "iat"), now, ahead, issued))
        return refuse_request(out, "`iat` is missing, no number, or in the future");
    out->id = text_at(claims, "jti");
    if (out->id.len == 0)
        return refuse_request(out, "`jti` is missing or no text");
    if (json_object_size(json_object_get(claims, "events")) == 0)
        return refuse_request(out, "`events` is missing, empty or no object");
    return true;
}

static bool add(struct security_event *out, enum revocation_kind kind, struct str issuer,
                struct str id, uint32_t before, double now)
{
    if (out->count == LIMIT_REVOCATION_EVENTS)
        return refuse_request(out, "it asks for more than can be revoked at once");
    out->list[out->count++] = revocations_make(kind, issuer, id, before, now);
    return true;
}

/* ---- logout tokens ---- */

/* A token without `typ`, or with "JWT", may still be one (2.4); with another it says that it is
 * something else. */
static bool is_logout_type(const json_t *header)
{
    struct str typ = text_at(header, "typ");
    return json_object_get(header, "typ") == NULL || str_eq_nocase(typ, STR("JWT")) ||
           verify_type(header, NULL) == CLAIMS_LOGOUT_TOKEN;
}

static bool read_logout(const json_t *header, const json_t *claims, struct str issuer, double now,
                        double ahead, struct security_event *out)
{
    uint32_t issued;
    struct str sub = text_at(claims, "sub"), sid = text_at(claims, "sid");
    if (!is_logout_type(header))
        return refuse_request(out, "`typ` is not that of a logout token");
    if (!check_common(claims, now, ahead, &issued, out))
        return false;
    if (!json_is_object(json_object_get(json_object_get(claims, "events"), CLAIMS_LOGOUT_EVENT)))
        return refuse_request(out, "`events` has no back-channel logout that is an object");
    if (json_object_get(claims, "nonce") != NULL)
        return refuse_request(out, "a logout token has no `nonce`");
    if ((json_object_get(claims, "sub") != NULL && sub.len == 0) ||
        (json_object_get(claims, "sid") != NULL && sid.len == 0))
        return refuse_request(out, "`sub` and `sid` are texts");
    if (sub.len == 0 && sid.len == 0)
        return refuse_request(out, "`sub` or `sid` is needed");
    /* With both it is the session that ends, not all of the user's. */
    return sid.len > 0 ? add(out, REVOCATION_SID, issuer, sid, REVOCATION_ALWAYS, now)
                       : add(out, REVOCATION_SUB, issuer, sub, issued, now);
}

void security_event_read_logout(const json_t *header, const json_t *claims, struct str issuer,
                                double now, double ahead, struct security_event *out)
{
    *out = (struct security_event){.err = NULL};
    (void)!read_logout(header, claims, issuer, now, ahead, out);
}

/* ---- whom an event is about (RFC 9493) ---- */

struct reading {
    struct security_event *out;
    struct str issuer;
    uint32_t before;
    double now;
    unsigned depth;
};

static bool add_read(struct reading *r, enum revocation_kind kind, struct str id)
{
    uint32_t before = kind == REVOCATION_SUB ? r->before : REVOCATION_ALWAYS;
    return add(r->out, kind, r->issuer, id, before, r->now);
}

/* Of another issuer than who says so: nobody ends the sessions of somebody else. */
static bool check_owner(struct reading *r, const json_t *subject)
{
    return str_eq(text_at(subject, "iss"), r->issuer) ||
           refuse(r->out, "access_denied", "the subject is not one of this issuer's");
}

static bool read_subject(struct reading *r, const json_t *subject, bool is_session);

static bool read_each(struct reading *r, const json_t *list, bool is_session)
{
    size_t i;
    json_t *item;
    if (json_array_size(list) == 0)
        return refuse_request(r->out, "`identifiers` is missing, empty or no list");
    json_array_foreach(list, i, item)
    {
        if (!read_subject(r, item, is_session))
            return false;
    }
    return true;
}

/* All its members hold together. A session says most; else it is about the user, whatever more it
 * says, since a token does not tell devices and tenants: too much is revoked rather than nothing.
 */
static bool read_complex(struct reading *r, const json_t *subject)
{
    const json_t *session = json_object_get(subject, "session");
    const json_t *user = json_object_get(subject, "user");
    if (session != NULL)
        return read_subject(r, session, true);
    return user == NULL || read_subject(r, user, false);
}

/* Where neither the format nor the place says what an opaque identifier is of, it may be either. */
static bool read_opaque(struct reading *r, const json_t *subject, bool is_session)
{
    struct str id = text_at(subject, "id");
    if (id.len == 0)
        return refuse_request(r->out, "`id` of an opaque subject is missing or no text");
    return add_read(r, REVOCATION_SID, id) && (is_session || add_read(r, REVOCATION_SUB, id));
}

/* Formats that tokens do not tell (`email`, `account` ...) leave nothing to revoke. */
static bool read_subject(struct reading *r, const json_t *subject, bool is_session)
{
    struct str format = text_at(subject, "format");
    if (++r->depth > LIMIT_REVOCATION_EVENTS)
        return refuse_request(r->out, "it is about more subjects than can be read");
    if (format.len == 0)
        return refuse_request(r->out, "a subject is no object with a `format`");
    if (str_eq(format, STR("iss_sub"))) {
        if (!is_text(subject, "iss") || !is_text(subject, "sub"))
            return refuse_request(r->out, "`iss` or `sub` of a subject is missing or no text");
        return check_owner(r, subject) &&
               add_read(r, is_session ? REVOCATION_SID : REVOCATION_SUB, text_at(subject, "sub"));
    }
    if (str_eq(format, STR("jwt_id"))) {
        if (!is_text(subject, "iss") || !is_text(subject, "jti"))
            return refuse_request(r->out, "`iss` or `jti` of a subject is missing or no text");
        return check_owner(r, subject) && add_read(r, REVOCATION_JTI, text_at(subject, "jti"));
    }
    if (str_eq(format, STR("opaque")))
        return read_opaque(r, subject, is_session);
    if (str_eq(format, STR("aliases")))
        return read_each(r, json_object_get(subject, "identifiers"), is_session);
    return !str_eq(format, STR("complex")) || read_complex(r, subject);
}

/* ---- events ---- */

enum event_kind {
    EVENT_REVOKES,    /* what the subject has until then */
    EVENT_CREDENTIAL, /* the same, but for one that is new (CAEP 3.3) */
    EVENT_OF_STREAM   /* acknowledged */
};

static const struct {
    const char *type;
    enum event_kind kind;
} events[] = {
    {CAEP "session-revoked", EVENT_REVOKES},
    {CAEP "token-claims-change", EVENT_REVOKES}, /* what they say is not true any more */
    {CAEP "credential-change", EVENT_CREDENTIAL},
    {RISC "account-disabled", EVENT_REVOKES},
    {RISC "account-purged", EVENT_REVOKES},
    {RISC "credential-compromise", EVENT_REVOKES},
    {RISC "sessions-revoked", EVENT_REVOKES},
    {SSF "stream-updated", EVENT_OF_STREAM},
    {SSF "verification", EVENT_OF_STREAM},
};

static bool revokes(enum event_kind kind, const json_t *event, struct security_event *out,
                    bool *good)
{
    struct str change = text_at(event, "change_type");
    *good = kind != EVENT_CREDENTIAL || (change.len > 0 && is_text(event, "credential_type")) ||
            refuse_request(out, "`change_type` or `credential_type` of the event is missing");
    return *good &&
           (kind == EVENT_REVOKES || (kind == EVENT_CREDENTIAL && !str_eq(change, STR("create"))));
}

/* When it happened: the event's own time, else the token's (RFC 8417 2.2, CAEP 2). */
static bool read_before(const json_t *claims, const json_t *event, double ahead, struct reading *r)
{
    const json_t *time = json_object_get(event, "event_timestamp");
    if (time == NULL)
        time = json_object_get(claims, "toe");
    return time == NULL || read_time(time, r->now, ahead, &r->before) ||
           refuse_request(r->out, "the time of the event is no number, or in the future");
}

static bool read_event(const json_t *claims, const char *type, const json_t *event,
                       struct reading r, double ahead)
{
    bool good = json_is_object(event) || refuse_request(r.out, "an event is no object");
    for (size_t i = 0; good && i < sizeof(events) / sizeof(events[0]); i++) {
        if (strcmp(type, events[i].type) != 0)
            continue;
        if (!revokes(events[i].kind, event, r.out, &good) || !good)
            return good;
        return read_before(claims, event, ahead, &r) &&
               read_subject(&r, json_object_get(claims, "sub_id"), false);
    }
    return good;
}

static bool read_set(const json_t *header, const json_t *claims, struct str issuer, double now,
                     double ahead, struct security_event *out)
{
    struct reading r = {.out = out, .issuer = issuer, .now = now};
    const char *type;
    json_t *event;
    if (verify_type(header, NULL) != CLAIMS_EVENT)
        return refuse_request(out, "`typ` is not secevent+jwt");
    if (!check_common(claims, now, ahead, &r.before, out))
        return false;
    if (json_object_get(claims, "sub") != NULL)
        return refuse_request(out, "an event names its subject in `sub_id`, not in `sub`");
    if (!json_is_object(json_object_get(claims, "sub_id")))
        return refuse_request(out, "`sub_id` is missing or no object");
    json_t *all = json_object_get(claims, "events");
    json_object_foreach(all, type, event)
    {
        if (!read_event(claims, type, event, r, ahead))
            return false;
    }
    if (out->count == 0)
        out->text = "nothing that is known here by tokens";
    return true;
}

void security_event_read_set(const json_t *header, const json_t *claims, struct str issuer,
                             double now, double ahead, struct security_event *out)
{
    *out = (struct security_event){.err = NULL};
    (void)!read_set(header, claims, issuer, now, ahead, out);
}
