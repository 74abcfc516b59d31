// What weft(7) says of deadlines, stops, signals, errno and NULL, of the calls of libweft-manager.
// Most are answered at once; a server that is stopped (SIGSTOP) shows what holds while it is not.
// Then only `d` is waited for.
#include <weft/client.h>
#include <weft/manager.h>
#include <weft/remote_jobs.h>

#include "conform.h"

static weft_manager *shared;          // by all rows
static weft_manager *own;             // of a row
static weft_client *client, *another; // two connections
static weft_remote *same, *theirs;    // what `it` is, on either
static char name[32], bytes[8], text[256];
static int64_t number;

static void fail_to(const char *verb)
{
    perror(verb);
    abort();
}

// ---- What is shared ----

static void connect_both(void)
{
    const char *address = weft_manager_address(shared);
    snprintf(name, sizeof name, "it-%d", getpid());
    client = weft_client_connect(address, NULL, WEFT_FOREVER);
    another = weft_client_connect(address, NULL, WEFT_FOREVER);
    if (client == NULL || another == NULL)
        fail_to("connect");
}

// Opens the same thing on both.
#define BOTH(open)                                                                                 \
    connect_both();                                                                                \
    it = same = [](weft_client *c) { return open; }(client);                                       \
    theirs = [](weft_client *c) { return open; }(another)

static void begin_queue(void)
{
    BOTH(weft_remote_queue_open(c, name, 1));
}

static void put(void)
{
    weft_remote_queue_put(theirs, "x", 1, WEFT_FOREVER);
}

static void begin_full(void)
{
    begin_queue();
    put();
}

static void get(void)
{
    weft_remote_queue_get(theirs, bytes, sizeof bytes, WEFT_FOREVER);
}

static void begin_lock(void)
{
    BOTH(weft_remote_lock_open(c, name, 0));
}

static void begin_locked(void)
{
    begin_lock();
    weft_remote_lock_lock(theirs, NULL, WEFT_FOREVER);
}

static void begin_own_lock(void)
{
    begin_lock();
    weft_remote_lock_lock(same, NULL, WEFT_FOREVER);
}

static void begin_semaphore(void)
{
    BOTH(weft_remote_semaphore_open(c, name, 0, WEFT_FOREVER));
}

static void post(void)
{
    weft_remote_semaphore_post(theirs, WEFT_FOREVER);
}

static void begin_unit(void)
{
    begin_semaphore();
    post();
    weft_remote_semaphore_wait(same, WEFT_FOREVER);
}

static void begin_event(void)
{
    BOTH(weft_remote_event_open(c, name));
}

static void begin_barrier(void)
{
    BOTH(weft_remote_barrier_open(c, name, 2));
}

static void begin_value(void)
{
    BOTH(weft_remote_value_open(c, name));
}

static void begin_dict(void)
{
    BOTH(weft_remote_dict_open(c, name));
    weft_remote_dict_set(same, "k", 1, "v", 1, WEFT_FOREVER);
}

static void begin_namespace(void)
{
    BOTH(weft_remote_namespace_open(c, name));
    weft_remote_namespace_set(same, "k", "v", 1, WEFT_FOREVER);
}

static void begin_list(void)
{
    BOTH(weft_remote_list_open(c, name));
    weft_remote_list_append(same, "v", 1, WEFT_FOREVER);
}

static void begin_set(void)
{
    BOTH(weft_remote_set_open(c, name));
    weft_remote_set_add(same, "v", 1, WEFT_FOREVER);
}

static void begin_subscriber(void)
{
    connect_both();
    it = same = weft_remote_subscribe(client, name, 0, WEFT_FOREVER);
}

static void publish(void)
{
    weft_remote_publish(another, name, "x", 1, WEFT_FOREVER);
}

static void begin_watch(void)
{
    connect_both();
    it = client;
    weft_client_watch(client, name, strlen(name), WEFT_FOREVER);
}

