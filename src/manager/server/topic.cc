// topic.cc: see topic.h.
#include "topic.h"

using namespace weft;

topic *weft::topic_find(table *in, const char *name, size_t n)
{
    entry **link = table_find(in, name, n, hash_of(name, n));
    return link != nullptr ? topic_of(*link) : nullptr;
}

topic_link *weft::topic_link_of(const topic *t, const topic_list *own, const peer *p)
{
    topic_link *l;
    if (t->count < own->count)
        for (l = t->first; l != nullptr && l->peer != p;)
            l = l->next;
    else
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

bool weft::topic_join(table *in, topic_list *own, peer *p, const word *name)
{
    topic *t = topic_find(in, name->text, name->size);
    if (t == nullptr)
        t = make(in, name);
    else if (topic_link_of(t, own, p) != nullptr)
        return false;
    topic_link *l = (topic_link *)memory_take(sizeof *l);
    *l = {t->first, &t->first, own->first, &own->first, p, t};
    if (l->next != nullptr)
        l->next->at = &l->next;
    if (l->next_own != nullptr)
        l->next_own->at_own = &l->next_own;
    t->first = own->first = l;
    t->count++;
    own->count++;
    return true;
}

void weft::topic_leave(topic_list *own, topic_link *l)
{
    topic *t = l->topic;
    *l->at = l->next;
    if (l->next != nullptr)
        l->next->at = l->at;
    *l->at_own = l->next_own;
    if (l->next_own != nullptr)
        l->next_own->at_own = l->at_own;
    memory_give(l);
    own->count--;
    if (--t->count > 0)
        return;
    const entry *e = t->entry;
    memory_give(table_remove(t->in, table_find(t->in, entry_key(e), e->key_size, e->hash)));
    memory_give(t);
}
