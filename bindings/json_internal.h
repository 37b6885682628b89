/* What the files of json.encode share. */
#ifndef LUAFN_BINDINGS_JSON_INTERNAL_H
#define LUAFN_BINDINGS_JSON_INTERNAL_H

#include "bindings/json.h"

/* One table on the way down to the value. */
struct frame {
    const struct frame *up;
    lua_Integer index; /* in an array; 0: in an object */
    int key;           /* stack index of the object's key */
};

struct encoder {
    lua_State *L;
    struct buf *out;
    size_t start; /* where in `out` this text begins */
    struct json_style style;
    const void *array_mark; /* the json.array metatable */
    int depth;
    const struct frame *frame; /* innermost */
    bool failed;
    char reason[96];
    char path[160];
};

/* Writes a member: key and value are on top of the stack, the value is taken off. `frame` is the
 * innermost. */
void json_encode_member(struct encoder *enc, struct frame *frame, bool first);

/* json_encode_claims.c: writes the table at `table` and says true, if it is one of claims whose
 * members are not all made (run/claims_table.h). On one line. */
bool json_encode_claims(struct encoder *enc, int table);

#endif
