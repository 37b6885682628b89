/* What is known of HTTP/2 outside of its own files. */
#pragma once

#include "base/str.h"

#define H2_PREFACE STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

const char *h2_library_version(void);
