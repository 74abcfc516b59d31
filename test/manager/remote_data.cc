// Values, dicts, namespaces and lists, on both servers.
#include "../twins/peers.h"

// ---- Values ----

CASE(test_value)
{
    weft_remote_value *v = weft_remote_value_open(client_of(&here), "value");
    int64_t n = 7, was = 7;
    errno = 77;
    assert_int_equal(weft_remote_value_get(v, &n, soon()), 0);
    assert_int_equal(n, 0);
    assert_int_equal(weft_remote_value_exchange(v, 4, &was, soon()), 0);
    assert_int_equal(was, 0);
    assert_int_equal(weft_remote_value_add(v, -10, &n, soon()), 0);
    assert_int_equal(n, -6);
    assert_int_equal(weft_remote_value_add(v, 1, nullptr, soon()), 0);
    assert_int_equal(weft_remote_value_exchange(v, INT64_MIN, &was, soon()), 0);
    assert_int_equal(was, -5);
    assert_int_equal(weft_remote_value_get(v, &n, soon()), 0);
    assert_true(n == INT64_MIN);
    assert_int_equal(weft_remote_value_set(v, INT64_MAX, soon()), 0);
    assert_int_equal(errno, 77);
    assert_errno(weft_remote_value_add(v, 1, &n, soon()), EOVERFLOW);
    assert_int_equal(weft_remote_value_get(v, nullptr, soon()), 0);
    done_with(v);
}

CASE(test_value_replace)
{
    weft_remote_value *v = weft_remote_value_open(client_of(&here), "replaced");
    int64_t was = 5, n;
    errno = 77;
    assert_int_equal(weft_remote_value_replace(v, &was, 6, soon()), 0);
    assert_int_equal(was, 0);
    assert_int_equal(weft_remote_value_replace(v, &was, 6, soon()), 1);
    assert_int_equal(was, 0);
    assert_int_equal(weft_remote_value_replace(v, &was, 7, soon()), 0);
    assert_int_equal(was, 6);
    assert_int_equal(weft_remote_value_replace(v, &was, -7, soon()), 1);
    assert_int_equal(weft_remote_value_get(v, &n, soon()), 0);
    assert_int_equal(n, -7);
    assert_int_equal(errno, 77);
    assert_errno(weft_remote_value_replace(v, nullptr, 7, soon()), EINVAL);
    done_with(v);
}

CASE(test_value_of_another_kind)
{
    weft_client *c = client_of(&here);
    weft_remote_value *v = weft_remote_value_open(c, "not a number");
    int64_t n = 0;
    tell(c, "SET", "not a number", "12x");
    assert_errno(weft_remote_value_get(v, &n, soon()), EINVAL);
    assert_errno(weft_remote_value_add(v, 1, &n, soon()), EINVAL);
    assert_errno(weft_remote_value_replace(v, &n, 1, soon()), EINVAL);
    tell(c, "DEL", "not a number");
    tell(c, "RPUSH", "not a number", "1");
    assert_errno(weft_remote_value_get(v, &n, soon()), EINVAL);
    assert_errno(weft_remote_value_add(v, 1, &n, soon()), EINVAL);
    assert_errno(weft_remote_value_exchange(v, 1, &n, soon()), EINVAL);
    assert_errno(weft_remote_value_replace(v, &n, 1, soon()), EINVAL);
    weft_remote_destroy(v);
    weft_client_destroy(c);
}

static ssize_t add_a_hundred(peer *p)
{
    weft_remote_value *v = (weft_remote_value *)p->thing;
    int64_t failed = 0, was = 0;
    for (int i = 0; i < 50; i++)
        failed += weft_remote_value_add(v, 1, nullptr, soon()) != 0;
    for (int i = 0, done = 0; i < 50; i += done) {
        done = weft_remote_value_replace(v, &was, was + 1, soon());
        failed += done < 0;
        was += done;
    }
    return failed;
}

