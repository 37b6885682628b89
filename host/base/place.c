/* Where that lies which a deployment uses and is no part of it. */
#include "base/place.h"

static struct str place;

void place_set(struct str folder)
{
    place = folder;
}

struct str place_of(struct str folder)
{
    return place.len > 0 ? place : folder;
}

bool place_is_set(void)
{
    return place.len > 0;
}
