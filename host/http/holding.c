/* What clients have not sent or taken, counted: see holding.h. */
#include "http/holding.h"

void holdings_init(struct holdings *all, size_t limit)
{
    *all = (struct holdings){.limit = limit, .mark = limit / 4 * 3};
    list_init(&all->list);
}

void holding_init(struct holding *one)
{
    *one = (struct holding){0};
    list_init(&one->node);
}

void holding_set(struct holdings *all, struct holding *one, size_t bytes, uint64_t now)
{
    all->bytes += bytes - one->bytes;
    all->count += (size_t)(bytes > 0) - (size_t)(one->bytes > 0);
    if (bytes == 0) {
        list_remove(&one->node);
    } else if (one->bytes == 0) {
        list_push(&all->list, &one->node);
        one->moved_at = now;
    }
    one->bytes = bytes;
}

void holding_moved(struct holdings *all, struct holding *one, uint64_t now)
{
    if (one->bytes == 0)
        return;
    one->moved_at = now;
    list_remove(&one->node);
    list_push(&all->list, &one->node);
}
