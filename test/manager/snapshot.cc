// The snapshot: what was held is there again after a restart; a file that is damaged in whatever
// way is refused and left alone; a write that fails leaves the old file.
#include "served.h"

#include <manager/server/crc.h>

#include <sys/mman.h>
#include <sys/resource.h>

static char path[128];

static weft_manager_options with_file(void)
{
    weft_manager_options with = {};
    snprintf(path, sizeof path, "%s/state", folder);
    with.save = path;
    return with;
}

static void restart(void)
{
    stop_server();
    start(&o);
}

static void open_saved(void)
{
    o = with_file();
    start(&o);
}

static void close_saved(void)
{
    stop_server();
    assert_int_equal(unlink(path), 0);
}

static void saved(void (*fn)(void))
{
    open_saved();
    fn();
    close_saved();
}

#define SAVED_CASE(fn) CASE_IN(fn, saved)

SAVED_CASE(test_keys_come_back)
{
    all_say(&c, {"SET text value", "SET empty ", "SET later v PX 100000"}, "+OK\r\n");
    says(&c, "RPUSH list a b  c", ":4\r\n");
    says(&c, "HSET hash f v g w h ", ":3\r\n");
    says(&c, "SADD set a 17 ", ":3\r\n");
    all_say(&c, {"RPUSH later-list v", "PEXPIRE later-list 100000"}, ":1\r\n");
    all_say(&c, {"SET over v PX 1", "SELECT 15"}, "+OK\r\n");
    set_big(300000);
    usleep(2000);
    restart();
    says(&c, "DBSIZE", ":7\r\n");
    says(&c, "GET text", "$5\r\nvalue\r\n");
    says(&c, "GET empty", "$0\r\n\r\n");
    for (const char *ttl : {"PTTL later", "PTTL later-list"}) {
        long long left = ask_number(&c, ttl);
        assert_true(left > 0 && left <= 100000);
    }
    says(&c, "TTL text", ":-1\r\n");
    says(&c, "LRANGE list 0 -1", "*4\r\n$1\r\na\r\n$1\r\nb\r\n$0\r\n\r\n$1\r\nc\r\n");
    says(&c, "HMGET hash f g h", "*3\r\n$1\r\nv\r\n$1\r\nw\r\n$0\r\n\r\n");
    all_say(&c, {"HLEN hash", "SCARD set"}, ":3\r\n");
    says(&c, "SMISMEMBER set a 17  b", "*4\r\n:1\r\n:1\r\n:1\r\n:0\r\n");
    says(&c, "SELECT 15", "+OK\r\n");
    says(&c, "STRLEN big", ":300000\r\n");
    says(&c, "DBSIZE", ":1\r\n");
}

SAVED_CASE(test_places_come_back)
{
    all_say(&c, {"WEFT.PUT q 0 0 a", "WEFT.PUT q 0 0 b"}, ":1\r\n");
    says(&c, "WEFT.GET q 0", "$1\r\na\r\n");
    says(&c, "PING", "+PONG\r\n"); // it is ours, and not done
    says(&c, "WEFT.CLOSE closed DRAIN", "+OK\r\n");
    says(&c, "WEFT.SEMAPHORE s 3", ":3\r\n");
    says(&c, "WEFT.ACQUIRE s 0", ":2\r\n");
    says(&c, "WEFT.SET event", "+OK\r\n");
    long long token = ask_number(&c, "WEFT.LOCK l 0");
    restart();
    says(&c, "WEFT.JOIN q 0", "$-1\r\n");
    says(&c, "WEFT.DONE q", ":1\r\n");
    says(&c, "WEFT.GET q 0", "$1\r\nb\r\n");
    says(&c, "WEFT.DONE q", ":0\r\n");
    says(&c, "WEFT.JOIN q 0", ":1\r\n");
    says(&c, "WEFT.PUT closed 0 0 v", "-CLOSED the queue is closed\r\n");
    says(&c, "WEFT.UNITS s", ":3\r\n"); // who had one has gone
    says(&c, "WEFT.ISSET event", ":1\r\n");
    assert_true(ask_number(&c, "WEFT.LOCK l 0") > token);
}

static long long put_job(const char *options, const char *key, const char *value)
{
    char line[160];
    snprintf(line, sizeof line, "WEFT.JOB.PUT jobs %s %s %s", options, key, value);
    return ask_number(&c, line);
}

