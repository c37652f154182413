
/*
 * Mistakes for script/lint: what each of the tools must say is in the comment
 * after the line.  A tool that does not say it proves nothing about the module.
 */


#include <stdlib.h>
#include <string.h>


int planted_uninitialised(int n);
int planted_freed(size_t n);
int planted_overrun(void);
int planted_same(int n);


int
planted_uninitialised(int n)
{
    int  value;

    if (n > 1) {
        value = n;
    }

    return value;                                       /* tidy, cppcheck */
}


int
planted_freed(size_t n)
{
    char  *p;

    p = malloc(n);
    if (p == NULL) {
        return -1;
    }

    memset(p, 1, n);
    free(p);

    return p[0];                                        /* tidy */
}


int
planted_overrun(void)
{
    char  buf[4];

    memset(buf, 0, sizeof(buf));

    return buf[4];                                      /* cppcheck */
}


int
planted_same(int n)
{
    return n < 1 || n < 1;                              /* tidy */
}
