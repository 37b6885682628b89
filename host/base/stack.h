/* The C stack of the process' first thread. */
#ifndef LUAFN_BASE_STACK_H
#define LUAFN_BASE_STACK_H

/* Gives back to the system what a deep recursion has left below the caller. Another thread than the
 * first: does nothing. */
void stack_trim(void);

#endif
