/* What the library's files share. */
#ifndef LUAFN_FAULT_SHIM_H
#define LUAFN_FAULT_SHIM_H

/* From here on nothing fails in this process. Safe in a signal handler. */
void shim_end(void);

#endif
