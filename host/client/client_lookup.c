/* Looking names up: one question a name, however many calls wait for it, and not many at a time.
 *
 * getaddrinfo blocks, and for long where a name server is dead. libcurl gives it a thread for each
 * call, which lives on when the call has ended; here a name has one thread, LIMIT_LOOKUPS are at
 * work at once, and libcurl is told what came of it (CURLOPT_RESOLVE). A thread cannot be stopped:
 * when the client goes, its errand belongs to itself. */
#include "client/client_internal.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "client/client_rules.h"
#include "http/host_name.h"

enum { STACK = 256 * 1024, ADDRESSES_SIZE = 512 };

/* Where threads leave what they found. */
struct client_mailbox {
    pthread_mutex_t lock;
    unsigned refs;     /* the client's and one a thread */
    uv_async_t *async; /* NULL: the client has gone */
    struct list done;  /* errands */
};

/* What a thread is sent for. */
struct errand {
    struct list node;
    struct client_mailbox *box;
    struct client_lookup *lookup; /* of a client that is still there */
    char host[HOST_NAME_SIZE];
    int error; /* of getaddrinfo; 0 */
    int system_error;
    char addresses[ADDRESSES_SIZE]; /* with commas between them */
};

struct client_lookup {
    struct list node; /* in client->lookups, the newest last */
    enum { LOOKUP_WAITS, LOOKUP_RUNS, LOOKUP_DONE } state;
    struct list calls; /* that wait: their in_lookup */
    uint64_t expires;  /* uv_hrtime; when done */
    char host[HOST_NAME_SIZE];
    char addresses[ADDRESSES_SIZE];
};

/* ---- the threads' side ---- */

static void mailbox_unref(struct client_mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    bool last = --box->refs == 0;
    pthread_mutex_unlock(&box->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&box->lock);
    free(box);
}

/* As many as fit: nobody tries more. */
static void write_addresses(struct errand *errand, const struct addrinfo *list)
{
    size_t used = 0;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        char text[64];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) !=
                0 ||
            strchr(text, '%') != NULL) /* of one link: no address that a name may have */
            continue;
        if (used + strlen(text) + 2 > sizeof(errand->addresses))
            return;
        used += (size_t)snprintf(errand->addresses + used, sizeof(errand->addresses) - used, "%s%s",
                                 used > 0 ? "," : "", text);
    }
}

static void *run(void *arg)
{
    struct errand *errand = arg;
    struct client_mailbox *box = errand->box;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    errand->error = getaddrinfo(errand->host, NULL, &hints, &list);
    errand->system_error = errno;
    if (errand->error == 0) {
        write_addresses(errand, list);
        freeaddrinfo(list);
    }
    pthread_mutex_lock(&box->lock);
    if (box->async != NULL) {
        list_push(&box->done, &errand->node);
        uv_async_send(box->async);
        errand = NULL;
    }
    pthread_mutex_unlock(&box->lock);
    free(errand);
    mailbox_unref(box);
    return NULL;
}

/* By a thread more, or by one that could not be made: the client's own reference stays. */
static void count_thread(struct client_mailbox *box, bool more)
{
    pthread_mutex_lock(&box->lock);
    box->refs = more ? box->refs + 1 : box->refs - 1;
    pthread_mutex_unlock(&box->lock);
}

/* 0 or a negative errno. */
static int send_thread(struct errand *errand)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0)
        return -ENOMEM;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the loop's */
    int rc = pthread_create(&thread, &attributes, run, errand);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -rc;
}

/* ---- the loop's side ---- */

static int begin(struct client *client, struct client_lookup *lookup)
{
    struct errand *errand = calloc(1, sizeof(*errand));
    if (errand == NULL)
        return -ENOMEM;
    memcpy(errand->host, lookup->host, sizeof(errand->host));
    errand->lookup = lookup;
    errand->box = client->mailbox;
    count_thread(client->mailbox, true);
    int rc = send_thread(errand);
    if (rc != 0) {
        count_thread(client->mailbox, false);
        free(errand);
        return rc;
    }
    lookup->state = LOOKUP_RUNS;
    client->lookups_running++;
    return 0;
}

static void forget(struct client *client, struct client_lookup *lookup)
{
    list_remove(&lookup->node);
    client->lookup_count--;
    free(lookup);
}

/* The longest known that nobody waits for. */
static struct client_lookup *find_idle(struct client *client)
{
    list_each(node, &client->lookups)
    {
        struct client_lookup *lookup = container_of(node, struct client_lookup, node);
        if (lookup->state != LOOKUP_RUNS && list_is_empty(&lookup->calls))
            return lookup;
    }
    return NULL;
}

static struct client_lookup *find(struct client *client, const char *host)
{
    list_each(node, &client->lookups)
    {
        struct client_lookup *lookup = container_of(node, struct client_lookup, node);
        if (strcmp(lookup->host, host) == 0)
            return lookup;
    }
    return NULL;
}

static bool is_old(const struct client_lookup *lookup)
{
    return lookup->state == LOOKUP_DONE && uv_hrtime() >= lookup->expires;
}

static struct client_lookup *add(struct client *client, const char *host)
{
    struct client_lookup *idle =
        client->lookup_count >= LIMIT_LOOKUPS_KEPT ? find_idle(client) : NULL;
    if (idle != NULL)
        forget(client, idle);
    struct client_lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return NULL;
    list_init(&lookup->calls);
    snprintf(lookup->host, sizeof(lookup->host), "%s", host);
    list_push(&client->lookups, &lookup->node);
    client->lookup_count++;
    return lookup;
}