CASE(test_value_many)
{
    weft_remote_value *v = weft_remote_value_open(client_of(&here), "sum");
    peer *p[4];
    int64_t sum = 0;
    for (peer *&each : p)
        each = begin(add_a_hundred, v);
    for (peer *each : p) {
        end(each);
        assert_int_equal(each->code, 0);
    }
    assert_int_equal(weft_remote_value_get(v, &sum, soon()), 0);
    assert_int_equal(sum, 400);
    done_with(v);
}

// ---- Dicts ----

static const weft_reply *value_of(const weft_reply *items, const char *key)
{
    for (size_t i = 0; i + 1 < items->size; i += 2)
        if (strcmp(items->items[i].text, key) == 0)
            return &items->items[i + 1];
    return nullptr;
}

CASE(test_dict)
{
    weft_remote_dict *r = weft_remote_dict_open(client_of(&here), "dict");
    char got[8] = "";
    errno = 77;
    assert_int_equal(weft_remote_dict_length(r, soon()), 0);
    assert_int_equal(weft_remote_dict_set(r, "a", 1, "one", 3, soon()), 0);
    assert_int_equal(weft_remote_dict_set(r, "b\0c", 3, nullptr, 0, soon()), 0);
    assert_int_equal(weft_remote_dict_set(r, "a", 1, "once more", 9, soon()), 0);
    assert_int_equal(weft_remote_dict_get(r, "a", 1, got, 7, soon()), 9);
    assert_string_equal(got, "once mo"); // what fits
    assert_int_equal(weft_remote_dict_get(r, "a", 1, nullptr, 0, soon()), 9);
    assert_int_equal(weft_remote_dict_get(r, "b\0c", 3, got, 7, soon()), 0);
    assert_int_equal(weft_remote_dict_contains(r, "a", 1, soon()), 1);
    assert_int_equal(weft_remote_dict_contains(r, "b", 1, soon()), 0);
    assert_int_equal(weft_remote_dict_length(r, soon()), 2);
    assert_int_equal(errno, 77);
    assert_errno(weft_remote_dict_get(r, "b", 1, got, 7, soon()), ENOENT);
    assert_errno(weft_remote_dict_remove(r, "b", 1, soon()), ENOENT);
    assert_int_equal(weft_remote_dict_remove(r, "b\0c", 3, soon()), 0);
    assert_int_equal(weft_remote_dict_length(r, soon()), 1);
    assert_int_equal(weft_remote_dict_clear(r, soon()), 0);
    assert_int_equal(weft_remote_dict_length(r, soon()), 0);
    done_with(r);
}

CASE(test_dict_items)
{
    weft_remote_dict *r = weft_remote_dict_open(client_of(&here), "items");
    char text[16];
    weft_reply *all = weft_remote_dict_keys(r, soon());
    assert_int_equal(all->type, WEFT_REPLY_ARRAY);
    assert_int_equal(all->size, 0);
    weft_reply_free(all);
    for (int i = 0; i < 1000; i++) {
        sprintf(text, "%d", i);
        assert_int_equal(weft_remote_dict_set(r, text, strlen(text), &i, sizeof i, soon()), 0);
    }
    all = weft_remote_dict_keys(r, soon());
    assert_int_equal(all->size, 1000);
    weft_reply_free(all);
    all = weft_remote_dict_items(r, soon());
    assert_int_equal(all->type, WEFT_REPLY_ARRAY);
    assert_int_equal(all->size, 2000);
    for (int i = 0; i < 1000; i += 111) {
        sprintf(text, "%d", i);
        const weft_reply *v = value_of(all, text);
        assert_non_null(v);
        assert_int_equal(v->size, sizeof i);
        assert_memory_equal(v->text, &i, sizeof i);
    }
    weft_reply_free(all);
    done_with(r);
}