// The reply to "WEFT.JOB.GET jobs id" from its id to its last, in a line.
static const char *job_now(long long id)
{
    static char text[1024];
    char line[64];
    snprintf(line, sizeof line, "WEFT.JOB.GET jobs %lld", id);
    snprintf(text, sizeof text, "%s", ask(&c, line));
    return text;
}

// Fields of numbers are in the order of weft-manager(7).
static long long job_field(long long id, int field)
{
    const char *at = job_now(id);
    for (int i = 0; i < field && at != nullptr; i++)
        at = strchr(at + 1, ':');
    return at != nullptr ? atoll(at + 1) : -1;
}

enum { TOKEN = 2, STATE, PRIORITY, TRIES, RETRIES };

static long long take_job(raw *r, const char *how, long long *token)
{
    char line[64];
    snprintf(line, sizeof line, "WEFT.JOB.TAKE jobs 0 100000 %s me", how);
    long long id = atoll(strchr(ask(r, line), ':') + 1);
    *token = job_field(id, TOKEN);
    return id;
}

SAVED_CASE(test_jobs_come_back)
{
    static const char once[] = "0 5 0 0 0 100000 100", twice[] = "0 7 2 1000000 0 100000 100";
    long long token, other;
    char line[128];
    long long done = put_job(once, "", "done");
    assert_int_equal(take_job(&c, "TIED", &token), done);
    snprintf(line, sizeof line, "WEFT.JOB.DONE jobs %lld %lld result", done, token);
    says(&c, line, ":1\r\n");
    long long dead = put_job(once, "", "dead");
    assert_int_equal(take_job(&c, "TIED", &token), dead);
    long long runs = put_job(twice, "key", "runs");
    assert_int_equal(take_job(&c, "FREE", &token), runs);
    long long back = put_job(twice, "", "back");
    assert_int_equal(take_job(&c, "TIED", &other), back);
    long long late = put_job("100000 0 0 0 0 0 100", "", "late");
    long long waits = put_job("0 9 0 0 0 0 100", "", "waits");
    says(&c, "WEFT.JOB.PAUSE jobs 1", ":1\r\n");
    restart();
    assert_int_equal(job_field(done, STATE), 4);
    assert_non_null(strstr(job_now(done), "$6\r\nresult\r\n"));
    assert_int_equal(job_field(dead, STATE), 5);
    assert_non_null(strstr(job_now(dead), "the connection ended"));
    assert_int_equal(job_field(runs, STATE), 3);
    assert_int_equal(job_field(runs, TOKEN), token);
    assert_int_equal(job_field(runs, PRIORITY), 7);
    assert_int_equal(job_field(runs, RETRIES), 2);
    assert_int_equal(job_field(back, STATE), 1);
    assert_int_equal(job_field(back, TRIES), 1);
    assert_int_equal(job_field(late, STATE), 2);
    assert_int_equal(job_field(waits, STATE), 1);
    assert_int_equal(put_job(twice, "key", "again"), -runs); // its key is known
    says(&c, "WEFT.JOB.TAKE jobs 0 100000 FREE me", "$-1\r\n");
    says(&c, "WEFT.JOB.PAUSE jobs 0", ":0\r\n");
    assert_int_equal(take_job(&c, "FREE", &other), waits);
    assert_true(other > token);
    assert_int_equal(take_job(&c, "FREE", &other), back);
    snprintf(line, sizeof line, "WEFT.JOB.DONE jobs %lld %lld result", runs, token);
    says(&c, line, ":1\r\n"); // its lease outlived the server
}

