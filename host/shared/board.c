/* The table of scheduled runs. */
#include "shared/board.h"

#include <stddef.h>
#include <sys/mman.h>

int board_init(struct schedule_board *board)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < LIMIT_SCHEDULES; i++)
        rc = shared_lock_init(&board->slots[i].running);
    return rc;
}

struct schedule_board *board_new(void)
{
    void *memory = mmap(NULL, sizeof(struct schedule_board), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct schedule_board *board = memory != MAP_FAILED ? memory : NULL;
    if (board != NULL && board_init(board) != 0) {
        board_free(board);
        return NULL;
    }
    return board;
}

void board_free(struct schedule_board *board)
{
    if (board != NULL)
        munmap(board, sizeof(*board));
}
