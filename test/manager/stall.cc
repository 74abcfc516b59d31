// No round of the server's loop does much of the work that is done beside the commands: however
// much expires or is thrown away at once, it is spread over many rounds.
#include "inside.h"

#include <manager/server/commands.h>
#include <manager/server/job.h>
#include <manager/server/multi.h>
#include <manager/server/place.h>
#include <manager/server/topic.h>

#include <initializer_list>
#include <sys/socket.h>

using namespace weft;

enum { MANY = 400000, PART = MANY / 2 }; // a round has a millisecond: far less than that

static size_t value_size;

static entry *make(int type)
{
    word key = inside_key(0);
    peer p = {};
    p.server = &inside;
    entry *e = key_make(&p, &key, type);
    assert_non_null(e);
    for (int i = 1; i <= MANY; i++) {
        word name = inside_key(i);
        if (type == TYPE_LIST)
            list_push(entry_list(e), item_new(name.text, name.size), false);
        else
            table_add(entry_hash(e), entry_new(TYPE_STRING, name.text, name.size,
                                               hash_of(name.text, name.size), value_size));
    }
    return e;
}

// Rounds until the memory is as it was, but for `left`: each gives back no more than a part of what
// is used.
static void give_back_until(size_t before, size_t left = 200)
{
    size_t all = bytes_in_use - before, rounds = 0;
    assert_true(all > MANY * 20);
    for (size_t last = bytes_in_use; inside.works != NULL; last = bytes_in_use, rounds++) {
        inside_round();
        assert_true(last < bytes_in_use + all / 2);
    }
    assert_true(rounds > 4);
    assert_true(bytes_in_use <= before + left);
}

static void set_many(int64_t expire_at)
{
    for (int i = 0; i < MANY; i++) {
        entry **link = inside_set(i);
        if (expire_at > 0)
            key_expire_at(&inside, 0, link, expire_at);
    }
}

// The command and keys 0 to n - 1, and one more word; the memory is the caller's.
static word *key_words(int n, const char *last)
{
    enum { ROOM = 16 };
    size_t head = ((size_t)n + 2) * sizeof(word);
    word *words = (word *)malloc(head + (size_t)n * ROOM);
    assert_non_null(words);
    char *text = (char *)words + head;
    words[0] = {"", 0};
    for (int i = 0; i < n; i++, text += ROOM)
        words[1 + i] = {text, (size_t)snprintf(text, ROOM, "key:%d", i)};
    words[n + 1] = {last, strlen(last)};
    return words;
}

// A client of the server's, which replies nothing to it.
static peer *client(int *fd)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    peer_open(nullptr, pair[0], &inside);
    *fd = pair[1];
    inside.peers.previous->silent = 1;
    return inside.peers.previous;
}

static void says_to(peer *p, void (*command)(peer *p, const word *words, int n),
                    std::initializer_list<const char *> texts)
{
    word words[8];
    int n = 0;
    for (const char *text : texts)
        words[n++] = {text, strlen(text)};
    command(p, words, n);
}

static void with_large(void (*throw_away)(void))
{
    for (int type : {TYPE_LIST, TYPE_HASH, TYPE_SET}) {
        inside_open();
        inside_set(-1);
        size_t before = bytes_in_use;
        value_size = type == TYPE_HASH ? 5 : 0;
        make(type);
        throw_away();
        give_back_until(before);
        inside_close();
    }
}

CASE(test_remove)
{
    with_large([] {
        key_remove(&inside, 0, inside_find(0));
        assert_int_equal(inside.keys[0].count, 1);
    });
}

CASE(test_replace)
{
    with_large([] {
        word key = inside_key(0);
        key_set(&inside, 0, &key, "", 0, false);
        assert_int_equal((*inside_find(0))->type, TYPE_STRING);
    });
}

CASE(test_large_key_expires)
{
    with_large([] {
        key_expire_at(&inside, 0, inside_find(0), wall_ms() + 20);
        while (inside.keys[0].count == 2)
            inside_round();
    });
}

CASE(test_flush)
{
    for (int64_t expire_at : {0ll, 10000000000000ll}) {
        inside_open();
        size_t before = bytes_in_use;
        set_many(expire_at);
        key_flush(&inside, 0);
        assert_int_equal(inside.keys[0].count, 0);
        give_back_until(before);
        inside_close();
    }
}

