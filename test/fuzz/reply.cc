// Reads any bytes as replies: at once, byte by byte and in pieces, which must all come to the same.
// The first byte says how large the pieces are; the trees are walked to their last byte.
//
// sources: src/manager/client/client_reply.cc
#include <manager/client/client_reply.h>

#include "../manager/tree.h"

#include <errno.h>
#include <stdlib.h>

using namespace weft;

static void must(int truth)
{
    if (!truth)
        abort();
}

// What is true of each item; its text must be readable with the 0 behind it.
static void check(const weft_reply *r, int depth)
{
    must(depth <= REPLY_DEPTH);
    must(r->type >= WEFT_REPLY_STATUS && r->type <= WEFT_REPLY_BIG);
    must(r->text == nullptr || r->text[r->size] == 0);
    must(r->text == nullptr || r->items == nullptr);
    must(r->type != WEFT_REPLY_MAP || r->size % 2 == 0);
    for (size_t i = 0; r->items != nullptr && i < r->size; i++)
        check(&r->items[i], depth + 1);
}

// All replies as text, and how it ended.
static char *read_all(const uint8_t *data, size_t size, size_t piece, int *error)
{
    reply_reader r = {};
    char *text;
    size_t text_size;
    FILE *out = open_memstream(&text, &text_size);
    *error = EAGAIN;
    for (size_t i = 0; i < size && *error == EAGAIN;) {
        size_t room;
        char *to = reader_room(&r, &room);
        must(to != nullptr && room > 0);
        room = room < piece ? room : piece;
        room = room < size - i ? room : size - i;
        memcpy(to, data + i, room);
        reader_got(&r, room);
        i += room;
        weft_reply *reply;
        for (errno = 0; (reply = reader_next(&r)) != nullptr;) {
            check(reply, 0);
            print_tree(out, reply);
            weft_reply_free(reply);
        }
        *error = errno;
    }
    reader_reset(&r);
    fclose(out);
    return text;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int whole_error, error;
    if (size == 0)
        return 0;
    size_t pieces[] = {1, 1 + (size_t)data[0]};
    char *whole = read_all(data + 1, size - 1, size, &whole_error);
    for (size_t i = 0; i < 2; i++) {
        char *said = read_all(data + 1, size - 1, pieces[i], &error);
        must(strcmp(whole, said) == 0);
        must(error == whole_error);
        free(said);
    }
    free(whole);
    return 0;
}
