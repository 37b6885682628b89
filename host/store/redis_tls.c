#include "store/redis_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILES = 3, PIECE = 16 * 1024 };

struct redis_tls {
    SSL_CTX *context; /* owned */
    struct stat seen[FILES];
};

struct redis_session {
    SSL *ssl;      /* owned */
    BIO *in, *out; /* the ssl's */
    const char *host;
    char piece[PIECE];
};

/* ---- the files ---- */

/* What OpenSSL noted first, in a few words. */
static const char *noted(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason =
        ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
    ERR_clear_error();
    return reason != NULL ? reason : "it cannot be used";
}

static int no_password(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static int use_files(SSL_CTX *context, const struct redis_address *a, struct err *err)
{
    bool has_ca = a->ca[0] != '\0';
    if (has_ca && SSL_CTX_load_verify_locations(context, a->ca, NULL) != 1)
        return err_set(err, -EINVAL, "KV_URL: ca=%s: %s: a file of certificates in PEM is expected",
                       a->ca, noted());
    if (!has_ca && SSL_CTX_set_default_verify_paths(context) != 1)
        return err_set(err, -EINVAL, "KV_URL: the system's CAs: %s: ca=FILE names others", noted());
    if (a->cert[0] != '\0' && SSL_CTX_use_certificate_chain_file(context, a->cert) != 1)
        return err_set(err, -EINVAL, "KV_URL: cert=%s: %s: a certificate in PEM is expected",
                       a->cert, noted());
    if (a->key[0] != '\0' && (SSL_CTX_use_PrivateKey_file(context, a->key, SSL_FILETYPE_PEM) != 1 ||
                              SSL_CTX_check_private_key(context) != 1))
        return err_set(err, -EINVAL,
                       "KV_URL: key=%s: %s: the certificate's private key in PEM is expected",
                       a->key, noted());
    ERR_clear_error();
    return 0;
}

static SSL_CTX *new_context(const struct redis_address *address, struct err *err)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        SSL_CTX_free(context);
        err_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(context, no_password);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (use_files(context, address, err) == 0)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

int redis_tls_check(const struct redis_address *address, struct err *err)
{
    SSL_CTX *context = new_context(address, err);
    SSL_CTX_free(context);
    return context != NULL ? 0 : -EINVAL;
}

static void look(const struct redis_address *a, struct stat seen[FILES])
{
    const char *names[FILES] = {a->ca, a->cert, a->key};
    memset(seen, 0, FILES * sizeof(seen[0]));
    for (unsigned i = 0; i < FILES; i++) {
        if (names[i][0] != '\0' && stat(names[i], &seen[i]) != 0)
            seen[i].st_size = -1;
    }
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Where files that were replaced cannot be used, those before go on. */
static int refresh(struct redis_tls *tls, const struct redis_address *address, struct err *err)
{
    struct stat seen[FILES];
    look(address, seen);
    bool is_same = tls->context != NULL;
    for (unsigned i = 0; i < FILES; i++)
        is_same = is_same && same(&seen[i], &tls->seen[i]);
    if (is_same)
        return 0;
    SSL_CTX *context = new_context(address, err);
    if (context == NULL)
        return tls->context != NULL ? 0 : -EINVAL;
    SSL_CTX_free(tls->context);
    tls->context = context;
    memcpy(tls->seen, seen, sizeof(seen));
    return 0;
}

void redis_tls_free(struct redis_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    free(tls);
}

/* ---- a session ---- */

static bool expect_host(SSL *ssl, const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static struct redis_session *new_session(SSL_CTX *context, const char *host)
{
    struct redis_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return NULL;
    session->host = host;
    session->ssl = SSL_new(context);
    session->in = BIO_new(BIO_s_mem());
    session->out = BIO_new(BIO_s_mem());
    if (session->ssl == NULL || session->in == NULL || session->out == NULL ||
        !expect_host(session->ssl, host)) {
        SSL_free(session->ssl);
        BIO_free(session->in);
        BIO_free(session->out);
        free(session);
        return NULL;
    }
    SSL_set_bio(session->ssl, session->in, session->out);
    SSL_set_connect_state(session->ssl);
    return session;
}

struct redis_session *redis_tls_begin(struct redis_tls **tls, const struct redis_address *address,
                                      const char *host, struct err *err)
{
    if (*tls == NULL)
        *tls = calloc(1, sizeof(**tls));
    if (*tls != NULL && refresh(*tls, address, err) != 0)
        return NULL;
    struct redis_session *session = *tls != NULL ? new_session((*tls)->context, host) : NULL;
    if (session == NULL)
        err_set(err, -ENOMEM, "out of memory");
    return session;
}

void redis_tls_end(struct redis_session *session)
{
    if (session == NULL)
        return;
    SSL_free(session->ssl);
    free(session);
}

/* ---- what is wrong ---- */

static int explain_certificate(struct redis_session *session, long verdict, struct err *err)
{
    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return err_set(err, -EPROTO,
                       "TLS: its certificate is not for '%s', by which KV_URL or "
                       "Sentinel names it",
                       session->host);
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return err_set(err, -EPROTO,
                       "TLS: its certificate is signed by nobody who is trusted: "
                       "KV_URL: ca=FILE names who signs it");
    default:
        return err_set(err, -EPROTO, "TLS: its certificate: %s",
                       X509_verify_cert_error_string(verdict));
    }
}

static int explain(struct redis_session *session, struct err *err)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    long verdict = SSL_get_verify_result(session->ssl);
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verdict != X509_V_OK) {
        ERR_clear_error();
        return explain_certificate(session, verdict, err);
    }
    const char *text = noted();
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_PACKET_LENGTH_TOO_LONG)
        return err_set(err, -EPROTO, "TLS: it does not speak TLS: KV_URL: redis:// without it");
    if (reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED ||
        reason == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE)
        return err_set(err, -EPROTO, "TLS: %s: KV_URL: cert=FILE&key=FILE are shown to it", text);
    return err_set(err, -EPROTO, "TLS: %s", text);
}

