// shm_object.cc: objects that are found by their names.
//
// A list of nodes, each with its name and its object in one block.  A node is in the list while its
// object is being made, by the process that it names: others wait until that is 0, and if it
// dies, one of them is the maker.  Put in and taken out under the segment's lock, by one store.
#include "doorbell.h"
#include "holder.h"
#include "shm_segment.h"

#include <string.h>

using namespace weft;

namespace {
struct node {
    uint64_t next; // offset, or 0
    uint64_t size;
    uint64_t maker; // 0: the object is made
    uint32_t unused[10];
    char name[256];
    // then the object
};
} // namespace
static_assert(sizeof(node) % 64 == 0, "the object has a line of its own");

static const uint64_t NOBODY = ~(uint64_t)0; // a maker that has failed

static node *node_at(const weft_shm *s, uint64_t offset)
{
    return (node *)weft_shm_at(s, offset);
}

// Where the list says the node's offset; the list's end: there is none.
static uint64_t *find(const weft_shm *s, const char *name)
{
    uint64_t *at = &s->head->objects;
    while (*at != 0 && strcmp(node_at(s, *at)->name, name) != 0)
        at = &node_at(s, *at)->next;
    return at;
}

static void publish(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

// 0: it is made.
static uint64_t maker_of(const node *n)
{
    return __atomic_load_n(&n->maker, __ATOMIC_ACQUIRE);
}

static bool is_made(const node *n)
{
    return maker_of(n) == 0;
}

static bool is_being_made(const node *n)
{
    uint64_t maker = maker_of(n);
    return maker != 0 && maker != NOBODY && holder_lives(maker);
}

// Under the lock: the node, which the caller is to make if *make; null: errno.
static node *claim(weft_shm *s, const char *name, size_t size, bool *make)
{
    uint64_t *at = find(s, name);
    node *n = node_at(s, *at);
    *make = false;
    if (n != nullptr && size != 0 && n->size != size)
        return fail_with(EINVAL), nullptr;
    // is_made last: the maker may have ended it, without the lock, before it died.
    if (size == 0 && (n == nullptr || (!is_being_made(n) && !is_made(n))))
        return fail_with(ENOENT), nullptr;
    if (n == nullptr) {
        n = (node *)shm_allocate_locked(s, size <= s->room ? sizeof *n + size : size);
        if (n == nullptr)
            return nullptr;
        memset((void *)n, 0, sizeof *n);
        n->size = size;
        strcpy(n->name, name);
        n->next = s->head->objects;
        publish(&n->maker, holder_self());
        publish(&s->head->objects, weft_shm_offset(s, n));
        *make = true;
    } else if (!is_being_made(n) && !is_made(n)) {
        publish(&n->maker, holder_self());
        *make = true;
    }
    return n;
}

// Others sleep at the segment's head: the node may be removed and released meanwhile.
static void end_making(weft_shm *s, node *n, uint64_t maker)
{
    publish(&n->maker, maker);
    __atomic_fetch_add(&s->head->made, 1, __ATOMIC_SEQ_CST);
    futex_wake(&s->head->made, INT_MAX, 1);
}

// Makes the object; null: make has failed, and the next who asks for it is to make it.
static void *make_object(weft_shm *s, node *n, int (*make)(weft_shm *s, void *p, void *arg),
                         void *arg)
{
    memset((void *)(n + 1), 0, n->size);
    bool made = make == nullptr || make(s, n + 1, arg) == 0;
    end_making(s, n, made ? 0 : NOBODY);
    return made ? n + 1 : nullptr;
}

static bool is_name(const char *name)
{
    return name != nullptr && *name != 0 && strlen(name) < sizeof node().name;
}

void *weft_shm_object(weft_shm *s, const char *name, size_t size,
                      int (*make)(weft_shm *s, void *p, void *arg), void *arg, weft_deadline d)
{
    if (s == nullptr || !is_name(name))
        return fail_null(EINVAL);
    if (shm_check_writable(s) != 0)
        return nullptr;
    for (int error = d <= WEFT_NOW ? ETIMEDOUT : 0;;) {
        bool mine;
        shm_lock(s->head);
        node *n = claim(s, name, size, &mine);
        uint32_t seen = doorbell_count(&s->head->made);
        bool made = n != nullptr && is_made(n);
        weft_mutex_unlock(&s->head->lock);
        if (n == nullptr)
            return nullptr;
        if (mine)
            return make_object(s, n, make, arg);
        if (made)
            return n + 1;
        if (error != 0)
            return fail_with(error), nullptr;
        error = doorbell_sleep(&s->head->made, seen, d, &s->head->made_look);
    }
}

int weft_shm_object_remove(weft_shm *s, const char *name)
{
    if (shm_check_writable(s) != 0)
        return -1;
    if (!is_name(name))
        return fail_with(ENOENT);
    shm_lock(s->head);
    uint64_t *at = find(s, name);
    node *n = node_at(s, *at);
    int error = n == nullptr ? ENOENT : is_being_made(n) ? EBUSY : 0;
    if (error == 0) {
        publish(at, n->next);
        shm_release_locked(s, n);
    }
    weft_mutex_unlock(&s->head->lock);
    return error != 0 ? fail_with(error) : 0;
}
