// No round of the server's loop does much of the work that is done beside the commands: however
// much expires or is thrown away at once, it is spread over many rounds.
#include "inside.h"

#include <manager/server/place.h>

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

// Rounds until the memory is as it was: each gives back no more than a part of what is used.
static void give_back_until(size_t before)
{
    size_t all = bytes_in_use - before, rounds = 0;
    assert_true(all > MANY * 20);
    for (size_t last = bytes_in_use; inside.works != NULL; last = bytes_in_use, rounds++) {
        inside_round();
        assert_true(last - bytes_in_use < all / 2);
    }
    assert_true(rounds > 4);
    assert_true(bytes_in_use <= before + 200);
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

static void set_many(int64_t expire_at)
{
    for (int i = 0; i < MANY; i++) {
        entry **link = inside_set(i);
        if (expire_at > 0)
            key_expire_at(&inside, 0, link, expire_at);
    }
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
