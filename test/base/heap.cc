// The heap of deadlines against a plain array.
#include "../runner.h"

#include <base/heap.h>

using namespace weft;

enum { LINKS = 300, STEPS = 20000 };

static heap_link links[LINKS];
static bool is_in[LINKS];
static heap all;

static heap_link *first_of_array(void)
{
    heap_link *first = nullptr;
    for (size_t i = 0; i < LINKS; i++)
        if (is_in[i] && (first == nullptr || heap_is_before(&links[i], first)))
            first = &links[i];
    return first;
}

CASE(test_heap_as_an_array)
{
    unsigned random = 1;
    for (int i = 0; i < STEPS; i++) {
        random = random * 1103515245 + 12345;
        size_t at = (random >> 16) % LINKS;
        if (is_in[at])
            heap_remove(&all, &links[at]);
        else
            heap_add(&all, &links[at], (random >> 8) % 16); // many are equal
        is_in[at] = !is_in[at];
        assert_ptr_equal(all.first, first_of_array());
    }
}

CASE(test_heap_keeps_the_order_of_equals)
{
    heap h = {};
    for (size_t i = 0; i < LINKS; i++)
        heap_add(&h, &links[i], 7);
    for (size_t i = 0; i < LINKS; i++) {
        assert_ptr_equal(h.first, &links[i]);
        heap_remove(&h, h.first);
    }
    assert_null(h.first);
}

RUN_CASES()