// What is on its way to a getter, and units that are held, are in one that is written meanwhile as
// if their connections had ended.
SAVED_CASE(test_what_is_held_is_not_lost)
{
    char kept[160];
    snprintf(kept, sizeof kept, "%s.kept", path);
    for (const char *line : {"WEFT.PUT q 0 0 a", "WEFT.PUT q 0 0 b"})
        says(&c, line, ":1\r\n");
    says(&c, "WEFT.SEMAPHORE s 2", ":2\r\n");
    raw getter = open_one();
    says(&getter, "WEFT.ACQUIRE s 0", ":1\r\n");
    says(&getter, "WEFT.GET q 0", "$1\r\na\r\n");
    says(&c, "SAVE", "+OK\r\n");
    says(&c, "LLEN q", ":1\r\n");
    assert_int_equal(link(path, kept), 0);
    raw_close(&getter);
    stop_server();
    assert_int_equal(rename(kept, path), 0);
    start(&o);
    says(&c, "LRANGE q 0 -1", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    says(&c, "WEFT.UNITS s", ":2\r\n");
    for (const char *line : {"WEFT.GET q 0", "WEFT.GET q 0"})
        assert_int_equal(ask(&c, line)[0], '$');
    says(&c, "WEFT.DONE q", ":1\r\n");
    says(&c, "WEFT.DONE q", ":0\r\n");
}

SAVED_CASE(test_commands)
{
    long long last = ask_number(&c, "LASTSAVE");
    assert_true(last > 1000000000);
    says(&c, "SET k v", "+OK\r\n");
    says(&c, "BGSAVE", "+Background saving started\r\n");
    says(&c, "BGSAVE x", "-ERR syntax error\r\n");
    says(&c, "SAVE x", "-ERR wrong number of arguments for 'save' command\r\n");
    for (weft_deadline d = in_time(); weft_left(d) > 0; usleep(1000))
        if (field_number(ask(&c, "INFO persistence"), "rdb_bgsave_in_progress:") == 0)
            break;
    const char *r = ask(&c, "INFO persistence");
    assert_non_null(strstr(r, "rdb_last_bgsave_status:ok\r\n"));
    assert_true(field_number(r, "rdb_last_save_time:") >= last);
    assert_int_equal(access(path, R_OK), 0);
    // Killed: what was written stays.
    says(&c, "SET k other", "+OK\r\n");
    kill(weft_manager_pid(manager), SIGKILL);
    restart();
    says(&c, "GET k", "$1\r\nv\r\n");
    says(&c, "SHUTDOWN NOSAVE x", "-ERR syntax error\r\n");
    says(&c, "SET k third", "+OK\r\n");
    raw_ask(&c, "SHUTDOWN NOSAVE");
    assert_true(is_cut(&c));
    restart();
    says(&c, "GET k", "$1\r\nv\r\n");
    says(&c, "SET k fourth", "+OK\r\n");
    raw_ask(&c, "SHUTDOWN");
    assert_true(is_cut(&c));
    restart();
    says(&c, "GET k", "$6\r\nfourth\r\n");
}

SERVER_CASE(test_without_a_file)
{
    static const char none[] = "-ERR there is no file to save to: the server was not given one\r\n";
    says(&c, "SAVE", none);
    says(&c, "BGSAVE", none);
    says(&c, "SHUTDOWN SAVE", "-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    assert_true(ask_number(&c, "LASTSAVE") > 0);
}

// Many clients say SAVE at once: one writes, the others are told so; none hangs.
SAVED_CASE(test_save_twice)
{
    raw other = open_one();
    for (int i = 0; i < 20; i++) {
        raw_ask(&c, "SAVE");
        raw_ask(&other, "SAVE");
        const char *a = reply(&c), *b = reply(&other);
        assert_true(strcmp(a, "+OK\r\n") == 0 || strcmp(b, "+OK\r\n") == 0);
    }
    // One that leaves does not end it.
    raw_ask(&other, "SAVE");
    raw_close(&other);
    says(&c, "PING", "+PONG\r\n");
}

// ---- Damage ----

static char *file;
static size_t file_size;

static void read_file(void)
{
    struct stat s;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &s), 0);
    file_size = (size_t)s.st_size;
    file = (char *)malloc(file_size + 1);
    assert_int_equal(fread(file, 1, file_size, f), file_size);
    fclose(f);
}

