/* What every unit test includes: cmocka with the headers it wants before itself. */
#ifndef LUAFN_TESTS_UNIT_H
#define LUAFN_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
