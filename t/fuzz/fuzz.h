
/*
 * A fuzz target is one file that defines fuzz_one() and includes this header
 * last.  With libFuzzer (FUZZ_LIBFUZZER) the engine calls it; otherwise main()
 * replays the files given, or all of FUZZ_SEEDS, and prints TAP.
 */


#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_


#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define fuzz_assert(cond)                                                     \
    if (!(cond)) {                                                            \
        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);            \
        abort();                                                              \
    }


/* data: exactly len bytes of their own allocation, may be written to */
static void fuzz_one(uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t  *copy;

    copy = malloc(len ? len : 1);
    fuzz_assert(copy != NULL);

    if (len) {
        memcpy(copy, data, len);
    }

    fuzz_one(copy, len);

    free(copy);

    return 0;
}


#ifndef FUZZ_LIBFUZZER

static int
fuzz_replay(const char *name)
{
    FILE            *f;
    size_t           len;
    static uint8_t   buf[1 << 20];

    f = fopen(name, "rb");
    if (f == NULL) {
        return 0;
    }

    len = fread(buf, 1, sizeof(buf), f);
    fclose(f);

    (void) LLVMFuzzerTestOneInput(buf, len);

    return 1;
}


int
main(int argc, char **argv)
{
    int              i, n, failed, total;
    char             name[1024];
    struct dirent  **entries;

    failed = 0;
    total = 0;

    for (i = 1; i < argc; i++) {
        n = fuzz_replay(argv[i]);
        failed += !n;
        printf("%sok %d - %s\n", n ? "" : "not ", ++total, argv[i]);
    }

    if (argc == 1) {
        n = scandir(FUZZ_SEEDS, &entries, NULL, alphasort);

        for (i = 0; i < n; i++) {
            if (entries[i]->d_name[0] != '.') {
                snprintf(name, sizeof(name), "%s/%s", FUZZ_SEEDS,
                         entries[i]->d_name);

                if (fuzz_replay(name)) {
                    printf("ok %d - %s\n", ++total, name);

                } else {
                    printf("not ok %d - %s\n", ++total, name);
                    failed++;
                }
            }

            free(entries[i]);
        }

        if (n >= 0) {
            free(entries);
        }
    }

    printf("1..%d\n", total);

    return failed || total == 0;
}

#endif


#endif /* _FUZZ_H_INCLUDED_ */
