/* Where `luafn dev` was last started, so that `luafn token` and company speak of that issuer. */
#pragma once

#include "base/str.h"

#define DEV_AUDIENCE "https://api/tv-shows"

/* Keeps the issuer's URL (it ends in a slash) in .luafn/dev-issuer beside functions.lua. Where that
 * cannot be written nothing is kept. */
void dev_place_keep(const char *config_file, const char *issuer);

/* JWT_ISSUER, JWT_AUDIENCE and TV_API_URL where the environment does not say them: those of that
 * `dev`, or of one on the usual port. Name, value, ..., NULL; good until the next call. */
const char *const *dev_place_defaults(const char *config_file);

/* The first of these values. */
struct str dev_place_issuer(const char *config_file);
