/* TLS over memory: see tls.h. */
#include "server/tls.h"

#include <errno.h>
#include <openssl/buffer.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"

/* Mozilla's "intermediate" list, for TLS 1.2 and 1.3, in its order. Ours counts, as AES-128 with
 * SHA-256 spares both sides much of a handshake, but with a client that has no AES of its processor
 * and so names ChaCha20 first. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:+AES256:+CHACHA20"
#define SUITES  "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

enum {
    KEEP_BYTES = 32 * 1024,
    /* Each takes a twentieth of a handshake. Who speaks HTTP/2 needs no second connection, and who
     * has several keeps the last ticket, or gets one with each. */
    TICKETS = 1
};

struct pair {
    struct tls_files files; /* borrowed */
    SSL_CTX *context;       /* owned */
    struct buf cert, key;   /* what it was made from; owned */
    struct stat seen[2];    /* of the files as last read */
};

struct tls {
    struct str client_ca; /* PEM, borrowed; empty: clients are not asked */
    unsigned count;
    struct pair pairs[];
};

struct tls_session {
    SSL *ssl;
    BIO *in, *out;       /* the ssl's */
    unsigned char *cert; /* OpenSSL's: the client's, once it was asked for; NULL: none */
    int cert_len;
    bool cert_known;
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

static struct pair *find_pair(struct tls *tls, const char *name, unsigned flags)
{
    for (unsigned i = 0; i < tls->count; i++) {
        X509 *cert = SSL_CTX_get0_certificate(tls->pairs[i].context);
        if (X509_check_host(cert, name, 0, flags | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1)
            return &tls->pairs[i];
    }
    return NULL;
}

/* Server name indication (RFC 6066 section 3): the handshake goes on with that host's pair. */
static int on_name(SSL *ssl, int *alert, void *arg)
{
    struct tls *tls = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    if (tls->count == 1 || name == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    struct pair *pair = find_pair(tls, name, X509_CHECK_FLAG_NO_WILDCARDS);
    if (pair == NULL)
        pair = find_pair(tls, name, 0);
    ERR_clear_error();
    if (pair == NULL || SSL_set_SSL_CTX(ssl, pair->context) == NULL)
        return SSL_TLSEXT_ERR_NOACK;
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

/* ---- certificates of clients ---- */

/* Calls back with each; how many there are, or -1 with OpenSSL's reason noted. */
static int each_ca(struct str pem, bool (*take)(X509 *cert, void *arg), void *arg)
{
    BIO *in = BIO_new_mem_buf(pem.len > 0 ? pem.ptr : "", (int)pem.len);
    int count = 0;
    X509 *cert;
    bool good = in != NULL;
    while (good && (cert = PEM_read_bio_X509(in, NULL, no_password, NULL)) != NULL) {
        good = take(cert, arg);
        count++;
        X509_free(cert);
    }
    bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    BIO_free(in);
    if (!good || !end || count == 0)
        return -1;
    ERR_clear_error();
    return count;
}

static bool add_ca(X509 *cert, void *arg)
{
    SSL_CTX *context = arg;
    return X509_STORE_add_cert(SSL_CTX_get_cert_store(context), cert) == 1 &&
           SSL_CTX_add_client_CA(context, cert) == 1;
}

/* Whatever is wrong with it the handshake goes on: the policies are asked, and answer in words. */
static int on_client_cert(int good, X509_STORE_CTX *store)
{
    (void)good;
    (void)store;
    return 1;
}

static bool ask_for_certs(SSL_CTX *context, struct str pem)
{
    if (pem.len == 0)
        return true;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, on_client_cert);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
    return each_ca(pem, add_ca, context) > 0;
}

static bool count_ca(X509 *cert, void *arg)
{
    (void)cert;
    (void)arg;
    return true;
}

static SSL_CTX *new_context(struct tls *tls)
{
    static const unsigned char name[] = "luafn";
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL)
        return NULL;
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets need none */
    SSL_CTX_set_default_passwd_cb(context, no_password);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(context, on_name);
    SSL_CTX_set_tlsext_servername_arg(context, tls);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(context, CIPHERS) == 1 &&
        SSL_CTX_set_ciphersuites(context, SUITES) == 1 &&
        SSL_CTX_set_num_tickets(context, TICKETS) == 1 &&
        SSL_CTX_set_session_id_context(context, name, sizeof(name) - 1) == 1 &&
        set_ticket_keys(context) && ask_for_certs(context, tls->client_ca))
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

/* The certificate comes first, then what it was signed with. */
static bool use_chain(SSL_CTX *context, struct str pem)
{
    BIO *in = BIO_new_mem_buf(pem.len > 0 ? pem.ptr : "", (int)pem.len);
    X509 *cert = in != NULL ? PEM_read_bio_X509_AUX(in, NULL, no_password, NULL) : NULL;
    bool good = cert != NULL && SSL_CTX_use_certificate(context, cert) == 1;
    X509_free(cert);
    while (good && (cert = PEM_read_bio_X509(in, NULL, no_password, NULL)) != NULL) {
        good = SSL_CTX_add0_chain_cert(context, cert) == 1;
        if (!good)
            X509_free(cert);
    }
    bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (good && end)
        ERR_clear_error();
    BIO_free(in);
    return good && end;
}

static bool use_key(SSL_CTX *context, struct str pem)
{
    BIO *in = BIO_new_mem_buf(pem.len > 0 ? pem.ptr : "", (int)pem.len);
    EVP_PKEY *key = in != NULL ? PEM_read_bio_PrivateKey(in, NULL, no_password, NULL) : NULL;
    bool good = key != NULL && SSL_CTX_use_PrivateKey(context, key) == 1 &&
                SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(key);
    BIO_free(in);
    return good;
}

static SSL_CTX *context_of(struct tls *tls, const struct tls_files *files, struct tls_pem pem,
                           struct err *err)
{
    ERR_clear_error();
    SSL_CTX *context = new_context(tls);
    if (context == NULL)
        explain(err, "TLS", "context");
    else if (!use_chain(context, pem.cert))
        explain(err, files->cert, "certificate");
    else if (!use_key(context, pem.key))
        explain(err, files->key, "private key");
    else
        return context;
    SSL_CTX_free(context);
    return NULL;
}

int tls_check_ca(const char *file, struct str pem, struct err *err)
{
    ERR_clear_error();
    return each_ca(pem, count_ca, NULL) > 0 ? 0 : explain(err, file, "certificate");
}

static int read_pem(const char *path, struct buf *out, struct err *err)
{
    int rc = file_read_all(path, 0, LIMIT_PEM_BYTES, out);
    if (rc == -EFBIG)
        return err_set(err, rc, "%s: is larger than %d bytes", path, LIMIT_PEM_BYTES);
    return rc != 0 ? err_set(err, rc, "%s: %s", path, strerror(-rc)) : 0;
}

/* Takes these texts over, if they are good; else they are gone. */
static bool take(struct tls *tls, struct pair *pair, struct buf *cert, struct buf *key,
                 struct err *err)
{
    const struct tls_pem pem = {buf_str(cert), buf_str(key)};
    SSL_CTX *context = context_of(tls, &pair->files, pem, err);
    if (context == NULL) {
        buf_free(cert);
        buf_free(key);
        return false;
    }
    SSL_CTX_free(pair->context);
    buf_free(&pair->cert);
    buf_free(&pair->key);
    pair->context = context;
    pair->cert = *cert;
    pair->key = *key;
    return true;
}

static bool load(struct tls *tls, struct pair *pair, struct err *err)
{
    struct buf cert = BUF_INIT, key = BUF_INIT;
    if (read_pem(pair->files.cert, &cert, err) == 0 && read_pem(pair->files.key, &key, err) == 0)
        return take(tls, pair, &cert, &key, err);
    buf_free(&cert);
    buf_free(&key);
    return false;
}

static bool load_earlier(struct tls *tls, struct pair *pair, const struct tls_pem *earlier)
{
    struct buf cert = BUF_INIT, key = BUF_INIT;
    buf_add_str(&cert, earlier->cert);
    buf_add_str(&key, earlier->key);
    return take(tls, pair, &cert, &key, NULL);
}

static void look(const struct tls_files *files, struct stat seen[2])
{
    memset(seen, 0, 2 * sizeof(seen[0]));
    if (stat(files->cert, &seen[0]) != 0)
        seen[0].st_size = -1;
    if (stat(files->key, &seen[1]) != 0)
        seen[1].st_size = -1;
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool begin(struct tls *tls, struct pair *pair, const struct tls_pem *earlier,
                  struct err *err)
{
    look(&pair->files, pair->seen);
    if (load(tls, pair, err))
        return true;
    if (earlier == NULL || !load_earlier(tls, pair, earlier))
        return false;
    log_message(LOG_ERROR, "the certificate does not load, the one before serves: %s", err->text);
    return true;
}

struct tls *tls_new(const struct tls_files *files, unsigned count, const struct tls_pem *earlier,
                    unsigned earlier_count, struct str client_ca, struct err *err)
{
    struct tls *tls = calloc(1, sizeof(*tls) + count * sizeof(tls->pairs[0]));
    if (tls == NULL) {
        err_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    tls->client_ca = client_ca;
    tls->count = count;
    for (unsigned i = 0; i < count; i++) {
        tls->pairs[i].files = files[i];
        if (!begin(tls, &tls->pairs[i], i < earlier_count ? &earlier[i] : NULL, err)) {
            tls_free(tls);
            return NULL;
        }
    }
    return tls;
}

unsigned tls_count(const struct tls *tls)
{
    return tls != NULL ? tls->count : 0;
}

struct tls_pem tls_pem(const struct tls *tls, unsigned i)
{
    return (struct tls_pem){buf_str(&tls->pairs[i].cert), buf_str(&tls->pairs[i].key)};
}

void tls_free(struct tls *tls)
{
    for (unsigned i = 0; i < tls_count(tls); i++) {
        SSL_CTX_free(tls->pairs[i].context);
        buf_free(&tls->pairs[i].cert);
        buf_free(&tls->pairs[i].key);
    }
    free(tls);
}

static bool refresh(struct tls *tls, struct pair *pair)
{
    struct stat now[2];
    struct err err;
    look(&pair->files, now);
    if (same(&now[0], &pair->seen[0]) && same(&now[1], &pair->seen[1]))
        return false;
    memcpy(pair->seen, now, sizeof(now));
    if (!load(tls, pair, &err)) {
        log_message(LOG_ERROR, "the new certificate does not load, the old one serves: %s",
                    err.text);
        return false;
    }
    log_message(LOG_INFO, "certificate loaded anew: %s", pair->files.cert);
    return true;
}

bool tls_refresh(struct tls *tls)
{
    bool another = false;
    for (unsigned i = 0; i < tls->count; i++)
        another |= refresh(tls, &tls->pairs[i]);
    return another;
}

/* ---- one connection ---- */

struct tls_session *tls_session_new(struct tls *tls)
{
    struct tls_session *s = calloc(1, sizeof(*s));
    SSL *ssl = SSL_new(tls->pairs[0].context);
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
    *s = (struct tls_session){.ssl = ssl, .in = in, .out = out};
    return s;
}

void tls_session_free(struct tls_session *s)
{
    if (s == NULL)
        return;
    SSL_free(s->ssl);
    OPENSSL_free(s->cert);
    free(s);
}

bool tls_is_open(const struct tls_session *s)
{
    return SSL_is_init_finished(s->ssl) != 0;
}

struct str tls_client_cert(struct tls_session *s)
{
    if (!s->cert_known) {
        X509 *cert = SSL_get0_peer_certificate(s->ssl);
        bool good = cert != NULL && SSL_get_verify_result(s->ssl) == X509_V_OK;
        s->cert_len = good ? i2d_X509(cert, &s->cert) : 0;
        s->cert_known = true;
    }
    return (struct str){(const char *)s->cert, s->cert_len > 0 ? (size_t)s->cert_len : 0};
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
    if (tls_is_open(s) && (SSL_get_shutdown(s->ssl) & SSL_SENT_SHUTDOWN) == 0)
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
