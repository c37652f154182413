
/*
 * What the tests of the token code share: RSA keys, key sets and tokens made
 * with OpenSSL alone, right and wrong ones.  Nothing here uses the code under
 * test.  All results are malloc()ed; a failure inside is an abort().
 */


#ifndef _JWT_KIT_H_INCLUDED_
#define _JWT_KIT_H_INCLUDED_


#include <stddef.h>
#include <openssl/evp.h>


/* A new RSA key; e is usually 65537. */
EVP_PKEY *kit_rsa(unsigned bits, unsigned long e);

/* Big-endian modulus and exponent. */
unsigned char *kit_modulus(EVP_PKEY *key, size_t *len);
unsigned char *kit_exponent(EVP_PKEY *key, size_t *len);

/* base64url without padding, NUL-terminated. */
char *kit_base64url(const void *p, size_t len);

/* SubjectPublicKeyInfo in PEM form. */
char *kit_pem(EVP_PKEY *key);

/*
 * A JWK; "more" are further members that start with a comma, such as
 * ",\"kid\":\"a\"".
 */
char *kit_jwk(EVP_PKEY *key, const char *more);

/* PKCS#1 v1.5 signature over digest "md", base64url. */
char *kit_sign(EVP_PKEY *key, const char *md, const char *text);

/* A token of header and payload texts, signed with RS256 whatever they say. */
char *kit_token(EVP_PKEY *key, const char *header, const char *payload);

/* The same for payloads with NUL bytes. */
char *kit_token_n(EVP_PKEY *key, const char *header, size_t hlen,
    const char *payload, size_t plen);

/* printf() into malloc()ed memory. */
char *kit_format(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* A small deterministic generator: 0 to n - 1. */
unsigned kit_random(unsigned n);


#endif /* _JWT_KIT_H_INCLUDED_ */