CASE(test_dict_refuses)
{
    weft_client *c = client_of(&here);
    weft_remote_dict *r = weft_remote_dict_open(c, "refuses");
    weft_remote_list *l = weft_remote_list_open(c, "refuses");
    assert_errno(weft_remote_dict_set(r, nullptr, 1, "x", 1, soon()), EINVAL);
    assert_errno(weft_remote_dict_set(r, "x", 1, nullptr, 1, soon()), EINVAL);
    assert_errno(weft_remote_dict_get(r, "x", 1, nullptr, 1, soon()), EINVAL);
    assert_errno(weft_remote_dict_set(nullptr, "x", 1, "x", 1, soon()), EINVAL);
    assert_errno(weft_remote_dict_set(l, "x", 1, "x", 1, soon()), EINVAL);
    assert_errno(weft_remote_dict_keys(l, soon()), EINVAL);
    assert_errno(weft_remote_namespace_set(r, "x", "x", 1, soon()), EINVAL);
    assert_int_equal(weft_remote_list_append(l, "x", 1, soon()), 1);
    assert_errno(weft_remote_dict_set(r, "x", 1, "x", 1, soon()), EINVAL);
    assert_errno(weft_remote_dict_items(r, soon()), EINVAL);
    weft_remote_destroy(r);
    weft_remote_destroy(l);
    weft_client_destroy(c);
}

CASE(test_namespace)
{
    weft_remote_namespace *r = weft_remote_namespace_open(client_of(&here), "names");
    char got[8] = "";
    assert_int_equal(weft_remote_namespace_set(r, "colour", "red", 3, soon()), 0);
    assert_int_equal(weft_remote_namespace_get(r, "colour", got, sizeof got, soon()), 3);
    assert_string_equal(got, "red");
    assert_int_equal(weft_remote_dict_length(r, soon()), 1); // it is a dict, too
    assert_errno(weft_remote_namespace_get(r, "size", got, sizeof got, soon()), ENOENT);
    assert_errno(weft_remote_namespace_set(r, nullptr, "red", 3, soon()), EINVAL);
    assert_int_equal(weft_remote_namespace_remove(r, "colour", soon()), 0);
    assert_errno(weft_remote_namespace_remove(r, "colour", soon()), ENOENT);
    done_with(r);
}

// ---- Lists ----

static void assert_popped(weft_reply *r, const char *text)
{
    assert_non_null(r);
    assert_int_equal(r->type, WEFT_REPLY_STRING);
    assert_string_equal(r->text, text);
    weft_reply_free(r);
}

CASE(test_list)
{
    weft_client *c = client_of(&here);
    weft_remote_list *l = weft_remote_list_open(c, "list");
    char got[4] = "";
    errno = 77;
    assert_int_equal(weft_remote_list_length(l, soon()), 0);
    assert_int_equal(weft_remote_list_append(l, "b", 1, soon()), 1);
    assert_int_equal(weft_remote_list_append(l, "c", 1, soon()), 2);
    assert_int_equal(weft_remote_list_prepend(l, "a", 1, soon()), 3);
    assert_int_equal(weft_remote_list_append(l, nullptr, 0, soon()), 4);
    assert_int_equal(weft_remote_list_get(l, 0, got, 3, soon()), 1);
    assert_string_equal(got, "a");
    assert_int_equal(weft_remote_list_get(l, -1, got, 3, soon()), 0);
    assert_int_equal(weft_remote_list_set(l, -1, "long", 4, soon()), 0);
    assert_int_equal(weft_remote_list_get(l, 3, got, 3, soon()), 4);
    assert_string_equal(got, "lon");
    assert_int_equal(errno, 77);
    assert_errno(weft_remote_list_get(l, 4, got, 3, soon()), ENOENT);
    assert_errno(weft_remote_list_set(l, 4, "x", 1, soon()), ENOENT);
    assert_popped(weft_remote_list_pop(l, 0, soon()), "a");
    assert_popped(weft_remote_list_pop(l, -1, soon()), "long");
    assert_errno(weft_remote_list_pop(l, 1, soon()), EINVAL);
    assert_int_equal(weft_remote_list_clear(l, soon()), 0);
    assert_errno(weft_remote_list_pop(l, 0, soon()), ENOENT);
    assert_errno(weft_remote_list_set(l, 0, "x", 1, soon()), ENOENT); // there is no list
    weft_remote_destroy(l);
    weft_client_destroy(c);
}