static void begin_transaction(void)
{
    connect_both();
    it = client;
    weft_client_begin(client);
}

static int64_t job, token;
static weft_remote_jobs_counters jobs_counters;

static void begin_jobs(void)
{
    BOTH(weft_remote_jobs_open(c, name, NULL));
}

static void put_job(void)
{
    weft_remote_jobs_put(theirs, "x", 1, NULL, &job, WEFT_FOREVER);
}

static void begin_job(void)
{
    begin_jobs();
    put_job();
}

// Its result is freed: what a row's call gives is looked at as a pointer alone.
static void begin_taken(void)
{
    begin_job();
    weft_remote_job *j = weft_remote_jobs_take(same, WEFT_FOREVER);
    token = j->token;
    weft_remote_job_free(j);
}

static void end_job(void)
{
    weft_remote_jobs_done(theirs, job, token, NULL, 0, WEFT_FOREVER);
}

// ---- A server that is stopped ----

static void start_own(void)
{
    char address[64];
    snprintf(address, sizeof address, "unix:@weft-conform-%d", getpid());
    it = own = weft_manager_start(address, NULL);
    if (own == NULL)
        fail_to("start");
}

static bool is_stopped(pid_t id)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", id);
    FILE *f = fopen(path, "re");
    bool read = f != NULL && fscanf(f, "%*d (weft-manager) %c", &state) == 1;
    if (f != NULL)
        fclose(f);
    return !read || state == 'T';
}

static void stop_own(void)
{
    kill(weft_manager_pid(own), SIGSTOP);
    while (!is_stopped(weft_manager_pid(own)))
        usleep(100);
}

static void go_on(void)
{
    kill(weft_manager_pid(own), SIGCONT);
}

static void end_own(void)
{
    if (own != NULL)
        weft_manager_end(own, WEFT_NOW);
}

static void begin_stopped(void)
{
    start_own();
    stop_own();
}

static void begin_connect(void)
{
    begin_stopped();
    it = weft_manager_address(own);
}

static void begin_text(void)
{
    begin_connect();
    snprintf(text, sizeof text, "value:0:it@%s", weft_manager_address(own));
    it = text;
}

static void begin_command(void)
{
    start_own();
    it = weft_client_connect(weft_manager_address(own), NULL, WEFT_FOREVER);
    stop_own();
}

static const char *const PING[] = {"PING"}, *const BLPOP[] = {"BLPOP", name, "0"};

static void begin_next(void)
{
    begin_queue();
    weft_client_append(client, 3, BLPOP, NULL);
    it = client;
}

// ---- The table ----

