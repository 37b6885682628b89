/* What makes sheets: sheet.c from claims, sheet_map.c from another sheet. */
#pragma once

#include "json/sheet.h"

size_t sheet_bytes(size_t count, size_t text_len);

/* Makes a new sheet in `sheet`, which has room for sheet_bytes. */
void sheet_fill(struct sheet *sheet, struct str text, const struct sheet_member *places,
                size_t count);
