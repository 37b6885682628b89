/* The floor of a checked token: EVP_DigestVerify of an RS256 signature, 2048 bits, the key parsed.
 * Prints microseconds of processor time, with a context of its own for each and with one that is
 * copied from a prepared context. */
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 20000 };

static void need(int ok)
{
    if (ok == 1)
        return;
    fputs("verify: OpenSSL refused\n", stderr);
    exit(1);
}

static double cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

int main(void)
{
    unsigned char text[400], signature[256];
    size_t length = sizeof signature;
    EVP_PKEY *key = EVP_RSA_gen(2048);
    EVP_MD_CTX *context = EVP_MD_CTX_new(), *prepared = EVP_MD_CTX_new();

    need(key != NULL && context != NULL && prepared != NULL);
    memset(text, 'a', sizeof text);
    need(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key));
    need(EVP_DigestSign(context, signature, &length, text, sizeof text));
    need(EVP_DigestVerifyInit(prepared, NULL, EVP_sha256(), NULL, key));

    double began = cpu_us();
    for (int i = 0; i < ROUNDS; i++) {
        EVP_MD_CTX *own = EVP_MD_CTX_new();
        need(EVP_DigestVerifyInit(own, NULL, EVP_sha256(), NULL, key));
        need(EVP_DigestVerify(own, signature, length, text, sizeof text));
        EVP_MD_CTX_free(own);
    }
    double middle = cpu_us();
    for (int i = 0; i < ROUNDS; i++) {
        EVP_MD_CTX *own = EVP_MD_CTX_new();
        need(EVP_MD_CTX_copy_ex(own, prepared));
        need(EVP_DigestVerify(own, signature, length, text, sizeof text));
        EVP_MD_CTX_free(own);
    }
    double end = cpu_us();
    printf("{\"fresh\":%.2f,\"prepared\":%.2f}\n", (middle - began) / ROUNDS,
           (end - middle) / ROUNDS);
    EVP_MD_CTX_free(context);
    EVP_MD_CTX_free(prepared);
    EVP_PKEY_free(key);
    return 0;
}
