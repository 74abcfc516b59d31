// Proxies as text, and commands as they are, on both servers.
#include "servers.h"

#include <sys/stat.h>

static weft_remote *open_kind(weft_client *c, int kind)
{
    static const char name[] = "a name: %41@/\xc3\xa4";
    switch (kind) {
    case 0:
        return weft_remote_queue_open(c, name, 12);
    case 1:
        return weft_remote_lock_open(c, name, WEFT_RECURSIVE);
    case 2:
        return weft_remote_semaphore_open(c, name, 3, soon());
    case 3:
        return weft_remote_event_open(c, name);
    case 4:
        return weft_remote_barrier_open(c, name, 2);
    case 5:
        return weft_remote_value_open(c, "number");
    case 6:
        return weft_remote_dict_open(c, "dict");
    case 7:
        return weft_remote_list_open(c, "list");
    default:
        return weft_remote_namespace_open(c, "dict");
    }
}

CASE(test_text_opens_the_same)
{
    weft_client *c = client_of(&here);
    for (int kind = 0; kind < 9; kind++) {
        char text[256], again[256];
        weft_remote *r = open_kind(c, kind);
        assert_non_null(r);
        assert_ptr_equal(weft_remote_client(r), c);
        ssize_t n = weft_remote_text(r, text, sizeof text);
        assert_int_equal(n, strlen(text));
        errno = 77;
        weft_remote *s = weft_remote_open(text, here.password, soon());
        assert_non_null(s);
        assert_int_equal(errno, 77);
        assert_ptr_not_equal(weft_remote_client(s), c);
        weft_remote_text(s, again, sizeof again);
        assert_string_equal(text, again);
        assert_int_equal(weft_remote_destroy(s), 0);
        weft_remote_destroy(r);
    }
    weft_client_destroy(c);
}

CASE(test_text_is_the_same_thing)
{
    char text[256], got[8] = "";
    weft_remote_queue *q = weft_remote_queue_open(client_of(&here), "odd name", 1);
    weft_remote_text(q, text, sizeof text);
    weft_remote_queue *same = weft_remote_open(text, nullptr, soon());
    assert_int_equal(weft_remote_queue_put(q, "hello", 5, soon()), 0);
    assert_errno(weft_remote_queue_put(same, "x", 1, WEFT_NOW), ETIMEDOUT); // the capacity too
    assert_int_equal(weft_remote_queue_get(same, got, sizeof got, soon()), 5);
    assert_string_equal(got, "hello");
    weft_remote_destroy(same);
    done_with(q);
}

CASE(test_text_room)
{
    char text[256], little[8];
    weft_remote_event *e = weft_remote_event_open(client_of(&here), "event");
    ssize_t n = weft_remote_text(e, text, sizeof text);
    assert_int_equal(weft_remote_text(e, nullptr, 0), n);
    assert_int_equal(weft_remote_text(e, little, sizeof little), n);
    assert_string_equal(little, "event:0");
    assert_errno(weft_remote_text(nullptr, text, sizeof text), EINVAL);
    assert_errno(weft_remote_text(e, nullptr, 1), EINVAL);
    assert_errno(weft_remote_client(nullptr), EINVAL);
    done_with(e);
}

CASE(test_open_refuses)
{
    static const char *const bad[] = {
        "",
        "queue",
        "queue:1",
        "queue:1:name",
        "queue:x:name@",
        "q:1:n@",
        "queue:-1:n@",
        "queue:1:@",
        "queue:1:%4@",
        "queue:1:%zz@",
        "queue:@",
        "lock:77:n@",
        "barrier:0:n@",
        "queue:1:%00@",
        "queue:99999999999999999999:n@",
        "semaphore:4294967296:n@",
        "barrier:4294967296:n@",
    };
    char text[256];
    assert_errno(weft_remote_open(nullptr, nullptr, soon()), EINVAL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "%s%s", bad[i], here.address);
        assert_errno(weft_remote_open(text, nullptr, soon()), EINVAL);
    }
    assert_errno(weft_remote_open("queue:1:n@unix:/nonexistent/x", nullptr, soon()), ENOENT);
    assert_errno(weft_remote_open("queue:1:n@somewhere", nullptr, soon()), EINVAL);
}