// Who has just said something, for the first time in long, has a reply that has not gone yet when
// those are looked for who do not read.
CASE(test_a_new_reply_is_no_stall)
{
    int pair[2];
    char reply[16] = "";
    inside_open();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    peer_open(nullptr, pair[0], &inside);
    inside.peers.next->moved = weft_now() - 2 * inside.o.stall_ns;
    seconds_begin(&inside);
    weft_alarm_set(&inside.second, WEFT_NOW);
    assert_int_equal(write(pair[1], "PING\r\n", 6), 6);
    while (read(pair[1], reply, sizeof reply) != 7 && inside.count > 0)
        inside_round();
    assert_string_equal(reply, "+PONG\r\n");
    assert_int_equal(inside.count, 1);
    close(pair[1]);
    inside_close();
}

CASE(test_expire_together)
{
    inside_open();
    int64_t at = wall_ms() + 100;
    set_many(at);
    while (wall_ms() < at)
        usleep(1000);
    size_t last = inside.keys[0].count, rounds = 0;
    for (; inside.keys[0].count > 0; last = inside.keys[0].count, rounds++) {
        inside_round();
        assert_true(last - inside.keys[0].count < PART);
    }
    assert_true(rounds > 4);
    assert_int_equal(inside.expired, MANY);
    inside_close();
}

// The locks of one that has gone, and those that a flush forgets.
CASE(test_holds_and_places)
{
    inside_open();
    peer *p = (peer *)memory_take_zeroed(1, sizeof *p);
    p->server = &inside;
    list_init(&p->holds);
    for (int i = 0; i < MANY; i++) {
        word name = inside_key(i);
        hold_add(p, place_find(&inside, AT_LOCK, 0, name.text, name.size, true));
        place_find(&inside, AT_EVENT, 0, name.text, name.size, true)->closed = 1;
    }
    inside.locks = MANY;
    assert_false(holds_release(p)); // it is freed with the last
    size_t last = MANY, rounds = 0;
    for (; inside.locks > 0; last = inside.locks, rounds++) {
        inside_round();
        assert_true(last - inside.locks < PART);
    }
    assert_true(rounds > 4);
    assert_int_equal(inside.places.count, MANY);
    places_flush(&inside, -1);
    for (last = MANY, rounds = 0; inside.places.count > 0; last = inside.places.count, rounds++) {
        inside_round();
        assert_true(last - inside.places.count < PART);
    }
    assert_true(rounds > 4);
    inside_close();
}

// Nothing is given back at once of a list of which a large part goes, but what is left is right.
CASE(test_parts_of_lists)
{
    for (int which = 0; which < 4; which++) {
        inside_open();
        peer p = {};
        p.server = &inside;
        p.silent = 1;
        size_t before = bytes_in_use;
        item_list *l = entry_list(make(TYPE_LIST));
        const list_item *first = *list_item_at(l, 0), *kept = first;
        size_t all = bytes_in_use;
        if (which == 0) {
            says_to(&p, command_ltrim, {"ltrim", "key:0", "0", "0"});
        } else if (which == 1) {
            says_to(&p, command_rpop, {"rpop", "key:0", "399999"});
        } else if (which == 2) {
            kept = *list_item_at(l, MANY - 1);
            says_to(&p, command_lpop, {"lpop", "key:0", "399999"});
        } else {
            for (size_t i = 1; i < MANY; i++)
                memcpy((*list_item_at(l, i))->text, "key:2", 5), (*list_item_at(l, i))->size = 5;
            says_to(&p, command_lrem, {"lrem", "key:0", "0", "key:2"});
        }
        assert_int_equal(l->count, 1);
        assert_ptr_equal(*list_item_at(l, 0), kept);
        assert_true(bytes_in_use > all - (all - before) / 8);
        give_back_until(before, 1000);
        inside_close();
    }
}

