/* Included into every file of a coverage build: a child process that leaves by _exit writes down
 * what it ran first. */
#ifndef LUAFN_COV_H
#define LUAFN_COV_H

#include <unistd.h>

void __gcov_dump(void);

static inline _Noreturn void cov_exit(int status)
{
    __gcov_dump();
    _exit(status);
}
#define _exit cov_exit

#endif
