/* The C stack of the process' first thread. */
#pragma once

/* Gives back to the system what a deep recursion has left below the caller. Another thread than the
 * first: does nothing. */
void stack_trim(void);
