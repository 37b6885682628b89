/* Where that lies which a deployment uses and is no part of it: `.luafn`, .env files, databases of
 * SQLite, the certificates of KV_URL.
 *
 * That is the folder of functions.lua, but for a packed deployment: it is unpacked into a folder
 * that ends with the process, and the place is the folder in which it was started. */
#pragma once

#include "base/str.h"

/* `folder` is borrowed, for the life of the process; absolute. Once, before anything is loaded. */
void place_set(struct str folder);

/* The folder that was set, or else this one, that of functions.lua. */
struct str place_of(struct str folder);
bool place_is_set(void);
