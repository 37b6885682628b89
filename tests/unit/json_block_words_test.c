/* The same where a processor has nothing but words. */
#define BLOCK_WORDS
#include "json_block_test.c"
