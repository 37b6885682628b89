/* The keywords of JSON Schema 2020-12. The last has no name. */
#pragma once

#include "schema/schema_internal.h"

extern const struct schema_keyword schema_keywords[];