// Nor at once of many members, fields and keys, however they are named.
CASE(test_parts_of_tables)
{
    for (int which = 0; which < 4; which++) {
        inside_open();
        word *words = key_words(MANY, "key:0");
        peer p = {};
        p.server = &inside;
        p.silent = 1;
        server_tidy(&inside);
        if (which == 3)
            set_many(0);
        else
            make(which == 2 ? TYPE_HASH : TYPE_SET);
        uint64_t steps = inside.steps;
        words[1] = {"key:0", 5};
        if (which == 0)
            says_to(&p, command_spop, {"spop", "key:0", "399999"});
        else if (which == 1)
            command_srem(&p, words, MANY + 1);
        else if (which == 2)
            command_hdel(&p, words, MANY + 1);
        else
            command_del(&p, words, MANY + 1);
        assert_true(inside.keys[0].count <= 1);
        while (inside.works != NULL)
            inside_round();
        assert_true(inside.steps - steps > MANY / 64);
        free(words);
        inside_close();
    }
}

// A large piece of memory is given back in pieces, too, whosever it was.
CASE(test_large_pieces)
{
    const size_t size = 100 << 20, pieces = (size >> 18) - 1;
    for (int which = 0; which < 3; which++) {
        inside_open();
        word key = inside_key(0);
        char *text = (char *)calloc(size, 1);
        if (which == 0) {
            memory_drop(memory_take(size));
        } else {
            key_set(&inside, 0, &key, text, size, false);
            key_expire_at(&inside, 0, inside_find(0), wall_ms() + 1000000);
            if (which == 1)
                key_set(&inside, 0, &key, "few", 3, true);
            else
                key_remove(&inside, 0, inside_find(0));
        }
        free(text);
        uint64_t steps = inside.steps;
        assert_int_equal(bytes_in_use > size, which == 2); // of a key it is counted
        while (inside.works != NULL)
            inside_round();
        assert_true(inside.steps - steps >= pieces);
        assert_true(bytes_in_use < size / 10);
        assert_int_equal(inside.expiring[0], which == 1);
        inside_close();
    }
}

// Who has asked for many channels and patterns, and goes, is not counted any more at once.
CASE(test_subscriptions)
{
    inside_open();
    word few = {"key:1", 5};
    peer p = {}, other = {};
    p.server = other.server = &inside;
    for (bool pattern : {false, true}) {
        table *in = pattern ? &inside.patterns : &inside.channels;
        topic_join(in, pattern ? &other.patterns : &other.channels, &other, &few);
        size_t before = bytes_in_use;
        for (int i = 0; i < MANY; i++) {
            word name = inside_key(i);
            topic_join(in, pattern ? &p.patterns : &p.channels, &p, &name);
        }
        const topic *t = topic_find(in, few.text, few.size);
        size_t all = bytes_in_use;
        assert_int_equal(topic_peers(&inside, t), 2);
        assert_int_equal(topics_in(&inside, in), MANY);
        subscriptions_end(&p);
        assert_true(bytes_in_use >= all);
        assert_int_equal(subscriptions(&p), 0);
        assert_int_equal(topic_peers(&inside, t), 1);
        assert_int_equal(topics_in(&inside, in), 1);
        assert_true(topic_join(in, pattern ? &p.patterns : &p.channels, &p, &few)); // anew
        assert_int_equal(topic_peers(&inside, t), 2);
        subscriptions_end(&p);
        give_back_until(before, 4096);
        assert_int_equal(topics_in(&inside, in), 1);
    }
    subscriptions_end(&other);
    inside_close();
}

// Who watches many keys watches none of them at once, and may watch them again.
CASE(test_watched_keys)
{
    int fds[2];
    inside_open();
    peer *p = client(&fds[0]), *other = client(&fds[1]);
    word *words = key_words(MANY, "");
    inside_set(3);
    command_watch(other, words, 3);     // 0, 1
    command_watch(other, &words[3], 2); // 3
    size_t before = bytes_in_use;
    for (int which = 0; which < 4; which++) {
        command_watch(p, words, MANY + 1);
        assert_int_equal(inside.watches, MANY + 3);
        size_t all = bytes_in_use;
        if (which == 0) {
            command_unwatch(p, words, 1);
        } else if (which == 1) {
            says_to(p, command_multi, {"multi"});
            says_to(p, command_discard, {"discard"});
        } else if (which == 2) {
            inside_set(10);
            assert_true(p->touched);
        } else {
            p->ending = true;
            peer_dirty(p);
            server_tidy(&inside);
        }
        assert_int_equal(inside.watches, 3);
        assert_true(bytes_in_use > all - 10000);
        assert_false(other->touched);
        if (which < 3) {
            transaction_end(p);
            command_watch(p, &words[5], 2); // 5
            inside_set(6);
            assert_false(p->touched);
            inside_set(5);
            assert_true(p->touched);
            transaction_end(p);
        }
        give_back_until(before, 8192);
    }
    inside_set(2);
    assert_false(other->touched);
    key_flush(&inside, 0); // key 3 was there
    assert_true(other->touched);
    close(fds[0]);
    close(fds[1]);
    free(words);
    inside_close();
}

