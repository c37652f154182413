
/* name=value arguments of the programs beside this file */


#ifndef _BENCH_OPTIONS_H_INCLUDED_
#define _BENCH_OPTIONS_H_INCLUDED_


#include <stddef.h>


typedef struct {
    const char   *name;      /* with its "="; NULL ends a table */
    size_t       *number;    /* one of these two is set */
    const char  **text;
} bench_option_t;


/* Read all arguments; ends the program when one is unknown. */
void bench_options(const bench_option_t *options, int argc, char **argv);


#endif /* _BENCH_OPTIONS_H_INCLUDED_ */
