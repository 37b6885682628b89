/* The table of commands. */
#include "cli/commands.h"

const struct command *const commands[] = {&command_dev,     &command_serve,
                                          &command_new,     &command_check,
                                          &command_migrate, &command_routes,
                                          &command_invoke,  &command_test,
                                          &command_token,   &command_revoke,
                                          &command_queue,   &command_explain,
                                          &command_journal, &command_replay,
                                          &command_tail,    &command_audit,
                                          &command_pack,    &command_lambda,
                                          &command_live,    &command_completion,
                                          &command_help,    NULL};
