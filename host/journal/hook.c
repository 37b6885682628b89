/* Who listens to a run comes and goes with its exchange. */
#include "journal/hook.h"

#include "http/exchange.h"

static void on_over(struct exchange *ex)
{
    struct hook *hook = ex->hook;
    ex->hook = NULL;
    hook->type->over(hook);
}

void hook_listen(struct hook *hook)
{
    hook->ex->hook = hook;
    hook->ex->on_over = on_over;
}

void hook_move(struct exchange *from, struct exchange *to)
{
    struct hook *hook = from->hook;
    if (hook == NULL)
        return;
    for (struct hook *each = hook; each != NULL; each = each->inner)
        each->ex = to;
    to->started_ns = from->started_ns;
    from->hook = NULL;
    from->on_over = NULL;
    hook_listen(hook);
}