// A path that was relative is not, in the text: who opens it may be elsewhere.
CASE(test_text_of_a_relative_address)
{
    char text[256], was[256], path[256];
    assert_non_null(getcwd(was, sizeof was));
    assert_int_equal(chdir(here.folder), 0);
    weft_client *c = weft_client_connect("unix:socket", nullptr, soon());
    assert_int_equal(chdir(was), 0);
    assert_non_null(c);
    weft_remote_event *e = weft_remote_event_open(c, "event");
    weft_remote_text(e, text, sizeof text);
    snprintf(path, sizeof path, "event:0:event@%s", here.address);
    assert_string_equal(text, path);
    weft_remote_destroy(e);
    weft_client_destroy(c);
}

// Also one that is as long as a path may be.
CASE(test_text_of_a_long_address)
{
    char was[256], folder[106], text[256];
    server mine = {};
    mine.kind = here.kind;
    strcpy(mine.folder, "/tmp/weft-test-XXXXXX");
    assert_non_null(mkdtemp(mine.folder));
    memset(folder, 'x', sizeof folder - 1); // with "/s" behind it 107 bytes
    folder[sizeof folder - 1] = 0;
    memcpy(folder, mine.folder, strlen(mine.folder));
    folder[strlen(mine.folder)] = '/';
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(mine.address, sizeof mine.address, "unix:%s/s", folder);
    start_server(&mine);
    assert_non_null(getcwd(was, sizeof was));
    assert_int_equal(chdir(folder), 0);
    weft_client *c = weft_client_connect("unix:s", nullptr, soon());
    assert_int_equal(chdir(was), 0);
    assert_non_null(c);
    weft_remote_event *e = weft_remote_event_open(c, "event");
    weft_remote_text(e, text, sizeof text);
    assert_string_equal(strchr(text, '@') + 1, mine.address);
    weft_remote_destroy(e);
    weft_client_destroy(c);
    kill_server(&mine);
    unlink(mine.address + 5);
    assert_int_equal(rmdir(folder), 0);
    end_server(&mine);
}

CASE(test_command_types)
{
    static const char *const hset[] = {"HSET", "types", "k", "v"},
                             *const hgetall[] = {"HGETALL", "types"},
                             *const get[] = {"GET", "none"}, *const bad[] = {"NOSUCHCOMMAND"};
    weft_client *c = client_of(&here);
    assert_int_equal(weft_client_server(c), here.kind);
    assert_int_equal(weft_client_append(c, 4, hset, nullptr), 0);
    assert_int_equal(weft_client_append(c, 2, hgetall, nullptr), 0);
    assert_int_equal(weft_client_append(c, 2, get, nullptr), 0);
    assert_int_equal(weft_client_append(c, 1, bad, nullptr), 0);
    weft_reply *r = weft_client_next(c, soon());
    assert_int_equal(r->type, WEFT_REPLY_INTEGER);
    weft_reply_free(r);
    r = weft_client_next(c, soon());
    assert_int_equal(r->type, WEFT_REPLY_MAP);
    assert_int_equal(r->size, 2);
    assert_string_equal(r->items[1].text, "v");
    weft_reply_free(r);
    r = weft_client_next(c, soon());
    assert_int_equal(r->type, WEFT_REPLY_NULL);
    weft_reply_free(r);
    r = weft_client_next(c, soon());
    assert_int_equal(r->type, WEFT_REPLY_ERROR);
    assert_true(strncmp(weft_client_error(c), "ERR unknown command", 19) == 0);
    weft_reply_free(r);
    assert_errno(weft_client_next(c, WEFT_NOW), ENOENT);
    weft_client_destroy(c);
}

RUN_ON_BOTH_SERVERS
