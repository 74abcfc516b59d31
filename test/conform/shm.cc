// What weft(7) says of deadlines, stops, signals, errno and NULL, of the calls of libweft-shm.
#include <shm/brief_lock.h>
#include <shm/map_table.h>
#include <weft/pool.h>
#include <weft/posix_semaphore.h>
#include <weft/process.h>
#include <weft/shared_map.h>
#include <weft/shared_queue.h>
#include <weft/shared_sync.h>
#include <weft/shm.h>

#include "conform.h"

#include <fcntl.h>
#include <sys/socket.h>

#define INT(call) [] { return call; }

static char bytes[64];
static weft_shm *segment;
static int gate[2]; // a pipe: what is at work, in whatever process, waits for a byte of it

static void make_gate(void)
{
    if (pipe(gate) != 0)
        abort();
}

static int pass_gate(void)
{
    char c;
    while (read(gate[0], &c, 1) != 1)
        ;
    return 0;
}

static void open_gate(void)
{
    if (write(gate[1], "", 1) != 1)
        abort();
}

// A thing in shared memory, which the call is about.
template <class T> static T *shared(size_t size = sizeof(T))
{
    segment = weft_shm_create(NULL, 1 << 20, NULL);
    T *p = (T *)weft_shm_allocate(segment, size);
    it = p;
    return p;
}

// ---- Segments ----

static const weft_shm_attach_options reading = {0, true, false};
static int ends[2];
static char name[32];

static void begin_attach(void)
{
    snprintf(name, sizeof name, "weft-conform-%d", getpid());
    it = name;
    segment = weft_shm_create(name, 1 << 12, NULL);
}

static void remove_name(void)
{
    if (segment != NULL)
        weft_shm_unlink(name);
}

static int make_slowly(weft_shm *, void *, void *)
{
    return pass_gate();
}

static void begin_object(void)
{
    make_gate();
    it = segment = weft_shm_create(NULL, 1 << 20, NULL);
    weft_thread_start(
        [](void *) { return weft_shm_object(segment, "it", 8, make_slowly, NULL, WEFT_FOREVER); },
        NULL, NULL);
    while (weft_shm_object_remove(segment, "it") == 0 || errno != EBUSY)
        sched_yield();
}

static void begin_sockets(void)
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        abort();
    it = segment = weft_shm_create(NULL, 1 << 12, NULL);
}