// The jobs of one that has gone, and those of a queue that is removed.
CASE(test_jobs)
{
    enum { JOBS = MANY / 4 };
    int fd;
    inside_open();
    peer *p = client(&fd);
    word name = {"q", 1}, none = {"", 0};
    job_queue *q = jobs_open(&inside, &name);
    size_t before = bytes_in_use;
    for (int i = 0; i < JOBS; i++) {
        job *j = job_new(q, &name, &none);
        j->retries = 1;
        job_lease(j, p, 1000000000 - i, true); // each is due before all others
    }
    p->ending = true;
    peer_dirty(p);
    server_tidy(&inside);
    const size_t *left = &q->counts[WEFT_JOB_RUNNING];
    for (size_t last = JOBS; *left > 0; last = *left) {
        inside_round();
        assert_true(last - *left < JOBS / 2);
    }
    assert_int_equal(q->counts[WEFT_JOB_WAITING], JOBS);
    jobs_remove(&inside, place_find(&inside, AT_JOBS, 0, "q", 1, false));
    size_t all = bytes_in_use - before, rounds = 0;
    for (size_t last = bytes_in_use; inside.works != NULL; last = bytes_in_use, rounds++) {
        inside_round();
        assert_true(last < bytes_in_use + all / 2);
    }
    assert_true(rounds > 4);
    assert_true(bytes_in_use < before + 1000);
    close(fd);
    inside_close();
}

// Who waits for many lists waits for none of them at once.
CASE(test_waits)
{
    int fds[2];
    inside_open();
    peer *p = client(&fds[0]), *other = client(&fds[1]);
    word *words = key_words(MANY, "0");
    size_t before = bytes_in_use;
    for (bool ends : {false, true}) {
        command_blpop(p, words, MANY + 2);
        word few[] = {words[0], words[1], words[MANY + 1]};
        command_blpop(other, few, 3); // the second one that waits for key 0
        assert_int_equal(inside.waiting, 2);
        size_t all = bytes_in_use;
        if (ends) {
            p->ending = true;
            peer_dirty(p);
            server_tidy(&inside);
        } else {
            wait_end(p->wait);
        }
        assert_int_equal(inside.waiting, 1);
        assert_true(bytes_in_use > all - 10000);
        says_to(other, command_rpush, {"rpush", "key:0", "x"});
        places_serve(&inside);
        assert_int_equal(inside.waiting, 0);
        assert_null(inside_find(0));
        lease_done(other);
        size_t last = inside.places.count, rounds = 0;
        for (; inside.works != NULL; last = inside.places.count, rounds++) {
            inside_round();
            assert_true(last - inside.places.count < PART);
        }
        assert_true(rounds > 4);
        assert_int_equal(inside.places.count, 0);
        assert_true(bytes_in_use < before + 8192);
    }
    close(fds[0]);
    close(fds[1]);
    free(words);
    inside_close();
}

// Nor is it all done where no memory is to be had but that: only as much as is needed.
CASE(test_drop_until)
{
    inside_open();
    set_many(0);
    size_t all = bytes_in_use;
    key_flush(&inside, 0);
    assert_true(drop_until(&inside, all / 2));
    assert_in_range(bytes_in_use, all / 2 - all / 10, all / 2);
    assert_true(drop_until(&inside, SIZE_MAX));
    assert_false(drop_until(&inside, 0));
    inside_close();
}

// The end does not leave what has not been done yet.
CASE(test_end)
{
    inside_open();
    set_many(wall_ms() + 1);
    make(TYPE_HASH);
    key_flush(&inside, 0);
    inside_close();
}

RUN_CASES()
