/* Memory of a stack that is not in use any more. */
#include "base/stack.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    NEAR = 64 * 1024,        /* below the caller: kept, it is used again at once */
    REACH = 16 * 1024 * 1024 /* ... as far as is looked; the kernel keeps a larger gap free there */
};

void stack_trim(void)
{
    if (gettid() != getpid())
        return;
    uintptr_t here =
        (uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1);
    /* Where the stack never grew to nothing is mapped: that is said, and does not matter. */
    (void)madvise((void *)(here - REACH), REACH - NEAR, MADV_DONTNEED);
}
