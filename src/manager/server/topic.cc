// topic.cc: see topic.h.
#include "topic.h"

using namespace weft;

enum { A_STEP = 16 }; // links; a list of no more is left at once

// ---- One ----

topic *weft::topic_find(table *in, const char *name, size_t n)
{
    entry **link = table_find(in, name, n, hash_of(name, n));
    return link != nullptr ? topic_of(*link) : nullptr;
}

topic_link *weft::topic_link_of(const topic *t, const topic_list *own)
{
    topic_link *l = nullptr;
    if (t->count < topics_of(own))
        for (l = t->first; l != nullptr && l->own != own;)
            l = l->next;
    else if (own != nullptr)
        for (l = own->first; l != nullptr && l->topic != t;)
            l = l->next_own;
    return l;
}

static topic *make(table *in, const word *name)
{
    topic *t = (topic *)memory_take_zeroed(1, sizeof *t);
    t->entry = entry_new(TYPE_PLACE, name->text, name->size, hash_of(name->text, name->size), 0);
    t->in = in;
    entry_set_object(t->entry, t);
    table_add(in, t->entry);
    return t;
}

static topic_list *make_list(peer *p)
{
    topic_list *own = (topic_list *)memory_take_zeroed(1, sizeof *own);
    own->peer = p;
    own->expires = INT64_MAX;
    return own;
}

bool weft::topic_join(table *in, topic_list **where, peer *p, const word *name)
{
    topic *t = topic_find(in, name->text, name->size);
    if (t == nullptr)
        t = make(in, name);
    else if (topic_link_of(t, *where) != nullptr)
        return false;
    topic_list *own = *where = *where != nullptr ? *where : make_list(p);
    topic_link *l = (topic_link *)memory_take(sizeof *l);
    *l = {t->first, &t->first, own->first, &own->first, own, t};
    if (l->next != nullptr)
        l->next->at = &l->next;
    if (l->next_own != nullptr)
        l->next_own->at_own = &l->next_own;
    t->first = own->first = l;
    t->count++;
    own->count++;
    return true;
}

void weft::topic_leave(topic_link *l)
{
    topic *t = l->topic;
    *l->at = l->next;
    if (l->next != nullptr)
        l->next->at = l->at;
    *l->at_own = l->next_own;
    if (l->next_own != nullptr)
        l->next_own->at_own = l->at_own;
    l->own->count--;
    memory_give(l);
    if (--t->count > 0)
        return;
    const entry *e = t->entry;
    memory_give(table_remove(t->in, table_find(t->in, entry_key(e), e->key_size, e->hash)));
    memory_give(t);
}

// ---- All of a list ----

// Some of one that was left: whether there is more.
static bool leave_some(topic_list *own)
{
    topic_link *l = own->first;
    for (int n = 0; n < A_STEP && l != nullptr; n++) {
        topic_link *next = l->next_own;
        topic_leave(l);
        l = next;
    }
    if (l != nullptr)
        return true;
    memory_give(own);
    return false;
}

static bool leave_first(server *s, void *)
{
    topic_list *own = s->left, *next = own->next;
    if (!leave_some(own))
        s->left = next;
    return s->left != nullptr;
}

void weft::topics_leave(server *s, topic_list **where)
{
    topic_list *own = *where;
    *where = nullptr;
    if (own == nullptr)
        return;
    own->peer = nullptr;
    if (own->count <= A_STEP) {
        leave_some(own);
        return;
    }
    if (s->left == nullptr)
        background(s, leave_first, nullptr);
    own->next = s->left;
    s->left = own;
}

// ---- Counts ----

size_t weft::topic_peers(const server *s, const topic *t)
{
    size_t n = 0;
    if (s->left == nullptr)
        return t->count;
    for (const topic_link *l = t->first; l != nullptr; l = l->next)
        n += l->own->peer != nullptr;
    return n;
}

static void count_joined(entry *e, void *arg)
{
    *(size_t *)arg += topic_peers(this_server, topic_of(e)) > 0;
}

size_t weft::topics_in(const server *s, const table *in)
{
    size_t n = 0;
    if (s->left == nullptr)
        return in->count;
    table_each(in, count_joined, &n);
    return n;
}
