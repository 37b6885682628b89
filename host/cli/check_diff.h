/* Who may call what in one deployment and not in another, as a table for a review. */
#pragma once

#include "app/deployment.h"

enum { EXIT_GAINED = 3 };

/* Prints it. Both have their routes. EXIT_GOOD; EXIT_GAINED where somebody may call now what he
 * could not `before`, unless `allow`; EXIT_FAULT. */
int check_diff(const struct deployment *before, const struct deployment *now, bool allow);
