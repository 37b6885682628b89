/* TLS over memory: see tls.h. */
#include "server/tls.h"

#include <errno.h>
#include <openssl/buffer.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"

/* Mozilla's "intermediate" list for TLS 1.2; what 1.3 has is all good. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

enum { KEEP_BYTES = 32 * 1024 };

struct tls {
    const char *cert_file, *key_file; /* borrowed */
    SSL_CTX *context;                 /* owned */
    struct stat seen[2];              /* of the files as last read */
};

struct tls_session {
    SSL *ssl;
    BIO *in, *out; /* the ssl's */
};

/* ---- the certificate ---- */

static int no_password(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* The client's offer is in its order of preference, but what we prefer counts. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *offer, unsigned int offer_len, void *arg)
{
    static const unsigned char protocols[] = "\x02h2\x08http/1.1";
    (void)ssl;
    (void)arg;
    unsigned char *picked;
    if (SSL_select_next_proto(&picked, out_len, protocols, sizeof(protocols) - 1, offer,
                              offer_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = picked;
    return SSL_TLSEXT_ERR_OK;
}

static bool set_ticket_keys(SSL_CTX *context)
{
    static unsigned char keys[80];
    static bool made;
    if (!made && RAND_bytes(keys, sizeof(keys)) != 1)
        return false;
    made = true;
    return SSL_CTX_set_tlsext_ticket_keys(context, keys, sizeof(keys)) == 1;
}

static SSL_CTX *new_context(void)
{
    static const unsigned char name[] = "luafn";
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL)
        return NULL;
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets need none */
    SSL_CTX_set_default_passwd_cb(context, no_password);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(context, CIPHERS) == 1 &&
        SSL_CTX_set_session_id_context(context, name, sizeof(name) - 1) == 1 &&
        set_ticket_keys(context))
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* What OpenSSL noted first, in a few words. */
static int explain(struct err *err, const char *file, const char *what)
{
    unsigned long code = ERR_peek_error();
    const char *reason =
        ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
    ERR_clear_error();
    if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE)
        return err_set(err, -EINVAL, "%s: holds no %s in PEM", file, what);
    return err_set(err, -EINVAL, "%s: %s", file, reason != NULL ? reason : "cannot be used");
}

static SSL_CTX *load(const struct tls *tls, struct err *err)
{
    ERR_clear_error();
    SSL_CTX *context = new_context();
    if (context == NULL)
        explain(err, "TLS", "context");
    else if (SSL_CTX_use_certificate_chain_file(context, tls->cert_file) != 1)
        explain(err, tls->cert_file, "certificate");
    else if (SSL_CTX_use_PrivateKey_file(context, tls->key_file, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(context) != 1)
        explain(err, tls->key_file, "private key");
    else
        return context;
    SSL_CTX_free(context);
    return NULL;
}

static void look(const struct tls *tls, struct stat seen[2])
{
    memset(seen, 0, 2 * sizeof(seen[0]));
    if (stat(tls->cert_file, &seen[0]) != 0)
        seen[0].st_size = -1;
    if (stat(tls->key_file, &seen[1]) != 0)
        seen[1].st_size = -1;
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

struct tls *tls_new(const char *cert_file, const char *key_file, struct err *err)
{
    struct tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL) {
        err_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    tls->cert_file = cert_file;
    tls->key_file = key_file;
    look(tls, tls->seen);
    tls->context = load(tls, err);
    if (tls->context != NULL)
        return tls;
    free(tls);
    return NULL;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    free(tls);
}

void tls_refresh(struct tls *tls)
{
    struct stat now[2];
    look(tls, now);
    if (same(&now[0], &tls->seen[0]) && same(&now[1], &tls->seen[1]))
        return;
    memcpy(tls->seen, now, sizeof(now));
    struct err err;
    SSL_CTX *context = load(tls, &err);
    if (context == NULL) {
        log_message(LOG_ERROR, "the new certificate does not load, the old one serves: %s",
                    err.text);
        return;
    }
    SSL_CTX_free(tls->context);
    tls->context = context;
    log_message(LOG_INFO, "certificate loaded anew");
}

/* ---- one connection ---- */

struct tls_session *tls_session_new(struct tls *tls)
{
    struct tls_session *s = calloc(1, sizeof(*s));
    SSL *ssl = SSL_new(tls->context);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    if (s == NULL || ssl == NULL || in == NULL || out == NULL) {
        free(s);
        SSL_free(ssl);
        BIO_free(in);
        BIO_free(out);
        return NULL;
    }
    SSL_set_bio(ssl, in, out);
    SSL_set_accept_state(ssl);
    *s = (struct tls_session){ssl, in, out};
    return s;
}

void tls_session_free(struct tls_session *s)
{
    if (s == NULL)
        return;
    SSL_free(s->ssl);
    free(s);
}

bool tls_is_open(const struct tls_session *s)
{
    return SSL_is_init_finished(s->ssl) != 0;
}

bool tls_wants_h2(const struct tls_session *s)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(s->ssl, &name, &len);
    return len == 2 && memcmp(name, "h2", 2) == 0;
}

int tls_feed(struct tls_session *s, struct str bytes)
{
    size_t written = 0;
    if (bytes.len == 0)
        return 0;
    return BIO_write_ex(s->in, bytes.ptr, bytes.len, &written) == 1 && written == bytes.len
               ? 0
               : -ENOMEM;
}

long tls_read(struct tls_session *s, char *out, size_t size)
{
    size_t count = 0;
    ERR_clear_error();
    int rc = SSL_read_ex(s->ssl, out, size, &count);
    if (rc == 1)
        return (long)count;
    int error = SSL_get_error(s->ssl, rc);
    ERR_clear_error();
    if (error == SSL_ERROR_WANT_READ)
        return 0;
    return error == SSL_ERROR_ZERO_RETURN ? -ECONNRESET : -EPROTO;
}

int tls_write(struct tls_session *s, struct str bytes)
{
    size_t written = 0;
    if (bytes.len == 0)
        return 0;
    ERR_clear_error();
    if (SSL_write_ex(s->ssl, bytes.ptr, bytes.len, &written) == 1 && written == bytes.len)
        return 0;
    ERR_clear_error();
    return -EPROTO;
}

void tls_close(struct tls_session *s)
{
    if (tls_is_open(s))
        (void)!SSL_shutdown(s->ssl);
    ERR_clear_error();
}

struct str tls_outgoing(struct tls_session *s)
{
    char *data = NULL;
    long len = BIO_get_mem_data(s->out, &data);
    return (struct str){data, len > 0 ? (size_t)len : 0};
}

/* An idle connection keeps no large buffers; and a reset clears a buffer's whole size. */
static bool renew(BIO *bio)
{
    BUF_MEM *now = NULL;
    BIO_get_mem_ptr(bio, &now);
    BUF_MEM *fresh = now != NULL && now->max > KEEP_BYTES ? BUF_MEM_new() : NULL;
    if (fresh != NULL)
        BIO_set_mem_buf(bio, fresh, BIO_CLOSE);
    return fresh != NULL;
}

void tls_sent(struct tls_session *s)
{
    if (!renew(s->out) && BIO_pending(s->out) > 0)
        (void)!BIO_reset(s->out);
    if (BIO_pending(s->in) == 0)
        renew(s->in);
}
