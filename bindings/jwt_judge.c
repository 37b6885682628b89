/* From a token to claims in Lua: the verdict, the wait for a key that it lacks, and what map_claims
 * makes of the claims. */
#include <stdlib.h>
#include <string.h>

#include "auth/dpop.h"
#include "auth/token.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/list.h"
#include "bindings/jwt_internal.h"
#include "issuer/token_wait.h"
#include "json/dump.h"
#include "run/await.h"
#include "run/claims_table.h"
#include "run/invocation.h"
#include "lua/guard.h"
#include "lua/told.h"
#include "run/outcome.h"
#include "lua/vm.h"

/* Of one verdict, until the next: its texts, and a reference to its claims, so that Lua may raise
 * while they are in use. */
static struct arena scratch;
static struct claims *judged;

/* ---- waiting for keys ---- */

struct keys_op {
    struct op op;
    struct issuer_wait wait;
    int (*next)(lua_State *L); /* the step that judges again */
};

static void on_keys(struct issuer_wait *wait)
{
    await_op_complete(&container_of(wait, struct keys_op, wait)->op);
}

static void cancel_keys(struct op *op)
{
    struct keys_op *k = container_of(op, struct keys_op, op);
    if (k->wait.done != NULL)
        issuer_cancel(&k->wait);
}

static int finish_keys(lua_State *L, struct op *op)
{
    struct keys_op *k = container_of(op, struct keys_op, op);
    int (*next)(lua_State *) = k->next;
    lua_pop(L, 1); /* the operation */
    return next(L);
}

static const struct op_type keys_type = {
    .name = "keys", .cancel = cancel_keys, .finish = finish_keys};

static struct issuers *issuers_of(lua_State *L)
{
    return vm_of(L)->services->issuers;
}

int jwt_await_keys(lua_State *L, const struct verdict *verdict, int (*next)(lua_State *L))
{
    struct verdict lacking = *verdict;
    char kid[LIMIT_KID_BYTES];
    size_t len = verdict->kid.len < sizeof(kid) ? verdict->kid.len : sizeof(kid);
    memcpy(kid, verdict->kid.ptr != NULL ? verdict->kid.ptr : "", len);
    if (!verdict->opaque) /* it is in `scratch`; an opaque token is the caller's */
        lacking.kid = (struct str){kid, len};
    struct keys_op *k = (struct keys_op *)await_op_new(L, &keys_type, sizeof(*k));
    list_init(&k->wait.node);
    k->next = next;
    k->wait.done = on_keys;
    if (token_want(issuers_of(L), &lacking, &k->wait) != 0)
        return await(L, &k->op);
    k->wait.done = NULL;
    lua_pop(L, 1);
    return next(L);
}

uint64_t jwt_known_claims(lua_State *L, struct str token)
{
    const struct invocation *inv = invocation_of(L);
    const struct call *call = inv != NULL ? inv->call : NULL;
    bool same = call != NULL && call->claims != NULL && call->token.ptr == token.ptr &&
                call->token.len == token.len;
    return same ? call->claims->serial : 0;
}

/* ---- what is told ---- */

static struct str copy_member(const json_t *answer, const char *name)
{
    const json_t *text = json_object_get(answer, name);
    struct str copy =
        arena_copy(&scratch, (struct str){json_string_value(text), json_string_length(text)});
    return copy.ptr != NULL ? copy : STR("");
}

static void lx_tell_verdict(lua_State *L, struct hook *hook, const struct verdict *verdict)
{
    hook_text(hook);
    unsigned call = lx_told_begin(L, hook, "jwt.verify");
    struct buf *out = hook_text(hook);
    if (verdict->status == VERIFY_OK) {
        struct buf text = BUF_INIT;
        dump_json(&text, verdict->claims->json, JSON_COMPACT);
        buf_add_str(out, STR("{\"claims\":"));
        redact_add_json(hook->redact, buf_str(&text), out);
        out->failed |= buf_failed(&text);
        buf_free(&text);
    } else if (verdict->status == VERIFY_REFUSED) {
        buf_printf(out, "{\"code\":\"%s\",\"text\":", verdict->code);
        redact_add_text(hook->redact, verdict->text, LIMIT_JOURNAL_TEXT, out);
    } else {
        buf_add_str(out, STR("{\"keys\":false"));
    }
    buf_add_char(out, '}');
    told_end(hook, call);
}

