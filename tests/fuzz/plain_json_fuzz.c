/* Any text as JSON: what the fast reader reads, the strict one reads to the same. */
#include <string.h>

#include "fuzz.h"

#include "json/plain.h"
#include "json/strict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = whole_input(data, size);
    json_t *plain = plain_json_load(text), *strict = strict_json_load(text, NULL);
    if (plain != NULL) {
        require(strict != NULL && json_equal(plain, strict), "the strict reader's value");
        char *a = json_dumps(plain, JSON_COMPACT), *b = json_dumps(strict, JSON_COMPACT);
        require(a != NULL && b != NULL && strcmp(a, b) == 0, "the same order");
        free(a);
        free(b);
    }
    json_decref(plain);
    json_decref(strict);
    return 0;
}
