
/*
 * name=value arguments, see options.h.
 */


#include <err.h>
#include <stdlib.h>
#include <string.h>
#include "options.h"


void
bench_options(const bench_option_t *options, int argc, char **argv)
{
    int                    i;
    char                  *value;
    const bench_option_t  *o;

    for (i = 1; i < argc; i++) {

        for (o = options; o->name; o++) {
            if (strncmp(argv[i], o->name, strlen(o->name)) == 0) {
                break;
            }
        }

        if (o->name == NULL) {
            errx(2, "unknown option \"%s\"", argv[i]);
        }

        value = argv[i] + strlen(o->name);

        if (o->text) {
            *o->text = value;

        } else {
            *o->number = strtoul(value, NULL, 10);
        }
    }
}
