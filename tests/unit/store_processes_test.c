/* The embedded store under several processes: changes are atomic, and what was acknowledged stays
 * when the writer is killed. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "store_fixture.h"

static int set_up(void **state)
{
    struct fixture *f = malloc(sizeof(*f));
    fixture_make(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_remove(*state);
    free(*state);
    return 0;
}

static pid_t run_child(struct fixture *f, void (*body)(struct fixture *f, int pipe_fd), int pipe_fd)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    fixture_open(f);
    body(f, pipe_fd);
    fixture_close(f);
    _exit(0);
}

static int wait_for(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* ---- several writers ---- */

enum { ROUNDS = 300 };

static void count_up(struct fixture *f, int pipe_fd)
{
    (void)pipe_fd;
    static struct store_request requests[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++) {
        requests[i] = make_request(STORE_INCR, "n");
        requests[i].by = 1;
        store_submit(f->store, &requests[i]);
        if (i % 10 == 9)
            uv_run(&f->loop, UV_RUN_DEFAULT);
    }
    for (unsigned won = 0; won < 10;) { /* adds one to a text, as scripts do with kv.cas */
        const char *text = get(f, "cas");
        char before[16], after[16];
        snprintf(before, sizeof(before), "%.15s", text != NULL ? text : "");
        snprintf(after, sizeof(after), "%d", atoi(before) + 1);
        struct store_request r = make_request(STORE_CAS, "cas");
        r.expected = text_value(text != NULL ? before : NULL);
        r.value = text_value(after);
        if (run_request(f, &r) != 0)
            _exit(1);
        won += r.changed;
    }
}

static void test_two_writers(void **state)
{
    struct fixture *f = *state;
    pid_t one = run_child(f, count_up, -1);
    pid_t two = run_child(f, count_up, -1);
    assert_int_equal(wait_for(one), 0);
    assert_int_equal(wait_for(two), 0);
    fixture_open(f);
    assert_string_equal(get(f, "n"), "600");
    assert_string_equal(get(f, "cas"), "20");
    fixture_close(f);
}

/* ---- kill -9 ---- */

enum { WRITES = 10000, AT_ONCE = 100 };

struct writer {
    struct store_request request;
    struct fixture *fixture;
    unsigned *next;
    unsigned number;
    int pipe_fd;
    char key[16];
};

static void write_next(struct writer *w);

static void on_written(struct store_request *request)
{
    struct writer *w = container_of(request, struct writer, request);
    if (request->status != 0 ||
        write(w->pipe_fd, &w->number, sizeof(w->number)) != (ssize_t)sizeof(w->number))
        _exit(1);
    write_next(w);
}

static void write_next(struct writer *w)
{
    w->number = (*w->next)++;
    if (w->number >= WRITES)
        return;
    snprintf(w->key, sizeof(w->key), "k%u", w->number);
    w->request = make_request(STORE_SET, w->key);
    w->request.value = text_value(w->key);
    w->request.done = on_written;
    store_submit(w->fixture->store, &w->request);
}

static void write_many(struct fixture *f, int pipe_fd)
{
    static struct writer writers[AT_ONCE];
    unsigned next = 0;
    for (unsigned i = 0; i < AT_ONCE; i++) {
        writers[i] = (struct writer){.fixture = f, .next = &next, .pipe_fd = pipe_fd};
        write_next(&writers[i]);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    pause(); /* for the end, should it come late */
}

/* Kills the writer when it has said that so many are written; returns what it said in all. */
static unsigned kill_at(struct fixture *f, unsigned wanted, bool *said)
{
    int fds[2];
    unsigned number, count = 0;
    assert_int_equal(pipe(fds), 0);
    fcntl(fds[1], F_SETPIPE_SZ, 4096); /* the writer cannot be far ahead of what is read here */
    pid_t pid = run_child(f, write_many, fds[1]);
    close(fds[1]);
    while (read(fds[0], &number, sizeof(number)) == (ssize_t)sizeof(number)) {
        said[number] = true;
        if (++count == wanted)
            kill(pid, SIGKILL);
    }
    close(fds[0]);
    int status = wait_for(pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return count;
}

static void test_killed_writer(void **state)
{
    static const unsigned points[] = {1, 150, 1234, 5000, 9000};
    struct fixture *f = *state;
    struct err err;
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        static bool said[WRITES];
        memset(said, 0, sizeof(said));
        assert_true(kill_at(f, points[i], said) >= points[i]);
        assert_int_equal(fixture_check(f, &err), 0);
        assert_int_equal(fixture_count(f, "corrupt"), 0);
        fixture_open(f);
        for (unsigned k = 0; k < WRITES; k++) {
            char key[16];
            snprintf(key, sizeof(key), "k%u", k);
            const char *text = get(f, key);
            if (said[k])
                assert_string_equal(text, key);
        }
        assert_int_equal(put(f, "after", "x"), 0); /* no lock was left behind */
        fixture_close(f);
        fixture_remove(f);
        fixture_make(f);
    }
}

/* One that reads when it is killed must not hold pages for ever. */
static void hold_reader(struct fixture *f, int pipe_fd)
{
    struct file file;
    MDB_txn *txn;
    fixture_close(f);
    if (file_open(&file, f->path) != 0 || mdb_txn_begin(file.env, NULL, MDB_RDONLY, &txn) != 0 ||
        write(pipe_fd, "r", 1) != 1)
        _exit(1);
    pause();
}

static void test_killed_reader(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    char c;
    fixture_open(f);
    assert_int_equal(put(f, "a", "1"), 0);
    fixture_close(f);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = run_child(f, hold_reader, fds[1]);
    assert_int_equal(read(fds[0], &c, 1), 1);
    close(fds[0]);
    close(fds[1]);
    pid_t other = run_child(f, count_up, -1); /* keeps the lock file from being made anew */
    kill(pid, SIGKILL);
    wait_for(pid);
    fixture_open(f);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(put(f, "a", "2"), 0);
    assert_int_equal(wait_for(other), 0);
    fixture_close(f);
    struct file file;
    MDB_envinfo info;
    assert_int_equal(file_open(&file, f->path), 0);
    assert_int_equal(mdb_env_info(file.env, &info), 0);
    assert_true(info.me_last_pgno < 100);
    file_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_two_writers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_writer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_reader, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
