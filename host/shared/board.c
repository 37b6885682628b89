/* The table of scheduled runs. */
#include "shared/board.h"

#include <stddef.h>
#include <sys/mman.h>

struct schedule_board *board_new(void)
{
    void *memory = mmap(NULL, sizeof(struct schedule_board), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

void board_free(struct schedule_board *board)
{
    if (board != NULL)
        munmap(board, sizeof(*board));
}
