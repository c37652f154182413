
/*
 * unit-jwt: the command line, "inspect" and what all commands share.
 */


#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "unit_jwt.h"
#include "ngx_http_unit_crypto.h"


#define UNIT_JWT_MAX_FILE  (4 * 1024 * 1024)


typedef struct {
    const char  *name;
    int        (*run)(int argc, char **argv);
} unit_jwt_command_t;


static char *unit_jwt_read_all(FILE *file, const char *name, size_t *len);
static void unit_jwt_show(const char *what, const char *part, size_t len);
static void unit_jwt_show_raw(const u_char *p, size_t len);


static unit_jwt_command_t  unit_jwt_commands[] = {
    { "mint", unit_jwt_mint },
    { "keygen", unit_jwt_keygen },
    { "jwks", unit_jwt_jwks },
    { "inspect", unit_jwt_inspect },
    { "verify", unit_jwt_verify },
    { NULL, NULL }
};


static const char  unit_jwt_usage[] =
"usage: unit-jwt COMMAND ...\n"
"\n"
"  mint --key FILE [--kid K] [--alg A] [--secret S]\n"
"       [--claim k=v]... [--json-claim k=JSON]... [--without k]...\n"
"       [--json-header k=JSON]... [--raw-header TEXT] [--raw-payload TEXT]\n"
"      print a token; A is RS256 (default), RS384, RS512, PS256, PS384,\n"
"      PS512, HS256, HS384, HS512 or none.  HS* are keyed with S, else with\n"
"      the PEM text of the public key.  Raw texts are signed as they are.\n"
"  keygen --out FILE --jwks FILE [--kid K] [--bits N] [--force]\n"
"      make a private key and its key set\n"
"  jwks (--key FILE [--kid K])...\n"
"      print the key set of private keys\n"
"  inspect [TOKEN|-]\n"
"      show header and claims; verifies nothing\n"
"  verify --jwks FILE [--iss I] [--aud A] [--leeway SECONDS] [TOKEN|-]\n"
"      verify with the gateway's code and with libjwt; 0 when both accept\n";


int
main(int argc, char **argv)
{
    unit_jwt_command_t  *command;

    if (argc < 2) {
        fputs(unit_jwt_usage, stderr);
        return UNIT_JWT_USAGE;
    }

    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(unit_jwt_usage, stdout);
        return UNIT_JWT_OK;
    }

    for (command = unit_jwt_commands; command->name != NULL; command++) {

        if (strcmp(argv[1], command->name) == 0) {
            return command->run(argc - 2, argv + 2);
        }
    }

    fputs(unit_jwt_usage, stderr);

    return UNIT_JWT_USAGE;
}


int
unit_jwt_inspect(int argc, char **argv)
{
    char  *token, *payload, *signature;

    if (argc > 1) {
        unit_jwt_die(UNIT_JWT_USAGE, "inspect takes one token");
    }

    token = unit_jwt_read_token(argc ? argv[0] : NULL);

    printf("*** NOT VERIFIED: anybody can have written what follows ***\n");

    payload = strchr(token, '.');
    signature = payload ? strchr(payload + 1, '.') : NULL;

    if (signature == NULL || strchr(signature + 1, '.') != NULL) {
        printf("not a compact token: it has not exactly three parts\n");
        free(token);
        return UNIT_JWT_FAILED;
    }

    unit_jwt_show("header", token, payload - token);
    unit_jwt_show("claims", payload + 1, signature - payload - 1);

    printf("signature: %zu characters, NOT VERIFIED\n",
           strlen(signature + 1));

    free(token);

    return UNIT_JWT_OK;
}


