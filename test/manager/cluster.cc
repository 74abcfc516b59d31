// A client of a cluster of three Redis: it learns who has what, and keeps a connection to each.
#include "../async/inside.h"
#include "redis_nodes.h"

#include <weft/remote_jobs.h>

enum { NODES = 3, THINGS = 60, SLOTS = 16384 };

static redis all[NODES];
static char address[64]; // the first one's
static weft_client *c;
static int case_number;

static void say(const redis *r, const char *const words[], size_t n)
{
    weft_reply *reply = weft_client_command(r->client, n, words, nullptr, soon());
    assert_non_null(reply);
    if (reply->type == WEFT_REPLY_ERROR)
        fail_msg("%s %s: %s", words[0], words[1], reply->text);
    weft_reply_free(reply);
}

#define SAY(r, ...)                                                                                \
    do {                                                                                           \
        const char *const words[] = {__VA_ARGS__};                                                 \
        say(r, words, sizeof words / sizeof *words);                                               \
    } while (0)

static void give_slots(int i)
{
    char first[8], last[8], epoch[8];
    snprintf(first, sizeof first, "%d", SLOTS * i / NODES);
    snprintf(last, sizeof last, "%d", SLOTS * (i + 1) / NODES - 1);
    snprintf(epoch, sizeof epoch, "%d", i + 1);
    SAY(&all[i], "CLUSTER", "SET-CONFIG-EPOCH", epoch);
    SAY(&all[i], "CLUSTER", "ADDSLOTSRANGE", first, last);
}

static int begin_cluster(void **)
{
    census_begin(nullptr);
    if (!has_redis())
        return 0;
    begin_nodes(all, NODES, true);
    for (int i = 0; i < NODES; i++) {
        give_slots(i);
        if (i > 0)
            SAY(&all[0], "CLUSTER", "MEET", "127.0.0.1", all[i].port, all[i].bus);
    }
    for (redis &each : all) {
        until_it_says(&each, "CLUSTER", "INFO", "cluster_slots_assigned:16384");
        until_it_says(&each, "CLUSTER", "INFO", "cluster_state:ok");
    }
    snprintf(address, sizeof address, "tcp:127.0.0.1:%s", all[0].port);
    return 0;
}

static int end_cluster(void **)
{
    if (has_redis())
        end_nodes(all, NODES);
    return census_end(nullptr);
}

// One client, which knows its own address only, and names that were not used before.
static void with_client(void (*body)(void))
{
    if (!has_redis())
        skip();
    case_number++;
    c = weft_client_connect(address, nullptr, soon());
    assert_non_null(c);
    body();
    assert_int_equal(weft_client_destroy(c), 0);
}

static void name_value(char name[32], int i)
{
    snprintf(name, 32, "value %d of %d", i, case_number);
}

// A number that it knows by name, as text; to be freed.
static char *ask(const redis *r, const char *which, const char *value)
{
    const char *const words[] = {"CLUSTER", which, value};
    weft_reply *reply =
        weft_client_command(r->client, value != nullptr ? 3 : 2, words, nullptr, soon());
    char *text = nullptr;
    assert_non_null(reply);
    if (reply->type == WEFT_REPLY_INTEGER)
        assert_true(asprintf(&text, "%lld", (long long)reply->integer) > 0);
    else
        text = strdup(reply->text);
    weft_reply_free(reply);
    return text;
}

// Which of them has the slot at first.
static int node_of(const char *slot)
{
    return (atoi(slot) * NODES + NODES - 1) / SLOTS;
}

// How many connections all of them have been made, those to `all` too.
static int64_t connections(void)
{
    static const char *const words[] = {"INFO", "stats"};
    int64_t n = 0;
    for (redis &each : all) {
        weft_reply *r = weft_client_command(each.client, 2, words, nullptr, soon());
        const char *at = strstr(r->text, "total_connections_received:");
        assert_non_null(at);
        n += atoll(strchr(at, ':') + 1);
        weft_reply_free(r);
    }
    return n;
}

// Adds 1 to each of many values, which all three have: whether they are so much then.
static bool each_becomes(int64_t number)
{
    bool well = true;
    for (int i = 0; i < THINGS; i++) {
        char name[32];
        int64_t n = 0;
        name_value(name, i);
        weft_remote_value *v = weft_remote_value_open(c, name);
        well = well && weft_remote_value_add(v, 1, &n, soon()) == 0 && n == number;
        weft_remote_destroy(v);
    }
    return well;
}

// One connection more to each; once it is known where things are, nobody sends it on.
CASE_IN(test_cluster_map, with_client)
{
    int64_t before = connections();
    for (int64_t i = 1; i <= 4; i++)
        assert_true(each_becomes(i));
    assert_in_range(connections() - before, 2, NODES);
    // What comes by hand is sent on, and needs no connecting either.
    for (int i = 0; i < THINGS; i++) {
        char name[32];
        const char *const words[] = {"GET", name};
        name_value(name, i);
        weft_reply *r = weft_client_command(c, 2, words, nullptr, soon());
        assert_non_null(r);
        assert_string_equal(r->text, "4");
        weft_reply_free(r);
    }
    assert_in_range(connections() - before, 2, NODES);
}

