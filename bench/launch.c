/* What a start costs: processor milliseconds of `PROGRAM --version`, and of `PROGRAM serve` in this
 * folder from its start to its first answer, in turns and started alike.
 *
 * usage: launch PROGRAM CORE ROUNDS
 *
 * A start's time is that of the host and its worker; the process that has looked at kv's file is
 * gone by then. Prints one line of JSON. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ROUNDS = 1000, PATIENCE = 50000, PAUSE_US = 200 };

static const char request[] = "GET /.netlify/functions/hello HTTP/1.1\r\nHost: localhost\r\n\r\n";

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static pid_t begin(char **command, int core)
{
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid > 0)
        return pid;
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    if (sched_setaffinity(0, sizeof cores, &cores) != 0 ||
        freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL)
        _exit(1);
    execv(command[0], command);
    _exit(1);
}

/* Of a process whose threads are one. */
static double spent_ms(int pid)
{
    char path[64], text[64] = "";
    snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(text, sizeof text, file) == NULL)
        die(path);
    fclose(file);
    return strtod(text, NULL) / 1e6;
}

static double version_ms(char *program, int core)
{
    char *command[] = {program, "--version", NULL};
    pid_t pid = begin(command, core);
    siginfo_t info;
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0)
        die("waitid");
    double spent = spent_ms(pid);
    waitpid(pid, NULL, 0);
    return spent;
}

static struct sockaddr_in free_address(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) != 0)
        die("bind");
    close(fd);
    return at;
}

static void ask(const struct sockaddr_in *at)
{
    char text[1024];
    int fd = -1, tries = 0;
    for (;;) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || ++tries > PATIENCE)
            die("connect");
        if (connect(fd, (const struct sockaddr *)at, sizeof *at) == 0)
            break;
        close(fd);
        usleep(PAUSE_US);
    }
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        die("send");
    ssize_t got = recv(fd, text, sizeof text, 0);
    if (got < 12 || memcmp(text, "HTTP/1.1 200", 12) != 0) {
        fputs("launch: the answer is not 200\n", stderr);
        exit(1);
    }
    close(fd);
}

static double answer_ms(char *program, int core)
{
    char listen[32], path[64], text[128] = "";
    struct sockaddr_in at = free_address();
    snprintf(listen, sizeof listen, "127.0.0.1:%d", ntohs(at.sin_port));
    char *command[] = {program, "serve",    "--workers", "1", "--log",
                       "none",  "--listen", listen,      NULL};
    pid_t pid = begin(command, core);
    ask(&at);
    double spent = spent_ms(pid);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(text, sizeof text, file) == NULL)
        die(path);
    fclose(file);
    spent += spent_ms((int)strtol(text, NULL, 10));
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    return spent;
}

static void print(const char *name, const double *list, int count)
{
    printf("\"%s\":[", name);
    for (int i = 0; i < count; i++)
        printf("%s%.3f", i > 0 ? "," : "", list[i]);
    printf("]");
}

int main(int argc, char **argv)
{
    static double version[MAX_ROUNDS], answer[MAX_ROUNDS];
    int rounds = argc == 4 ? (int)strtol(argv[3], NULL, 10) : 0;
    if (rounds < 1 || rounds > MAX_ROUNDS) {
        fputs("usage: launch PROGRAM CORE ROUNDS\n", stderr);
        return 2;
    }
    int core = (int)strtol(argv[2], NULL, 10);
    for (int i = 0; i < rounds; i++) {
        version[i] = version_ms(argv[1], core);
        answer[i] = answer_ms(argv[1], core);
    }
    printf("{");
    print("version", version, rounds);
    printf(",");
    print("answer", answer, rounds);
    puts("}");
    return 0;
}
