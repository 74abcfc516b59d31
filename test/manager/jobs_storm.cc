// Jobs in a storm, on both servers: workers are killed and stopped, connections cut, leases end in
// the middle of jobs, Redis is killed and started anew.  Then each job was run at least once, and
// is done; none was done twice: of all workers that ran a job, one was told that it is done by it.
//
// JOBS_SECONDS (2) and JOBS_MANY (600); `make soak` takes 600 and 100,000.
#include "servers.h"

#include <weft/remote_jobs.h>

#include <sys/mman.h>

enum { WORKERS = 3, PAUSE_US = 100000, RESTARTS = 30 };

struct record {
    uint32_t runs, dones; // atomic: workers that began it; that ended it
};

static struct board {
    bool over;        // atomic
    uint64_t strange; // errors that should not have been; atomic
    record jobs[1];   // and on
} * board;

static int many;
static pid_t workers[WORKERS];

static int number_of(const char *name, int usual)
{
    const char *text = getenv(name);
    return text != nullptr ? atoi(text) : usual;
}

// A Redis that is started anew reads all that it has ever been told, which takes its time.
static weft_deadline patience(void)
{
    return weft_in_s(300);
}

static void add(uint32_t *n)
{
    __atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

// ---- Workers ----

static weft_client *connect_again(void)
{
    for (;;) {
        weft_client *c = weft_client_connect(here.address, here.password, soon());
        if (c != nullptr || __atomic_load_n(&board->over, __ATOMIC_RELAXED))
            return c;
        usleep(5000);
    }
}

static weft_remote_jobs *open_jobs(weft_client *c, int flags)
{
    weft_remote_jobs_options o = {};
    o.lease_ns = 150000000;
    o.backoff_ns = 5000000;
    o.retries = 1000000;
    o.keep = (size_t)many;
    o.flags = flags;
    weft_remote_jobs *q = weft_remote_jobs_open(c, "storm", &o);
    assert_non_null(q);
    return q;
}

// Says it until it is known to have been heard.  Its result; -1: the lease is over.
static int say_end(weft_remote_jobs *q, const weft_remote_job *j, bool fails)
{
    for (weft_deadline d = patience(); weft_left(d) > 0; usleep(2000)) {
        int result =
            fails ? weft_remote_jobs_fail(q, j->id, j->token, WEFT_JOB_AGAIN, "on purpose", soon())
                  : weft_remote_jobs_done(q, j->id, j->token, j->value, j->size, soon());
        if (result >= 0 || errno == EPERM)
            return result;
    }
    __atomic_fetch_add(&board->strange, 1, __ATOMIC_RELAXED);
    return -1;
}

static void do_job(weft_remote_jobs *q, const weft_remote_job *j, unsigned *seed)
{
    record *r = &board->jobs[atoi(j->value)];
    int chance = rand_r(seed) % 100;
    add(&r->runs);
    for (int i = 0; chance < 2 && i < 4; i++) {
        usleep(60000); // longer than the lease
        if (chance == 0)
            weft_remote_jobs_heartbeat(q, j->id, j->token, i, "going on", soon());
    }
    if (chance < 50)
        usleep((unsigned)chance * 40);
    bool fails = chance == 50;
    if (say_end(q, j, fails) == 0 && !fails)
        add(&r->dones);
}

static int work(void *arg)
{
    unsigned seed = (unsigned)getpid();
    weft_client *c = connect_again();
    if (c == nullptr)
        return 0;
    weft_remote_jobs *q = open_jobs(c, (intptr_t)arg % 2 == 0 ? WEFT_JOBS_TIED : 0);
    while (!__atomic_load_n(&board->over, __ATOMIC_RELAXED)) {
        weft_remote_job *j = weft_remote_jobs_take(q, weft_in_ms(100));
        if (j != nullptr)
            do_job(q, j, &seed);
        else if (errno != ETIMEDOUT)
            usleep(5000); // no server, or no connection
        weft_remote_job_free(j);
    }
    weft_remote_destroy(q);
    weft_client_destroy(c);
    return 0;
}

// ---- What befalls them ----

// A child of the old one writes the file anew meanwhile, and has the clients' connections, too.
static void rewrite(unsigned *seed)
{
    static const char *const words[] = {"BGREWRITEAOF"};
    weft_client *c = client_of(&here);
    weft_reply_free(weft_client_command(c, 1, words, nullptr, soon())); // one may do so already
    weft_client_destroy(c);
    usleep((unsigned)rand_r(seed) % 20000);
}

static void restart_server(void)
{
    kill(here.pid, SIGKILL);
    waitpid(here.pid, nullptr, 0);
    start_server(&here);
}

static void cut_all(void)
{
    static const char *const words[] = {"CLIENT", "KILL", "TYPE", "normal"};
    weft_client *c = connect_again();
    weft_reply_free(weft_client_command(c, 4, words, nullptr, soon()));
    weft_client_destroy(c);
}

// `each`: after so many the server is started anew.
static void befall(int event, int each, unsigned *seed)
{
    intptr_t i = rand_r(seed) % WORKERS;
    int what = event % 4;
    if (here.kind == WEFT_SERVER_REDIS && event % each == each - 1) {
        if (event / each % 2 == 0)
            rewrite(seed);
        restart_server();
    } else if (what == 0) {
        kill_and_reap(workers[i]);
        workers[i] = child_of(work, (void *)i);
    } else if (what == 1) {
        kill(workers[i], SIGSTOP);
        usleep(200000); // longer than a lease
        kill(workers[i], SIGCONT);
    } else if (what == 2) {
        cut_all();
    } else {
        kill(here.pid, SIGSTOP);
        usleep(20000);
        kill(here.pid, SIGCONT);
    }
}

// Puts job i, once, however often it has to be said.
static void put(weft_remote_jobs *q, int i, int64_t *id)
{
    char text[16], key[24];
    weft_remote_job_options o = {};
    snprintf(text, sizeof text, "%d", i);
    snprintf(key, sizeof key, "job %d", i);
    o.key = key;
    o.priority = i % 3;
    o.delay_ns = i % 10 == 0 ? 30000000 : 0;
    weft_deadline d = patience();
    while (weft_remote_jobs_put(q, text, strlen(text), &o, id, soon()) < 0) {
        if (weft_left(d) <= 0)
            fail_msg("put %d: %s, %s", i, strerror(errno),
                     weft_client_error(weft_remote_client(q)));
        usleep(2000);
    }
}

static int64_t done_so_far(weft_remote_jobs *q)
{
    weft_remote_jobs_counters s;
    return weft_remote_jobs_statistics(q, &s, soon()) == 0 ? s.done : -1;
}

static const char *states(weft_remote_jobs *q)
{
    static char text[160];
    weft_remote_jobs_counters s = {};
    weft_remote_jobs_statistics(q, &s, soon());
    snprintf(text, sizeof text, "put %lld, waiting %lld, delayed %lld, running %lld, ended %lld",
             (long long)s.put, (long long)s.waiting, (long long)s.delayed, (long long)s.running,
             (long long)s.ended);
    return text;
}

static void until_all_are_done(weft_remote_jobs *q)
{
    int64_t before = -1, now;
    for (weft_deadline d = patience(); (now = done_so_far(q)) < many; usleep(10000)) {
        if (now > before) // as long as there is progress
            d = patience();
        before = now > before ? now : before;
        if (weft_left(d) <= 0)
            fail_msg("%lld of %d are done: %s", (long long)now, many, states(q));
    }
}

static void judge(weft_remote_jobs *q, const int64_t *ids)
{
    weft_remote_jobs_counters s;
    assert_int_equal(weft_remote_jobs_statistics(q, &s, soon()), 0);
    uint64_t runs = 0;
    for (int i = 0; i < many; i++) {
        record r = board->jobs[i];
        runs += r.runs;
        weft_remote_job *j = weft_remote_jobs_get(q, ids[i], soon());
        if (j == nullptr || j->state != WEFT_JOB_DONE || r.runs < 1 || r.dones > 1)
            fail_msg("job %d: state %d, run %u times, done %u times", i,
                     j != nullptr ? j->state : 0, r.runs, r.dones);
        assert_int_equal(atoi(j->value), i);
        assert_string_equal(j->outcome, j->value);
        weft_remote_job_free(j);
    }
    assert_int_equal(board->strange, 0);
    assert_int_equal(s.put, many);
    assert_int_equal(s.ended, many);
    assert_int_equal(s.waiting + s.delayed + s.running + s.dead, 0);
    assert_true(s.taken >= (int64_t)runs); // some takes never came
    assert_int_equal(s.taken, s.ended + s.failed + s.lost);
    printf("%d jobs, taken %lld times, leases lost %lld\n", many, (long long)s.taken,
           (long long)s.lost);
}

CASE(test_jobs_storm)
{
    unsigned seed = 7;
    int seconds = number_of("JOBS_SECONDS", 2), events = seconds * 1000000 / PAUSE_US, puts = 0;
    many = number_of("JOBS_MANY", 600);
    size_t size = sizeof *board + (size_t)many * sizeof(record);
    board = (struct board *)mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                 -1, 0);
    int64_t *ids = (int64_t *)calloc((size_t)many, sizeof *ids);
    for (intptr_t i = 0; i < WORKERS; i++)
        workers[i] = child_of(work, (void *)i);
    weft_client *c = client_of(&here);
    weft_remote_jobs *q = open_jobs(c, 0);
    weft_deadline end = weft_in_s(seconds);
    for (int event = 0; event < events; event++) {
        for (int until = (int)((int64_t)many * (event + 1) / events); puts < until; puts++)
            put(q, puts, &ids[puts]);
        befall(event, events / RESTARTS > 10 ? events / RESTARTS : 10, &seed);
        // The rest of the time, shared out.
        int64_t left = weft_left(end);
        usleep(left > 0 ? (unsigned)(left / 1000 / (events - event)) : 0);
    }
    until_all_are_done(q);
    __atomic_store_n(&board->over, true, __ATOMIC_RELAXED);
    for (pid_t worker : workers)
        assert_int_equal(end_of(worker), 0);
    judge(q, ids);
    done_with(q);
    if (here.kind == WEFT_SERVER_REDIS)
        kill_server(&here); // this test has started it
    free(ids);
    munmap(board, size);
}

int main(void)
{
    here.durable = true;
    return with_both_servers(
        [](const char *name) { return run_cases(begin_group, end_group, name); });
}