// Connections that end while another one is in use are made again.
CASE_IN(test_cluster_cut, with_client)
{
    assert_true(each_becomes(1));
    for (int i = 0; i < NODES; i++) {
        SAY(&all[i], "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
        assert_true(each_becomes(i + 2));
    }
}

static int add_in_child(void *)
{
    return each_becomes(2) ? 0 : 1;
}

// A child has connections of its own, to all of them, and leaves its parent's alone.
CASE_IN(test_cluster_fork, with_client)
{
    assert_true(each_becomes(1));
    int64_t before = connections();
    assert_int_equal(end_of(child_of(add_in_child, nullptr)), 0);
    int64_t made = connections() - before;
    assert_int_equal(made, NODES);
    assert_true(each_becomes(3));
    assert_int_equal(connections() - before, made);
}

CASE_IN(test_cluster_tasklet, with_client)
{
    assert_true(each_becomes(1));
    int64_t before = connections();
    inside([] { assert_true(each_becomes(2)); });
    assert_true(each_becomes(3));
    assert_int_equal(connections() - before, 0);
}

// What is a script there, of more than one key.
CASE_IN(test_cluster_scripts, with_client)
{
    for (int i = 0; i < 12; i++) {
        char name[16];
        int64_t id;
        snprintf(name, sizeof name, i % 3 == 0 ? "a {thing %d}" : "thing %d", i);
        weft_remote_lock *l = weft_remote_lock_open(c, name, 0);
        weft_remote_semaphore *s = weft_remote_semaphore_open(c, name, 1, soon());
        weft_remote_jobs *q = weft_remote_jobs_open(c, name, nullptr);
        assert_int_equal(weft_remote_lock_lock(l, nullptr, soon()), 0);
        assert_int_equal(weft_remote_semaphore_wait(s, soon()), 0);
        assert_null(weft_remote_jobs_take(q, weft_in_ms(300))); // blocked meanwhile
        assert_int_equal(weft_remote_jobs_put(q, name, strlen(name), nullptr, &id, soon()), 0);
        weft_remote_job *j = weft_remote_jobs_take(q, soon());
        assert_non_null(j);
        assert_string_equal(j->value, name);
        assert_int_equal(weft_remote_jobs_done(q, id, j->token, nullptr, 0, soon()), 0);
        weft_remote_job_free(j);
        assert_int_equal(weft_remote_semaphore_post(s, soon()), 0);
        assert_int_equal(weft_remote_lock_unlock(l, soon()), 0);
        weft_remote_destroy(l);
        weft_remote_destroy(s);
        weft_remote_destroy(q);
    }
}

// A slot moves: what is not there any more is asked for elsewhere, then all of it is.
CASE_IN(test_cluster_slot_moves, with_client)
{
    char *slot = ask(&all[0], "KEYSLOT", "moves");
    int from = node_of(slot), to = (from + 1) % NODES;
    char *from_id = ask(&all[from], "MYID", nullptr), *to_id = ask(&all[to], "MYID", nullptr);
    weft_remote_value *v = weft_remote_value_open(c, "moves");
    int64_t n = 0;
    assert_true(each_becomes(1));
    SAY(&all[to], "CLUSTER", "SETSLOT", slot, "IMPORTING", from_id);
    SAY(&all[from], "CLUSTER", "SETSLOT", slot, "MIGRATING", to_id);
    int64_t before = connections();
    for (int64_t i = 1; i <= 3; i++) {
        assert_int_equal(weft_remote_value_add(v, 1, &n, soon()), 0); // where it is not yet
        assert_int_equal(n, i);
        assert_true(each_becomes(1 + i));
    }
    SAY(&all[to], "CLUSTER", "SETSLOT", slot, "NODE", to_id);
    SAY(&all[from], "CLUSTER", "SETSLOT", slot, "NODE", to_id);
    assert_int_equal(weft_remote_value_add(v, 1, &n, soon()), 0);
    assert_int_equal(n, 4);
    assert_true(each_becomes(5));
    assert_in_range(connections() - before, 0, 1);
    weft_remote_destroy(v);
    free(slot);
    free(from_id);
    free(to_id);
}

// Adds 1 to a value that is new: which server has it, and what came of that.
static int add_anew(int i, weft_deadline d, int *result)
{
    char name[32];
    name_value(name, i);
    char *slot = ask(&all[1], "KEYSLOT", name);
    weft_remote_value *v = weft_remote_value_open(c, name);
    *result = weft_remote_value_add(v, 1, nullptr, d);
    weft_remote_destroy(v);
    int node = node_of(slot);
    free(slot);
    return node;
}

// The last: one that is gone, and be it that which the client began at, costs its own things only.
CASE_IN(test_cluster_without_one, with_client)
{
    int result, i = 0;
    for (redis &each : all)
        SAY(&each, "CONFIG", "SET", "cluster-require-full-coverage", "no");
    bool known[NODES] = {};
    while (!known[1] || !known[2])
        known[add_anew(i++, soon(), &result)] = true;
    while (add_anew(i++, soon(), &result) != 0) // it is there now
        assert_int_equal(result, 0);
    kill_node(&all[0]);
    bool lost = false, kept = false;
    for (; !lost || !kept; i++) {
        bool its = add_anew(i, weft_in_ms(300), &result) == 0;
        assert_true(!its || result == -1);
        lost |= its;
        kept |= !its && result == 0;
    }
}

RUN_CASES(begin_cluster, end_cluster)