static const row ROWS[] = {
    ROW(weft_manager_end, (it, d), begin_stopped, go_on, 0, end_own),
    ROW(weft_client_connect, (it, NULL, d), begin_connect, go_on, 0, end_own),
    ROW(weft_client_command, (it, 1, PING, NULL, d), begin_command, go_on, SILENT, end_own),
    ROW(weft_client_next, (it, d), begin_next, put),
    ROW(weft_client_watch, (it, "k", 1, d), DO(connect_both(); it = client), NULL, ASKS),
    ROW(weft_client_unwatch, (it, d), begin_watch, NULL, ASKS),
    ROW(weft_client_execute, (it, d), begin_transaction, NULL, ASKS),
    ROW(weft_client_discard, (it, d), begin_transaction, NULL, ASKS),
    ROW(weft_remote_open, (it, NULL, d), begin_text, go_on, 0, end_own),

    ROW(weft_remote_queue_put, (it, "x", 1, d), begin_full, get),
    ROW(weft_remote_queue_get, (it, bytes, sizeof bytes, d), begin_queue, put),
    ROW(weft_remote_queue_take, (it, d), begin_queue, put),
    ROW(weft_remote_queue_join, (it, d), begin_full,
        DO(weft_remote_queue_task_done(theirs, WEFT_FOREVER))),
    ROW(weft_remote_queue_task_done, (it, d), begin_full, NULL, ASKS),
    ROW(weft_remote_queue_length, (it, d), begin_queue, NULL, ASKS),
    ROW(weft_remote_queue_close, (it, WEFT_DRAIN, d), begin_queue, NULL, ASKS),

    ROW(weft_remote_lock_lock, (it, &number, d), begin_locked,
        DO(weft_remote_lock_unlock(theirs, WEFT_FOREVER))),
    ROW(weft_remote_lock_unlock, (it, d), begin_own_lock, NULL, ASKS),
    ROW(weft_remote_lock_renew, (it, d), begin_own_lock, NULL, ASKS),

    ROW(weft_remote_semaphore_open, (it, name, 1, d), DO(connect_both(); it = client), NULL, ASKS),
    ROW(weft_remote_semaphore_wait, (it, d), begin_semaphore, post),
    ROW(weft_remote_semaphore_post, (it, d), begin_unit, NULL, ASKS),
    ROW(weft_remote_semaphore_renew, (it, d), begin_unit, NULL, ASKS),
    ROW(weft_remote_semaphore_value, (it, d), begin_semaphore, NULL, ASKS),

    ROW(weft_remote_event_wait, (it, d), begin_event,
        DO(weft_remote_event_set(theirs, WEFT_FOREVER))),
    ROW(weft_remote_event_set, (it, d), begin_event, NULL, ASKS),
    ROW(weft_remote_event_clear, (it, d), begin_event, NULL, ASKS),
    ROW(weft_remote_event_is_set, (it, d), begin_event, NULL, ASKS),

    ROW(weft_remote_barrier_wait, (it, d), begin_barrier,
        DO(weft_remote_barrier_wait(theirs, WEFT_FOREVER)), ONLY_WOKEN),
    ROW(weft_remote_barrier_abort, (it, d), begin_barrier, NULL, ASKS),
    ROW(weft_remote_barrier_reset, (it, d), begin_barrier, NULL, ASKS),
    ROW(weft_remote_barrier_waiting, (it, d), begin_barrier, NULL, ASKS),

    ROW(weft_remote_value_set, (it, 1, d), begin_value, NULL, ASKS),
    ROW(weft_remote_value_get, (it, &number, d), begin_value, NULL, ASKS),
    ROW(weft_remote_value_add, (it, 1, &number, d), begin_value, NULL, ASKS),
    ROW(weft_remote_value_exchange, (it, 1, &number, d), begin_value, NULL, ASKS),
    ROW(weft_remote_value_replace, (it, &number, 1, d), begin_value, NULL, ASKS),

    ROW(weft_remote_dict_set, (it, "k", 1, "w", 1, d), begin_dict, NULL, ASKS),
    ROW(weft_remote_dict_get, (it, "k", 1, bytes, sizeof bytes, d), begin_dict, NULL, ASKS),
    ROW(weft_remote_dict_remove, (it, "k", 1, d), begin_dict, NULL, ASKS),
    ROW(weft_remote_dict_contains, (it, "k", 1, d), begin_dict, NULL, ASKS),
    ROW(weft_remote_dict_length, (it, d), begin_dict, NULL, ASKS),
    ROW(weft_remote_dict_clear, (it, d), begin_dict, NULL, ASKS),
    ROW(weft_remote_dict_keys, (it, d), begin_dict, NULL, ASKS),
    ROW(weft_remote_dict_items, (it, d), begin_dict, NULL, ASKS),

    ROW(weft_remote_namespace_set, (it, "k", "w", 1, d), begin_namespace, NULL, ASKS),
    ROW(weft_remote_namespace_get, (it, "k", bytes, sizeof bytes, d), begin_namespace, NULL, ASKS),
    ROW(weft_remote_namespace_remove, (it, "k", d), begin_namespace, NULL, ASKS),

    ROW(weft_remote_list_append, (it, "w", 1, d), begin_list, NULL, ASKS),
    ROW(weft_remote_list_prepend, (it, "w", 1, d), begin_list, NULL, ASKS),
    ROW(weft_remote_list_get, (it, 0, bytes, sizeof bytes, d), begin_list, NULL, ASKS),
    ROW(weft_remote_list_set, (it, 0, "w", 1, d), begin_list, NULL, ASKS),
    ROW(weft_remote_list_pop, (it, 0, d), begin_list, NULL, ASKS),
    ROW(weft_remote_list_remove, (it, "v", 1, d), begin_list, NULL, ASKS),
    ROW(weft_remote_list_length, (it, d), begin_list, NULL, ASKS),
    ROW(weft_remote_list_clear, (it, d), begin_list, NULL, ASKS),
    ROW(weft_remote_list_range, (it, 0, -1, d), begin_list, NULL, ASKS),

    ROW(weft_remote_set_add, (it, "w", 1, d), begin_set, NULL, ASKS),
    ROW(weft_remote_set_remove, (it, "v", 1, d), begin_set, NULL, ASKS),
    ROW(weft_remote_set_contains, (it, "v", 1, d), begin_set, NULL, ASKS),
    ROW(weft_remote_set_pop, (it, d), begin_set, NULL, ASKS),
    ROW(weft_remote_set_length, (it, d), begin_set, NULL, ASKS),
    ROW(weft_remote_set_clear, (it, d), begin_set, NULL, ASKS),
    ROW(weft_remote_set_items, (it, d), begin_set, NULL, ASKS),

    ROW(weft_remote_publish, (it, name, "x", 1, d), DO(connect_both(); it = client), NULL, ASKS),
    ROW(weft_remote_subscribe, (it, name, 0, d), DO(connect_both(); it = client), NULL, ASKS),
    ROW(weft_remote_subscriber_next, (it, d), begin_subscriber, publish),
    ROW(weft_remote_subscriber_add, (it, "more", 0, d), begin_subscriber, NULL, ASKS),
    ROW(weft_remote_subscriber_remove, (it, name, 0, d), begin_subscriber, NULL, ASKS),

    ROW(weft_remote_jobs_put, (it, "x", 1, NULL, &job, d), begin_jobs, NULL, ASKS),
    ROW(weft_remote_jobs_take, (it, d), begin_jobs, put_job),
    ROW(weft_remote_jobs_pause, (it, true, d), begin_jobs, NULL, ASKS),
    ROW(weft_remote_jobs_heartbeat, (it, job, token, 0, NULL, d), begin_taken, NULL, ASKS),
    ROW(weft_remote_jobs_done, (it, job, token, "x", 1, d), begin_taken, NULL, ASKS),
    ROW(weft_remote_jobs_fail, (it, job, token, WEFT_JOB_AGAIN, "", d), begin_taken, NULL, ASKS),
    ROW(weft_remote_jobs_get, (it, job, d), begin_job, NULL, ASKS),
    ROW(weft_remote_jobs_wait, (it, &job, 1, d), begin_taken, end_job),
    ROW(weft_remote_jobs_list, (it, WEFT_JOB_WAITING, 0, 1, d), begin_job, NULL, ASKS),
    ROW(weft_remote_jobs_retry, (it, job, d), begin_job, NULL, ASKS),
    ROW(weft_remote_jobs_remove, (it, job, d), begin_job, NULL, ASKS),
    ROW(weft_remote_jobs_statistics, (it, &jobs_counters, d), begin_jobs, NULL, ASKS),
};

static int begin_all(void **)
{
    char address[64];
    snprintf(address, sizeof address, "unix:@weft-conform-of-%d", getpid());
    shared = weft_manager_start(address, NULL);
    return shared != NULL ? 0 : -1;
}

static int end_all(void **)
{
    int code = weft_manager_end(shared, weft_in_s(20));
    weft_manager_destroy(shared);
    return code;
}

RUN_ROWS(ROWS, {NULL, NULL, begin_all, end_all, true})