/* Nothing of the client may be touched afterwards but by those who hold it. */
static void end_call(struct client_call *call, const struct errand *errand)
{
    struct err err;
    int code;
    switch (errand->error) {
    case EAI_AGAIN:
        code = err_set(&err, -ENOENT, "no name server answers for the host (EAI_AGAIN)");
        break;
    case EAI_MEMORY:
        code = client_describe_errno(&err, -ENOMEM);
        break;
    case EAI_SYSTEM:
        code = client_describe_errno(&err, -errand->system_error);
        break;
    default:
        code = err_set(&err, -ENOENT, "host not found (ENOTFOUND)");
        break;
    }
    client_call_end(call, code, err.text);
}

/* Lets those that waited go on. A callback may end any of them, or the client. */
static void let_go(struct list *calls, const struct errand *errand)
{
    while (!list_is_empty(calls)) {
        struct client_call *call = container_of(calls->next, struct client_call, in_lookup);
        list_remove(&call->in_lookup);
        int code = 0;
        struct err err;
        if (errand->error != 0)
            end_call(call, errand);
        else if ((code = call->on_found(call, errand->addresses)) != 0)
            client_call_end(call, client_describe_errno(&err, code), err.text);
    }
}

static void begin_next(struct client *client)
{
    list_each(node, &client->lookups)
    {
        struct client_lookup *lookup = container_of(node, struct client_lookup, node);
        if (client->lookups_running >= LIMIT_LOOKUPS)
            return;
        if (lookup->state == LOOKUP_WAITS && !list_is_empty(&lookup->calls))
            (void)!begin(client, lookup); /* without a thread the next that ends tries again */
    }
}

static struct errand *take(struct client *client)
{
    struct client_mailbox *box = client->mailbox;
    struct errand *errand = NULL;
    pthread_mutex_lock(&box->lock);
    if (!list_is_empty(&box->done)) {
        errand = container_of(box->done.next, struct errand, node);
        list_remove(&errand->node);
    }
    pthread_mutex_unlock(&box->lock);
    return errand;
}

static void on_mail(uv_async_t *async)
{
    struct client *client = async->data;
    struct errand *errand;
    client->open++; /* callbacks may free the client */
    while (client->multi != NULL && (errand = take(client)) != NULL) {
        struct client_lookup *lookup = errand->lookup;
        struct list calls;
        list_init(&calls);
        list_append(&calls, &lookup->calls);
        client->lookups_running--;
        lookup->state = LOOKUP_DONE;
        lookup->expires = uv_hrtime() + (uint64_t)(LIMIT_LOOKUP_SECONDS * 1e9);
        memcpy(lookup->addresses, errand->addresses, sizeof(lookup->addresses));
        if (errand->error == 0 && errand->addresses[0] == '\0')
            errand->error = EAI_NONAME;
        if (errand->error != 0)
            forget(client, lookup); /* the next call asks again */
        let_go(&calls, errand);
        free(errand);
        if (client->multi != NULL)
            begin_next(client);
    }
    client_unref(client);
}

/* ---- the interface ---- */

int client_lookup_open(struct client *client)
{
    list_init(&client->lookups);
    struct client_mailbox *box = calloc(1, sizeof(*box));
    if (box == NULL || pthread_mutex_init(&box->lock, NULL) != 0) {
        free(box);
        return -ENOMEM;
    }
    int rc = uv_async_init(client->loop, &client->mail, on_mail);
    if (rc != 0) {
        pthread_mutex_destroy(&box->lock);
        free(box);
        return rc;
    }
    uv_unref((uv_handle_t *)&client->mail); /* who waits has a deadline, which holds the loop */
    client->mail.data = client;
    client->open++;
    box->refs = 1;
    box->async = &client->mail;
    list_init(&box->done);
    client->mailbox = box;
    return 0;
}

void client_lookup_close(struct client *client)
{
    struct errand *errand;
    pthread_mutex_lock(&client->mailbox->lock);
    client->mailbox->async = NULL;
    pthread_mutex_unlock(&client->mailbox->lock);
    while ((errand = take(client)) != NULL)
        free(errand);
    mailbox_unref(client->mailbox);
    list_each(node, &client->lookups)
        forget(client, container_of(node, struct client_lookup, node));
    uv_close((uv_handle_t *)&client->mail, client_on_handle_closed);
}

int client_lookup(struct client_call *call, const char *host,
                  int (*on_found)(struct client_call *call, const char *addresses))
{
    struct client *client = call->client;
    if (client_reach_of_text(host) != 0 || client_host_is_loopback(host))
        return on_found(call, ""); /* libcurl knows these */
    struct client_lookup *lookup = find(client, host);
    if (lookup != NULL && is_old(lookup))
        lookup->state = LOOKUP_WAITS; /* to be asked for once more */
    if (lookup == NULL && (lookup = add(client, host)) == NULL)
        return -ENOMEM;
    if (lookup->state == LOOKUP_DONE)
        return on_found(call, lookup->addresses);
    if (lookup->state == LOOKUP_WAITS && client->lookups_running < LIMIT_LOOKUPS) {
        int rc = begin(client, lookup);
        if (rc != 0)
            return rc;
    }
    call->on_found = on_found;
    list_push(&lookup->calls, &call->in_lookup);
    client_call_watch(call);
    return 0;
}
