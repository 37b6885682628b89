/* Any bytes as a token: parsed, judged by a verifier with a secret, shown in texts. What holds for
 * every input is asserted; a good verdict is possible for a token that the secret signed, which a
 * fuzzer does not find. */
#include <errno.h>
#include <stdlib.h>

#include "auth/token_cache.h"
#include "auth/shown.h"
#include "auth/token.h"
#include "auth/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct key_source source;
static struct verifier verifier;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void set_up(void)
{
    static struct str audience = {"a", 1};
    struct key *key;
    require(key_generate(ALG_HS256, &key, NULL) == 0);
    struct keyset *set = keyset_of(key);
    require(set != NULL);
    keyset_source_init(&source);
    keyset_source_set(&source, set);
    keyset_unref(set);
    key_unref(key);
    verify_setup(&verifier);
    verifier.issuer = STR("i");
    verifier.audiences = &audience;
    verifier.audience_count = 1;
    verifier.algorithms = ALG_BIT(ALG_HS256);
    verifier.keys = &source;
}

static void parse(struct str text)
{
    struct token token;
    struct shown shown;
    int rc = token_parse(text, &token);
    require(rc == 0 || rc == -EINVAL);
    if (rc != 0)
        return;
    require(json_is_object(token.claims) && !json_is_null(token.header));
    require(token.signing_input.ptr == text.ptr && token.signing_input.len < text.len);
    require(str_is_utf8(shown_value(&shown, token.header)));
    require(str_is_utf8(shown_audience(&shown, json_object_get(token.claims, "aud"))));
    json_t *plain = claims_without_namespace(STR("n"), token.claims);
    require(plain != NULL);
    json_decref(plain);
    token_clear(&token);
}

static void judge(struct str text)
{
    struct arena arena;
    struct verdict verdict;
    arena_init(&arena);
    verify_token(&verifier, 1, text, 1700000000, true, &arena, &verdict);
    require(verdict.status == VERIFY_REFUSED && verdict.claims == NULL && verdict.code != NULL);
    require(verdict.text.len < 512 && str_is_utf8(verdict.text));
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, token;
    struct verdict verdict;
    if (verifier.keys == NULL)
        set_up();
    parse(text);
    judge(text);
    if (verify_read_header(&text, &token, &verdict) == 0)
        judge(token);
    return 0;
}
