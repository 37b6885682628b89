/* Numbers for the versions of functions, for all workers together. */
#include "shared/generations.h"

#include <stddef.h>

int generations_init(struct generation_table *table)
{
    return shared_lock_init(&table->lock);
}

/* NULL when the table is full. */
static struct generation_row *find_row(struct generation_table *table, uint64_t name)
{
    for (unsigned i = 0; i < LIMIT_GENERATION_ROWS; i++) {
        struct generation_row *row = &table->rows[(name + i) % LIMIT_GENERATION_ROWS];
        if (row->name == 0)
            row->name = name;
        if (row->name == name)
            return row;
    }
    return NULL;
}

/* The newest number after `current` that this content has, or 0. */
static uint32_t known(const struct generation_row *row, uint64_t content, uint32_t current)
{
    for (uint32_t g = row->newest; g > current && g + GENERATIONS_KEPT > row->newest; g--) {
        if (row->content[g % GENERATIONS_KEPT] == content)
            return g;
    }
    return 0;
}

static uint32_t number(struct generation_row *row, uint64_t content, uint32_t current)
{
    uint32_t found = known(row, content, current);
    if (found != 0)
        return found;
    uint32_t next = (row->newest > current ? row->newest : current) + 1;
    row->content[next % GENERATIONS_KEPT] = content;
    row->newest = next;
    return next;
}

uint32_t generations_number(struct generation_table *table, struct str name, uint64_t content,
                            uint32_t current)
{
    if (table == NULL)
        return current + 1;
    shared_lock_take(&table->lock);
    uint64_t hash = str_hash(name);
    struct generation_row *row = find_row(table, hash != 0 ? hash : 1);
    uint32_t found = row != NULL ? number(row, content, current) : current + 1;
    shared_lock_give(&table->lock);
    return found;
}
