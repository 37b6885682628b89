/* Messages for people. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

int(err_set)(struct err *err, int code, const char *format, ...)
{
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return code;
}