/* The verdict of the record. */
static void lx_read_verdict(lua_State *L, struct hook *hook, const struct jwt_verifier *v,
                            struct verdict *verdict)
{
    hook_text(hook);
    unsigned call = lx_told_begin(L, hook, "jwt.verify");
    const json_t *answer = lx_told_recorded(L, hook, call);
    const json_t *claims = json_object_get(answer, "claims");
    hook->type->end(hook, call, STR(""));
    if (claims == NULL && json_object_get(answer, "code") == NULL) {
        *verdict = (struct verdict){.status = VERIFY_NEEDS_KEY, .verifier = v->verifiers};
        return;
    }
    *verdict = (struct verdict){.status = VERIFY_REFUSED,
                                .code = copy_member(answer, "code").ptr,
                                .text = copy_member(answer, "text"),
                                .verifier = v->verifiers};
    if (claims == NULL)
        return;
    char *text = dump_json_text(claims, JSON_COMPACT);
    judged =
        text != NULL ? claims_new(json_deep_copy(claims), str_from(text), ALG_RS256, false) : NULL;
    free(text);
    if (judged == NULL)
        luaL_error(L, "out of memory");
    verdict->status = VERIFY_OK;
    verdict->claims = judged;
    verdict->token = STR("[redacted]");
}

static void judge(lua_State *L, const struct jwt_verifier *v, struct str token, bool waited,
                  struct verdict *verdict)
{
    verify_token_again(v->verifiers, v->count, token, jwt_known_claims(L, token), clock_now(),
                       false, &scratch, verdict);
    if (verdict->status == VERIFY_NEEDS_KEY && waited && token_is_settled(issuers_of(L), verdict))
        verify_token(v->verifiers, v->count, token, clock_now(), true, &scratch, verdict);
    if (verdict->status != VERIFY_OK)
        return;
    judged = verdict->claims;
    const struct verifier *by = verdict->verifier;
    bool needs_cert = mtls_is_needed(by->mtls, verdict->claims);
    if (!needs_cert && !dpop_refuses_bearer(by->dpop.mode, verdict->claims->json))
        return;
    *verdict = (struct verdict){/* policies alone see certificates and proofs */
                                .status = VERIFY_REFUSED,
                                .code = "jwt_invalid",
                                .text = needs_cert ? STR(MTLS_NEEDED) : STR(DPOP_NEEDED)};
}

/* Told is what it comes to: a key that is still to be waited for is no verdict. */
void jwt_judge(lua_State *L, const struct jwt_verifier *v, struct str token, bool waited,
               struct verdict *verdict)
{
    struct hook *hook = told_hook(L);
    arena_reset(&scratch);
    claims_unref(judged);
    judged = NULL;
    if (hook != NULL && hook_replays(hook)) {
        lx_read_verdict(L, hook, v, verdict);
        return;
    }
    judge(L, v, token, waited, verdict);
    if (hook != NULL && (waited || verdict->status != VERIFY_NEEDS_KEY))
        lx_tell_verdict(L, hook, verdict);
}

/* ---- claims ---- */

void jwt_push_claims(lua_State *L, const struct jwt_verifier *v, const struct verdict *verdict)
{
    claims_table_push(L, verdict->claims, v->claim_namespace);
}

bool jwt_has_no_claims(lua_State *L, int status, struct str *why)
{
    if (status != LUA_OK && status != LUA_YIELD) {
        guard_caught(L, status);
        struct str text = {"", 0};
        if (lua_istable(L, -1))
            lua_getfield(L, -1, "message");
        if (lua_type(L, -1) == LUA_TSTRING)
            text.ptr = lua_tolstring(L, -1, &text.len);
        *why = outcome_without_positions(text, lua_newuserdatauv(L, text.len + 1, 0));
        return true;
    }
    *why = STR("The mapClaims function returned an empty object");
    return lua_isnil(L, -1) || (lua_islightuserdata(L, -1) && lua_touserdata(L, -1) == NULL);
}