static void fill_socket(void)
{
    begin_sockets();
    while (send(ends[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

static void drain_socket(void)
{
    while (recv(ends[1], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

// ---- Locks and their like ----

static weft_posix_semaphore posix;
static weft_shared_mutex *mutex;
static weft_shared_rwlock *rwlock;
static weft_shared_condition *condition;
static weft_shared_semaphore *semaphore;
static weft_shared_event *event;
static weft_shared_barrier *barrier;
static weft_shared_array *array;
static weft_shared_map *map;

static void begin_mutex(void)
{
    weft_shared_mutex_init(mutex = shared<weft_shared_mutex>(), 0);
    hold(INT(weft_shared_mutex_lock(mutex, WEFT_FOREVER)), INT(weft_shared_mutex_unlock(mutex)));
}

static void begin_read(void)
{
    weft_shared_rwlock_init(rwlock = shared<weft_shared_rwlock>());
    hold(INT(weft_shared_rwlock_write(rwlock, WEFT_FOREVER)),
         INT(weft_shared_rwlock_unlock(rwlock)));
}

static void begin_write(void)
{
    weft_shared_rwlock_init(rwlock = shared<weft_shared_rwlock>());
    hold(INT(weft_shared_rwlock_read(rwlock, WEFT_FOREVER)),
         INT(weft_shared_rwlock_unlock(rwlock)));
}

static void begin_array(void)
{
    weft_shared_array_init(array = shared<weft_shared_array>(weft_shared_array_bytes(4, 8)), 4, 8);
    hold(INT(weft_shared_array_lock(array, WEFT_FOREVER)), INT(weft_shared_array_unlock(array)));
}

// Another writes: longer than any call does.
static void begin_map(void)
{
    map = shared<weft_shared_map>(weft_shared_map_bytes(4, 8, 8));
    weft_shared_map_init(map, 4, 8, 8);
    weft_shared_map_set(map, "old", 3, "", 1, WEFT_FOREVER);
    hold(INT(brief_lock(&map->lock, WEFT_FOREVER)), INT((brief_unlock(&map->lock), 0)));
}

static void begin_condition(void)
{
    weft_shared_mutex_init(mutex = shared<weft_shared_mutex>(), 0);
    condition = (weft_shared_condition *)weft_shm_allocate(segment, sizeof *condition);
    weft_shared_condition_init(condition);
    it = condition;
    weft_shared_mutex_lock(mutex, WEFT_FOREVER);
}

static void signal_condition(void)
{
    weft_shared_mutex_lock(mutex, WEFT_FOREVER); // so it waits
    __atomic_store_n(&signalled, 1, __ATOMIC_SEQ_CST);
    weft_shared_condition_signal(condition);
    weft_shared_mutex_unlock(mutex);
}

static void *come_to_barrier(void *)
{
    weft_shared_barrier_wait(barrier, WEFT_FOREVER);
    return NULL;
}

// ---- Queues ----

static weft_shared_queue *queue;
static weft_shared_lease lease;
static struct iovec pieces[1];

static void begin_queue(bool leases = false)
{
    weft_shared_queue_options o = {};
    o.leases = leases;
    it = queue = weft_shared_queue_create(NULL, 4096, &o);
    pieces[0] = {bytes, sizeof bytes};
}

static void put_one(void)
{
    weft_shared_queue_put(queue, bytes, sizeof bytes, WEFT_FOREVER);
}

static void fill_queue(void)
{
    begin_queue();
    while (weft_shared_queue_put(queue, bytes, sizeof bytes, WEFT_NOW) == 0)
        ;
}

static void take_all(void)
{
    char others[sizeof bytes]; // a caller reads its own as soon as there is room
    while (weft_shared_queue_get(queue, others, sizeof others, WEFT_NOW) >= 0)
        ;
}

// ---- Processes ----

static weft_process *process;
static weft_pool *pool;
static weft_result *task;
static int items[1];

static int last(void *)
{
    return pause();
}

static int work(const void *, size_t, void *, size_t)
{
    return pass_gate();
}

static void begin_process(void)
{
    weft_process_options o = {};
    o.flags = WEFT_PROCESS_DIE_WITH_PARENT;
    it = process = weft_process_start(last, NULL, &o);
}

static void begin_pool(void)
{
    weft_pool_options o = {};
    o.slots = 1;
    make_gate();
    it = pool = weft_pool_create(1, &o);
}

static void begin_task(void)
{
    begin_pool();
    task = weft_pool_apply_async(pool, work, NULL, 0, 0, WEFT_NOW);
}

static void end_task(void)
{
    open_gate();
    weft_result_wait(task, NULL, WEFT_FOREVER);
    weft_result_release(task);
}

static const row ROWS[] = {
    ROW(weft_shm_attach, (it, NULL, d), begin_attach, DO(weft_shm_ready(segment)), 0, remove_name),
    ROW(weft_shm_attach, (it, &reading, d), begin_attach, DO(weft_shm_ready(segment)), 0,
        remove_name),
    ROW(weft_shm_send, (it, ends[0], d), fill_socket, drain_socket),
    ROW(weft_shm_receive, (ends[1], d), begin_sockets,
        DO(weft_shm_send(segment, ends[0], WEFT_FOREVER)), NO_HANDLE),
    ROW(weft_shm_object, (it, "it", 8, NULL, NULL, d), begin_object, open_gate),

    ROW(weft_posix_semaphore_wait, (it, d), DO(weft_posix_semaphore_init(&posix, 0); it = &posix),
        DO(weft_posix_semaphore_post(&posix)), UNSTOPPED),
    ROW(weft_shared_mutex_lock, (it, d), begin_mutex, let_go, UNSTOPPED),
    ROW(weft_shared_rwlock_read, (it, d), begin_read, let_go, UNSTOPPED),
    ROW(weft_shared_rwlock_write, (it, d), begin_write, let_go, UNSTOPPED),
    ROW(weft_shared_array_lock, (it, d), begin_array, let_go, UNSTOPPED),
    ROW(weft_shared_map_set, (it, "key", 3, "", 1, d), begin_map, let_go, UNSTOPPED),
    ROW(weft_shared_map_add, (it, "key", 3, "", 1, d), begin_map, let_go, UNSTOPPED),
    ROW(weft_shared_map_remove, (it, "old", 3, d), begin_map, let_go, UNSTOPPED),
    ROW_BY(weft_shared_condition_wait, wait_for_signal(weft_shared_condition_wait, it, mutex, d),
           begin_condition, signal_condition, ONLY_WOKEN),
    ROW(weft_shared_semaphore_wait, (it, d),
        DO(weft_shared_semaphore_init(semaphore = shared<weft_shared_semaphore>(), 0, 0)),
        DO(weft_shared_semaphore_post(semaphore))),
    ROW(weft_shared_event_wait, (it, d),
        DO(weft_shared_event_init(event = shared<weft_shared_event>())),
        DO(weft_shared_event_set(event))),
    ROW(weft_shared_barrier_wait, (it, d),
        DO(weft_shared_barrier_init(barrier = shared<weft_shared_barrier>(), 2)),
        DO(weft_thread_start(come_to_barrier, NULL, NULL))),

    ROW(weft_shared_queue_put, (it, bytes, sizeof bytes, d), fill_queue, take_all),
    ROW(weft_shared_queue_put_many, (it, pieces, 1, d), fill_queue, take_all),
    ROW(weft_shared_queue_reserve, (it, sizeof bytes, d), fill_queue, take_all),
    ROW(weft_shared_queue_get, (it, bytes, sizeof bytes, d), DO(begin_queue()), put_one),
    ROW(weft_shared_queue_get_many, (it, pieces, 1, d), DO(begin_queue()), put_one),
    ROW(weft_shared_queue_lease, (it, bytes, sizeof bytes, &lease, d), DO(begin_queue(true)),
        put_one),
    ROW(weft_shared_queue_join, (it, d), DO(begin_queue(); put_one()),
        DO(weft_shared_queue_close(queue, WEFT_DISCARD))),

    ROW(weft_process_join, (it, NULL, d), begin_process, DO(weft_process_kill(process))),
    ROW(weft_pool_join, (it, d), DO(begin_task(); weft_pool_close(pool)), open_gate),
    ROW(weft_pool_dispatch, (it, d),
        DO(begin_task(); weft_result_then(
               task, [](weft_result *, void *) {}, NULL)),
        open_gate),
    ROW(weft_pool_apply_async, (it, work, NULL, 0, 0, d), begin_task, end_task),
    ROW(weft_pool_apply, (it, work, NULL, 0, NULL, 0, d), begin_pool, open_gate),
    ROW(weft_result_get, (it, NULL, d), DO(begin_task(); it = task), open_gate),
    ROW(weft_result_wait, (it, NULL, d), DO(begin_task(); it = task), open_gate),
    ROW(weft_pool_map, (it, work, items, sizeof(int), 1, NULL, 0, NULL, d), begin_pool, open_gate),
    ROW(weft_imap_next, (it, NULL, NULL, NULL, d),
        DO(begin_pool(); it = weft_pool_imap(pool, work, items, sizeof(int), 1, 0, NULL)),
        open_gate),
};
RUN_ROWS(ROWS)
