/* The faults that are found in several places. */
#include "http/fault.h"

const struct http_fault fault_no_memory = {500, "internal_error", "Out of memory"};
const struct http_fault fault_late = {408, "request_timeout",
                                      "The request took too long to arrive"};