CASE(test_list_remove_and_range)
{
    weft_remote_list *l = weft_remote_list_open(client_of(&here), "range");
    for (int i = 0; i < 6; i++)
        weft_remote_list_append(l, i % 2 ? "odd" : "even", i % 2 ? 3 : 4, soon());
    assert_int_equal(weft_remote_list_remove(l, "odd", 3, soon()), 0);
    assert_errno(weft_remote_list_remove(l, "neither", 7, soon()), ENOENT);
    weft_reply *r = weft_remote_list_range(l, 0, -1, soon());
    assert_int_equal(r->type, WEFT_REPLY_ARRAY);
    assert_int_equal(r->size, 5);
    assert_string_equal(r->items[1].text, "even");
    assert_string_equal(r->items[2].text, "odd");
    weft_reply_free(r);
    r = weft_remote_list_range(l, 7, 9, soon());
    assert_int_equal(r->size, 0);
    weft_reply_free(r);
    assert_errno(weft_remote_list_range(nullptr, 0, 1, soon()), EINVAL);
    done_with(l);
}

// ---- Sets ----

CASE(test_set)
{
    weft_client *c = client_of(&here);
    weft_remote_set *s = weft_remote_set_open(c, "a set");
    errno = 77;
    assert_int_equal(weft_remote_set_length(s, soon()), 0);
    assert_int_equal(weft_remote_set_contains(s, "a", 1, soon()), 0);
    assert_int_equal(weft_remote_set_add(s, "a", 1, soon()), 1);
    assert_int_equal(weft_remote_set_add(s, "a", 1, soon()), 0);
    assert_int_equal(weft_remote_set_add(s, "\0\r\n", 3, soon()), 1);
    assert_int_equal(weft_remote_set_add(s, nullptr, 0, soon()), 1);
    assert_int_equal(weft_remote_set_contains(s, "\0\r\n", 3, soon()), 1);
    assert_int_equal(weft_remote_set_contains(s, "", 0, soon()), 1);
    assert_int_equal(weft_remote_set_length(s, soon()), 3);
    weft_reply *all = weft_remote_set_items(s, soon());
    assert_int_equal(all->type, WEFT_REPLY_ARRAY);
    assert_int_equal(all->size, 3);
    assert_int_equal(all->items[0].size + all->items[1].size + all->items[2].size, 4);
    weft_reply_free(all);
    assert_int_equal(weft_remote_set_remove(s, "", 0, soon()), 0);
    assert_int_equal(errno, 77);
    assert_errno(weft_remote_set_remove(s, "", 0, soon()), ENOENT);
    assert_int_equal(weft_remote_set_remove(s, "\0\r\n", 3, soon()), 0);
    assert_popped(weft_remote_set_pop(s, soon()), "a");
    assert_errno(weft_remote_set_pop(s, soon()), ENOENT);
    assert_int_equal(weft_remote_set_add(s, "b", 1, soon()), 1);
    assert_int_equal(weft_remote_set_clear(s, soon()), 0);
    assert_int_equal(weft_remote_set_length(s, soon()), 0);
    all = weft_remote_set_items(s, soon());
    assert_int_equal(all->size, 0);
    weft_reply_free(all);
    assert_errno(weft_remote_set_add(s, nullptr, 1, soon()), EINVAL);
    assert_errno(weft_remote_set_add(nullptr, "a", 1, soon()), EINVAL);
    assert_errno(weft_remote_list_length(s, soon()), EINVAL);
    tell(c, "SET", "a set", "text");
    assert_errno(weft_remote_set_add(s, "a", 1, soon()), EINVAL);
    weft_remote_destroy(s);
    weft_client_destroy(c);
}

CASE(test_set_as_text)
{
    char text[200];
    weft_remote_set *s = weft_remote_set_open(client_of(&here), "shared set");
    assert_true(weft_remote_text(s, text, sizeof text) > 0);
    assert_int_equal(strncmp(text, "set:0:shared%20set@unix:", 24), 0);
    weft_remote_set *other = weft_remote_open(text, here.password, soon());
    assert_int_equal(weft_remote_set_add(other, "x", 1, soon()), 1);
    assert_int_equal(weft_remote_set_contains(s, "x", 1, soon()), 1);
    weft_remote_destroy(other);
    done_with(s);
}

RUN_ON_BOTH_SERVERS
