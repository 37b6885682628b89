/* An open client: sends the lines of a file as requests at a fixed rate over keep-alive
 * connections, whether or not answers have come, and measures each from the moment it was due.
 *
 * usage: pace PORT PATH TOKENS-FILE RATE SECONDS CONNECTIONS
 *
 * A request that is due when every connection waits for an answer is queued; its wait counts.
 * Prints one line of JSON, times in microseconds. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 1024, MAX_TOKENS = 32768, MAX_TEXT = 2048, MAX_READ = 16384 };

struct connection {
    int fd;
    double due;     /* of the request that it waits for; 0: idle */
    size_t missing; /* bytes of the answer's body; head_len counts until the head is whole */
    size_t head_len;
    char head[1024];
};

static struct connection connections[MAX_CONNECTIONS], *idle[MAX_CONNECTIONS];
static int count, idle_count, epoll;
static char *tokens[MAX_TOKENS];
static size_t token_count, sent, done, bad;
static double *took;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void open_connection(struct connection *c, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&at, sizeof at) != 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
    idle[idle_count++] = c;
}

static void send_one(const char *path, double due)
{
    struct connection *c = idle[--idle_count];
    char text[MAX_TEXT];
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", path,
                     tokens[sent++ % token_count]);

    if (n >= MAX_TEXT || write(c->fd, text, (size_t)n) != n)
        die("write");
    c->due = due;
    c->head_len = 0;
    c->missing = 0;
}

static void finish(struct connection *c)
{
    took[done++] = now_us() - c->due;
    c->due = 0;
    idle[idle_count++] = c;
}

static void take(struct connection *c, const char *bytes, size_t n)
{
    if (c->missing > 0) {
        c->missing -= n < c->missing ? n : c->missing;
        if (c->missing == 0)
            finish(c);
        return;
    }
    if (c->head_len + n >= sizeof c->head)
        n = sizeof c->head - 1 - c->head_len;
    memcpy(c->head + c->head_len, bytes, n);
    c->head_len += n;
    c->head[c->head_len] = '\0';

    const char *end = strstr(c->head, "\r\n\r\n"),
               *length = strcasestr(c->head, "\r\ncontent-length:");
    if (end == NULL)
        return;
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0)
        bad++;
    size_t whole = (size_t)(end + 4 - c->head) + (length ? strtoul(length + 17, NULL, 10) : 0);
    if (whole <= c->head_len)
        finish(c);
    else
        c->missing = whole - c->head_len;
}

static void receive(struct connection *c)
{
    char bytes[MAX_READ];
    ssize_t n = read(c->fd, bytes, sizeof bytes);

    if (n <= 0) {
        fputs("pace: the server closed a connection\n", stderr);
        exit(1);
    }
    if (c->due > 0)
        take(c, bytes, (size_t)n);
}

static void read_tokens(const char *name)
{
    FILE *file = fopen(name, "r");
    char line[MAX_TEXT];

    if (file == NULL)
        die(name);
    while (token_count < MAX_TOKENS && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        tokens[token_count++] = strdup(line);
    }
    fclose(file);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fputs("usage: pace PORT PATH TOKENS-FILE RATE SECONDS CONNECTIONS\n", stderr);
        return 2;
    }
    double rate = atof(argv[4]), seconds = atof(argv[5]);
    size_t total = (size_t)(rate * seconds);
    count = atoi(argv[6]);
    took = calloc(total, sizeof(double));
    epoll = epoll_create1(0);
    read_tokens(argv[3]);
    if (took == NULL || total == 0 || token_count == 0 || count < 1 || count > MAX_CONNECTIONS)
        return 1;
    for (int i = 0; i < count; i++)
        open_connection(&connections[i], atoi(argv[1]));

    struct epoll_event events[MAX_CONNECTIONS];
    double began = now_us();
    while (done < total) {
        /* Never sleeps: what is due goes out within a loop's length. */
        while (sent < total && idle_count > 0 && began + (double)sent * 1e6 / rate <= now_us())
            send_one(argv[2], began + (double)sent * 1e6 / rate);
        int n = epoll_wait(epoll, events, MAX_CONNECTIONS, 0);
        for (int i = 0; i < n; i++)
            receive(events[i].data.ptr);
    }
    double ended = now_us();
    qsort(took, total, sizeof(double), compare);
    size_t over = 0;
    while (over < total && took[total - 1 - over] > 50000)
        over++;
    printf(
        "{\"requests\":%zu,\"rate\":%.0f,\"p50\":%.0f,\"p99\":%.0f,\"p999\":%.0f,\"max\":%.0f,\"over50ms\":%zu,\"bad\":%zu}\n",
        total, (double)total * 1e6 / (ended - began), took[total / 2], took[total * 99 / 100],
        took[total * 999 / 1000], took[total - 1], over, bad);
    return 0;
}
