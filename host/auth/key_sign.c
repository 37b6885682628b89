/* Making compact JWS (RFC 7515 section 7.1). */
#include "auth/key_internal.h"

#include <errno.h>

#include "auth/base64url.h"
#include "json/strict.h"
#include "base/limits.h"

static bool set_default(json_t *header, const char *name, json_t *value)
{
    if (json_object_get(header, name) != NULL) {
        json_decref(value);
        return true;
    }
    return json_object_set_new(header, name, value) == 0;
}

/* {alg, typ, kid} and the extra members, which may replace typ and kid. New reference or NULL. */
static json_t *header_of(const struct key *key, enum alg alg, const json_t *extra)
{
    json_t *header = json_object();
    bool ok = header != NULL &&
              json_object_set_new(header, "alg", json_string(alg_name(alg))) == 0 &&
              (extra == NULL || json_object_update(header, (json_t *)(uintptr_t)extra) == 0) &&
              set_default(header, "typ", json_string("JWT"));
    if (ok && key->kid.len > 0)
        ok = set_default(header, "kid", json_stringn(key->kid.ptr, key->kid.len));
    if (!ok) {
        json_decref(header);
        return NULL;
    }
    return header;
}

static int check_key(const struct key *key, enum alg alg, struct err *err)
{
    if (!key->can_sign)
        return err_set(err, -EINVAL, "the key is a public key; it cannot sign");
    if (key->kind == KEY_OCT && key->secret_len < alg_hash_size(alg))
        return err_set(err, -EINVAL, "the secret has %zu bytes; %s needs at least %zu",
                       key->secret_len, alg_name(alg), alg_hash_size(alg));
    if (!key_fits(key, alg))
        return err_set(err, -EINVAL, "the key cannot be used with %s",
                       alg_name(alg)[0] != '\0' ? alg_name(alg) : "this algorithm");
    return 0;
}

static int check_request(const struct key *key, enum alg alg, const json_t *extra,
                         struct str claims_json, struct err *err)
{
    const char *why = "it is not an object";
    json_t *claims;
    bool is_object;
    int rc = check_key(key, alg, err);
    if (rc != 0)
        return rc;
    if (extra != NULL && (!json_is_object(extra) || json_object_get(extra, "alg") != NULL))
        return err_set(err, -EINVAL, "the extra header must be an object without alg");
    claims = strict_json_load(claims_json, &why);
    is_object = json_is_object(claims);
    if (claims != NULL && !is_object)
        why = "it is not an object";
    json_decref(claims);
    return is_object ? 0 : err_set(err, -EINVAL, "the claims cannot be signed: %s", why);
}

static int sign_by_openssl(struct key *key, enum alg alg, const json_t *header,
                           struct str claims_json, struct buf *out)
{
    char text[LIMIT_TOKEN_BYTES]; /* json_dumps() leaves out what it has no memory for */
    size_t len = json_dumpb(header, text, sizeof(text), JSON_COMPACT), start = out->len;
    struct buf signature = BUF_INIT;
    int rc;
    if (len == 0 || len > sizeof(text))
        return len == 0 ? -ENOMEM : -EINVAL;
    base64url_encode(text, len, out);
    buf_add_char(out, '.');
    base64url_encode(claims_json.ptr, claims_json.len, out);
    rc = buf_failed(out) ? -ENOMEM
                         : key_openssl_sign(key, alg, str_skip(buf_str(out), start), &signature);
    if (rc == 0) {
        buf_add_char(out, '.');
        base64url_encode(signature.data, signature.len, out);
        rc = buf_failed(out) ? -ENOMEM : 0;
    }
    buf_free(&signature);
    return rc;
}

int key_sign_bytes(struct key *key, enum alg alg, struct str input, struct buf *out,
                   struct err *err)
{
    int rc = check_key(key, alg, err);
    if (rc != 0)
        return rc;
    rc = key_openssl_sign(key, alg, input, out);
    return rc == 0 ? 0 : err_set(err, rc, rc == -ENOMEM ? "out of memory" : "OpenSSL refused");
}

int key_sign(struct key *key, enum alg alg, const json_t *extra_header, struct str claims_json,
             struct buf *out, struct err *err)
{
    return key_sign_with(key, KEY_BACKEND_OPENSSL, alg, extra_header, claims_json, out, err);
}

int key_sign_with(struct key *key, enum key_backend backend, enum alg alg,
                  const json_t *extra_header, struct str claims_json, struct buf *out,
                  struct err *err)
{
    size_t start = out->len;
    json_t *header;
    int rc = check_request(key, alg, extra_header, claims_json, err);
    if (rc != 0)
        return rc;
    header = header_of(key, alg, extra_header);
    if (header == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    rc = backend == KEY_BACKEND_LIBJWT ? key_libjwt_sign(key, alg, header, claims_json, out)
                                       : -ENOTSUP;
    if (rc == -ENOTSUP)
        rc = sign_by_openssl(key, alg, header, claims_json, out);
    json_decref(header);
    if (rc != 0) {
        out->len = start; /* nothing half-made stays behind */
        return err_set(err, rc, rc == -ENOMEM ? "out of memory" : "the header is too long");
    }
    return 0;
}
