/* luafn --version. */
#include "cli/version.h"

#include <jansson.h>
#include <lua.h>
#include <stdio.h>
#include <uv.h>

#include "auth/key.h"
#include "http/encoding.h"
#include "http/host_name.h"
#include "http/parser.h"
#include "client/client.h"
#include "server/h2.h"
#include "sql/sql.h"
#include "store/store.h"

int version_print(void)
{
    printf("luafn %s\n", LUAFN_VERSION);
    printf("Lua %s.%s\n", LUA_VERSION_MAJOR "." LUA_VERSION_MINOR, LUA_VERSION_RELEASE);
    printf("libuv %s\n", uv_version_string());
    printf("llhttp %s\n", parser_library_version());
    printf("jansson %s\n", jansson_version_str());
    printf("libjwt %s\n", LIBJWT_VERSION);
    printf("OpenSSL %s\n", key_library_version());
    printf("nghttp2 %s\n", h2_library_version());
    printf("libcurl %s\n", client_library_version());
    printf("libidn2 %s\n", host_name_library_version());
    printf("LMDB %s\n", store_library_version());
    printf("hiredis %s\n", store_client_version());
    printf("libpq %s\n", sql_postgres_version());
    printf("SQLite %s\n", sql_sqlite_version());
    unsigned brotli = encoding_brotli_version();
    printf("zlib %s\n", encoding_zlib_version());
    printf("brotli %u.%u.%u\n", brotli >> 24, (brotli >> 12) & 0xfff, brotli & 0xfff);
    return 0;
}
