// share.cc: `weft-processes share`: a manager process, and two others that share what it holds.
//
// The writer puts values into the manager's queue and counts them up in its semaphore; the reader
// waits for the semaphore and takes them out under the manager's lock, which also keeps their lines
// apart.  Compare weft-processes pool, which shares memory instead.
#include "../verbs.h"

#include <unistd.h>

#include <weft/manager.h>
#include <weft/process.h>
#include <weft/remote.h>

#include <stdio.h>
#include <string.h>

static const char *const share_values[] = {"A", "B", "C", "D"};
enum { SHARE_COUNT = 4 };

struct share_things {
    weft_client *client;
    weft_remote_queue *queue;
    weft_remote_lock *lock;
    weft_remote_semaphore *written;
};

static share_things share_open(const char *address)
{
    share_things t;
    weft_deadline d = weft_in_s(10);
    t.client = weft_client_connect(address, nullptr, d);
    if (t.client == nullptr)
        options_fail(address);
    t.queue = weft_remote_queue_open(t.client, "values", 0);
    t.lock = weft_remote_lock_open(t.client, "turn", 0);
    t.written = weft_remote_semaphore_open(t.client, "written", 0, d);
    if (t.queue == nullptr || t.lock == nullptr || t.written == nullptr)
        options_fail("weft-processes: share");
    return t;
}

static int share_close(const share_things *t)
{
    weft_remote_destroy(t->queue);
    weft_remote_destroy(t->lock);
    weft_remote_destroy(t->written);
    return weft_client_destroy(t->client);
}

static int share_write(void *address)
{
    share_things t = share_open((const char *)address);
    weft_deadline d = weft_in_s(60);
    for (const char *value : share_values) {
        if (weft_remote_lock_lock(t.lock, nullptr, d) != 0)
            options_fail("weft-processes: lock");
        printf("Put %s to queue...\n", value);
        fflush(stdout);
        if (weft_remote_queue_put(t.queue, value, 1, d) != 0 ||
            weft_remote_lock_unlock(t.lock, d) != 0 ||
            weft_remote_semaphore_post(t.written, d) != 0)
            options_fail("weft-processes: put");
    }
    return share_close(&t);
}

// Its status: how many values were not those expected.
static int share_read(void *address)
{
    share_things t = share_open((const char *)address);
    weft_deadline d = weft_in_s(60);
    int wrong = 0;
    for (const char *expected : share_values) {
        char value = 0;
        if (weft_remote_semaphore_wait(t.written, d) != 0 ||
            weft_remote_lock_lock(t.lock, nullptr, d) != 0)
            options_fail("weft-processes: wait");
        ssize_t n = weft_remote_queue_get(t.queue, &value, 1, WEFT_NOW);
        printf("Get %c from queue.\n", n == 1 ? value : '?');
        fflush(stdout);
        wrong += n != 1 || value != *expected;
        if (weft_remote_lock_unlock(t.lock, d) != 0)
            options_fail("weft-processes: unlock");
    }
    share_close(&t);
    return wrong;
}

static int run(int argc, char **argv)
{
    char where[64];
    options_none(argc, argv, 0, 0, "");
    int status[2] = {-1, -1};
    snprintf(where, sizeof where, "unix:@weft-share-%d", (int)getpid());
    weft_manager *m = weft_manager_start(where, nullptr);
    if (m == nullptr)
        options_fail("weft-processes: manager");
    weft_process *both[2] = {weft_process_start(share_write, where, nullptr),
                             weft_process_start(share_read, where, nullptr)};
    for (int i = 0; i < 2; i++) {
        if (both[i] == nullptr || weft_process_join(both[i], &status[i], WEFT_FOREVER) != 0)
            options_fail("weft-processes: share");
        weft_process_destroy(both[i]);
    }
    weft_manager_end(m, weft_in_s(10));
    weft_manager_destroy(m);
    bool all = status[0] == 0 && status[1] == 0;
    if (all)
        printf("all %d values written and read\n", SHARE_COUNT);
    else
        fprintf(stderr, "weft-processes: not all values were written and read in order\n");
    return options_finish(!all);
}

extern const verb verb_share = {
    "share", "",
    "a manager, a process that writes A B C D into its queue, one that reads them under its lock\n",
    run};
