/* The list of modules, in the order of their names. */
#include "bindings/bindings.h"

const struct binding bindings[] = {
    {"after_response", open_after_response},
    {"base64", open_base64},
    {"channel", open_channel},
    {"crypto", open_crypto},
    {"env", open_env},
    {"fetch", open_fetch},
    {"html", open_html},
    {"json", open_json},
    {"jwt", open_jwt},
    {"kv", open_kv},
    {"log", open_log},
    {"parallel", open_parallel},
    {"queue", open_queue},
    {"read_file", open_read_file},
    {"respond", open_respond},
    {"schema", open_schema},
    {"sleep", open_sleep},
    {"sql", open_sql},
    {"stream", open_stream},
    {"time", open_time},
    {"url", open_url},
    {NULL, NULL},
};

const struct binding bindings_own[] = {{"host", open_host}, {NULL, NULL}};
