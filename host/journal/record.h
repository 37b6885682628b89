/* The record of one request, as it comes to be.
 *
 * It listens to the request from its head on (journal/hook.h) and becomes one line of JSON when the
 * exchange goes, if the journal's rules keep it:
 *
 *     {"v":1,"id":"01...","time":1764500000.123,"ms":3.4,"method":"GET","target":"/a?b=c",
 *      "status":200,"function":"a","generation":1,"request":{...},"answer":{...},"calls":[...],...}
 *
 * docs/journal.md has all members. What would make it longer than LIMIT_JOURNAL_RECORD is left out,
 * and "cut" says so. */
#pragma once

#include "http/exchange.h"
#include "journal/hook.h"
#include "journal/journal.h"

/* Begins to listen to the exchange, unless no rule could keep its record, or there is no memory. */
void record_begin(struct journal *journal, struct exchange *ex);