/* ---- bytes ---- */

/* 0 too where it must wait for more. */
static int step(struct redis_session *session, int result, struct err *err)
{
    int error = SSL_get_error(session->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ||
        error == SSL_ERROR_ZERO_RETURN)
        return 0;
    return explain(session, err);
}

int redis_tls_take(struct redis_session *session, struct str bytes, struct buf *plain,
                   struct err *err)
{
    int got;
    ERR_clear_error();
    if (BIO_write(session->in, bytes.ptr, (int)bytes.len) != (int)bytes.len)
        return err_set(err, -ENOMEM, "out of memory");
    while ((got = SSL_read(session->ssl, session->piece, PIECE)) > 0)
        buf_add(plain, session->piece, (size_t)got);
    if (buf_failed(plain))
        return err_set(err, -ENOMEM, "out of memory");
    return step(session, got, err);
}

int redis_tls_give(struct redis_session *session, struct buf *plain, struct buf *out,
                   struct err *err)
{
    int rc = 0, count;
    ERR_clear_error();
    if (!SSL_is_init_finished(session->ssl))
        rc = step(session, SSL_do_handshake(session->ssl), err);
    for (size_t at = 0; rc == 0 && SSL_is_init_finished(session->ssl) && at < plain->len;
         at += (size_t)count) {
        size_t left = plain->len - at;
        count = SSL_write(session->ssl, plain->data + at, left < PIECE ? (int)left : PIECE);
        if (count <= 0)
            rc = explain(session, err);
    }
    if (rc == 0 && SSL_is_init_finished(session->ssl))
        buf_clear(plain);
    while ((count = BIO_read(session->out, session->piece, PIECE)) > 0)
        buf_add(out, session->piece, (size_t)count);
    return rc == 0 && buf_failed(out) ? err_set(err, -ENOMEM, "out of memory") : rc;
}
