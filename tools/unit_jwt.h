
/*
 * unit-jwt: makes, shows and verifies tokens and key sets for development and
 * tests.  The gateway itself never links any of this.
 */


#ifndef _UNIT_JWT_H_INCLUDED_
#define _UNIT_JWT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include <openssl/evp.h>


#define UNIT_JWT_OK      0
#define UNIT_JWT_FAILED  1
#define UNIT_JWT_USAGE   2


/* The commands; argv[0] is the first argument after the command's name. */
int unit_jwt_mint(int argc, char **argv);
int unit_jwt_keygen(int argc, char **argv);
int unit_jwt_jwks(int argc, char **argv);
int unit_jwt_inspect(int argc, char **argv);
int unit_jwt_verify(int argc, char **argv);

/*
 * Is argv[*i] the option "name", written "--name VALUE" or "--name=VALUE"?
 * Returns 1 with *value set and *i at the last argument used, else 0.  A
 * missing value ends the program.
 */
int unit_jwt_option(int argc, char **argv, int *i, const char *name,
    const char **value);

/* Say what is wrong (printf format) and end the program. */
void unit_jwt_die(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/* All of a file, NUL-terminated; ends the program when it cannot be read. */
char *unit_jwt_read(const char *name, size_t *len);

/* A token from the argument, or from standard input for "-" or NULL. */
char *unit_jwt_read_token(const char *arg);

/* malloc() that ends the program when there is no memory. */
void *unit_jwt_alloc(size_t len);

/* base64url without padding, NUL-terminated, malloc()ed */
char *unit_jwt_base64url(const void *p, size_t len);

/* A private key from a PEM file; ends the program when there is none. */
EVP_PKEY *unit_jwt_load_key(const char *name);

/* SubjectPublicKeyInfo of a key in PEM form, malloc()ed */
char *unit_jwt_public_pem(EVP_PKEY *key, size_t *len);


#endif /* _UNIT_JWT_H_INCLUDED_ */