static void write_file(const char *data, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void is_refused(size_t n)
{
    char now[4096];
    write_file(file, n);
    assert_null(weft_manager_start(address_in_folder("weft"), &o));
    assert_int_equal(errno, EBADMSG);
    FILE *f = fopen(path, "r");
    assert_int_equal(fread(now, 1, sizeof now, f), n);
    fclose(f);
    assert_memory_equal(now, file, n);
}

CASE(test_damage_is_refused)
{
    open_saved();
    for (const char *line : {"SET k v PX 1000000", "RPUSH l a", "HSET h f v", "SADD s m",
                             "WEFT.PUT q 0 0 x", "WEFT.SEMAPHORE s 1"})
        ask(&c, line);
    stop_server();
    read_file();
    assert_true(file_size < 800);
    for (size_t n = 0; n < file_size; n++)
        is_refused(n);
    for (size_t at = 0; at < file_size; at++) {
        file[at] ^= (char)(1 << at % 8);
        is_refused(file_size);
        file[at] ^= (char)(1 << at % 8);
    }
    file[file_size] = 0; // one too many
    is_refused(file_size + 1);
    write_file(file, file_size);
    start(&o);
    says(&c, "GET k", "$1\r\nv\r\n");
    close_saved();
    free(file);
}

// `to` is put `at` bytes behind what begins with `mark`, and the sum is right again.
static void is_impossible(const char *mark, size_t n, size_t at, uint64_t to, size_t bytes)
{
    char *before = (char *)malloc(file_size), *p = (char *)memmem(file, file_size, mark, n);
    assert_non_null(p);
    memcpy(before, file, file_size);
    memcpy(p + at, &to, bytes);
    uint64_t sum = weft::crc(0, file, file_size - 8);
    memcpy(file + file_size - 8, &sum, 8);
    is_refused(file_size);
    memcpy(file, before, file_size);
    free(before);
}

CASE(test_impossible_is_refused)
{
    enum { QUEUE_CLOSED = 3 + 8 + 8, JOB_NUMBERS = 3 };
    open_saved();
    for (const char *line :
         {"WEFT.CLOSE q DRAIN", "WEFT.SEMAPHORE s 1", "WEFT.JOB.PUT j 0 0 0 0 0 0 1 k v"})
        ask(&c, line);
    stop_server();
    read_file();
    is_impossible("Pl\0", 3, QUEUE_CLOSED, 3, 4);
    is_impossible("Pl\0", 3, QUEUE_CLOSED, UINT32_MAX, 4);
    is_impossible("Ps\0", 3, QUEUE_CLOSED, 1, 4);
    is_impossible("Ps\0", 3, 3, INT64_MAX, 8);
    for (size_t i : {0u, 1u, 3u, 4u, 6u, 7u, 8u}) // id, token, tries, retries; limit, backoff, keep
        is_impossible("J\1\0", 3, JOB_NUMBERS + 8 * i, INT64_MAX, 8);
    write_file(file, file_size);
    start(&o);
    close_saved();
    free(file);
}

CASE(test_what_is_no_file)
{
    open_saved();
    stop_server();
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_errno(weft_manager_start(address_in_folder("weft"), &o), EISDIR);
    rmdir(path);
    o.save = "/nowhere/at/all";
    assert_errno(weft_manager_start(address_in_folder("weft"), &o), ENOENT);
    o.save = "/tmp/";
    assert_errno(weft_manager_start(address_in_folder("weft"), &o), EISDIR);
}

// No room: the old file is whole, who asked is told, and the server goes on.
CASE(test_full_disk)
{
    struct rlimit before, small = {100000, 0};
    open_saved();
    says(&c, "SET k v", "+OK\r\n");
    stop_server();
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    signal(SIGXFSZ, SIG_IGN);
    start(&o);
    setrlimit(RLIMIT_FSIZE, &before);
    says(&c, "GET k", "$1\r\nv\r\n");
    set_big(1000000);
    const char *r = ask(&c, "SAVE");
    assert_int_equal(strncmp(r, "-ERR ", 5), 0);
    assert_non_null(strstr(r, "not saved: "));
    assert_non_null(strstr(ask(&c, "INFO persistence"), "rdb_last_bgsave_status:err\r\n"));
    says(&c, "SHUTDOWN", "-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    says(&c, "GET k", "$1\r\nv\r\n");
    stop_server();
    start(&o);
    says(&c, "DBSIZE", ":1\r\n");
    says(&c, "GET k", "$1\r\nv\r\n");
    close_saved();
}

// Nobody waits for who writes: the server answers, and its end ends that as well.
SAVED_CASE(test_end_while_it_is_written)
{
    char line[32];
    for (int i = 0; i < 10; i++) {
        snprintf(line, sizeof line, "SELECT %d", i);
        says(&c, line, "+OK\r\n");
        set_big(1000000);
    }
    for (const char *end : {"", "SHUTDOWN"}) {
        says(&c, "BGSAVE", "+Background saving started\r\n");
        says(&c, "PING", "+PONG\r\n");
        if (*end != 0) {
            raw_ask(&c, end);
            assert_true(is_cut(&c));
        }
        restart();
        for (int i = 0; i < 10; i++) {
            snprintf(line, sizeof line, "SELECT %d", i);
            says(&c, line, "+OK\r\n");
            says(&c, "STRLEN big", ":1000000\r\n");
        }
    }
}

RUN_SERVER_CASES()