static void
unit_jwt_show(const char *what, const char *part, size_t len)
{
    char          *text;
    json_t        *json;
    u_char        *p;
    ssize_t        n;
    json_error_t   error;

    p = unit_jwt_alloc(3 * (len + 3) / 4);

    n = ngx_http_unit_base64url_decode(p, (const u_char *) part, len);

    if (n < 0) {
        printf("%s: not canonical base64url\n", what);
        free(p);
        return;
    }

    json = json_loadb((char *) p, n, JSON_REJECT_DUPLICATES|JSON_DECODE_ANY,
                      &error);
    if (json == NULL) {
        printf("%s: not strict JSON (%s): ", what, error.text);
        unit_jwt_show_raw(p, n);
        free(p);
        return;
    }

    /* ASCII alone: a token must not be able to play with the terminal */

    text = json_dumps(json, JSON_INDENT(2)|JSON_ENSURE_ASCII|JSON_ENCODE_ANY);

    printf("%s: %s\n", what, text ? text : "");

    free(text);
    json_decref(json);
    free(p);
}


static void
unit_jwt_show_raw(const u_char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {

        if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\') {
            putchar(p[i]);

        } else {
            printf("\\x%02x", p[i]);
        }
    }

    putchar('\n');
}


int
unit_jwt_option(int argc, char **argv, int *i, const char *name,
    const char **value)
{
    size_t  len;

    len = strlen(name);

    if (strncmp(argv[*i], name, len) != 0) {
        return 0;
    }

    if (argv[*i][len] == '=') {
        *value = argv[*i] + len + 1;
        return 1;
    }

    if (argv[*i][len] != '\0') {
        return 0;
    }

    if (*i + 1 >= argc) {
        unit_jwt_die(UNIT_JWT_USAGE, "%s needs a value", name);
    }

    *value = argv[++*i];

    return 1;
}


void
unit_jwt_die(int status, const char *fmt, ...)
{
    va_list  args;

    fputs("unit-jwt: ", stderr);

    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);

    fputc('\n', stderr);

    exit(status);
}


char *
unit_jwt_read(const char *name, size_t *len)
{
    FILE  *file;
    char  *data;

    file = fopen(name, "rb");
    if (file == NULL) {
        unit_jwt_die(UNIT_JWT_FAILED, "cannot read \"%s\": %s", name,
                     strerror(errno));
    }

    data = unit_jwt_read_all(file, name, len);

    fclose(file);

    return data;
}


char *
unit_jwt_read_token(const char *arg)
{
    char    *token;
    size_t   len;

    if (arg != NULL && strcmp(arg, "-") != 0) {
        len = strlen(arg);
        token = unit_jwt_alloc(len + 1);
        memcpy(token, arg, len + 1);
        return token;
    }

    token = unit_jwt_read_all(stdin, "standard input", &len);

    if (len != 0 && token[len - 1] == '\n') {
        token[--len] = '\0';
    }

    if (strlen(token) != len) {
        unit_jwt_die(UNIT_JWT_FAILED, "the token has NUL bytes");
    }

    return token;
}


static char *
unit_jwt_read_all(FILE *file, const char *name, size_t *len)
{
    char    *data;
    size_t   n;

    data = unit_jwt_alloc(UNIT_JWT_MAX_FILE + 1);

    n = fread(data, 1, UNIT_JWT_MAX_FILE + 1, file);

    if (ferror(file) || n > UNIT_JWT_MAX_FILE) {
        unit_jwt_die(UNIT_JWT_FAILED, "cannot read %s, or it is too large",
                     name);
    }

    data[n] = '\0';
    *len = n;

    return data;
}


void *
unit_jwt_alloc(size_t len)
{
    void  *p;

    p = malloc(len ? len : 1);
    if (p == NULL) {
        unit_jwt_die(UNIT_JWT_FAILED, "no memory");
    }

    return p;
}


char *
unit_jwt_base64url(const void *p, size_t len)
{
    char    *s;
    size_t   n;

    s = unit_jwt_alloc((4 * len + 2) / 3 + 1);

    n = ngx_http_unit_base64url_encode((u_char *) s, p, len);
    s[n] = '\0';

    return s;
}
