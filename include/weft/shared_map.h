/* shared_map.h: a hash map of bytes to bytes between processes.
 *
 *     weft_shared_map *m = weft_shm_allocate(s, weft_shared_map_bytes(1000, 32, 64));
 *     weft_shared_map_init(m, 1000, 32, 64);
 *     weft_shared_map_set(m, "left", 4, "12", 2, WEFT_FOREVER);
 *     ssize_t size = weft_shared_map_get(m, "left", 4, value, sizeof value);
 *
 * **Readers never wait**, and write nothing: a segment attached for reading will do.  Writers take
 * turns.  A SIGKILL at any instruction leaves each entry as it was or as it was to be.
 */
#ifndef WEFT_SHARED_MAP_H
#define WEFT_SHARED_MAP_H

#include <weft/deadline.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_shared_map weft_shared_map;

/* The bytes that a map takes for `entries` entries whose keys and values have at most so many
 * bytes. 0: too many (16 million entries; 1 GiB of key and value). */
size_t weft_shared_map_bytes(size_t entries, size_t key_size, size_t value_size);

/* Makes so many bytes of 64-byte aligned memory an empty map.  -1: EINVAL (as for bytes, or none).
 */
int weft_shared_map_init(weft_shared_map *m, size_t entries, size_t key_size, size_t value_size);

/* Sets the key's value, new or not; sets it only if there is none.  Others see the old value or
 * the new one, whole.  Waits for other writers, which weft_thread_stop does not end.
 * -1: ENOSPC (there are as many entries already), EMSGSIZE (longer than it was made for), EEXIST
 * (add), ETIMEDOUT. */
int weft_shared_map_set(weft_shared_map *m, const void *key, size_t key_size, const void *value,
                        size_t value_size, weft_deadline d);
int weft_shared_map_add(weft_shared_map *m, const void *key, size_t key_size, const void *value,
                        size_t value_size, weft_deadline d);

/* Copies the value; its size.  -1: ENOENT; EMSGSIZE (longer than `room`). */
ssize_t weft_shared_map_get(const weft_shared_map *m, const void *key, size_t key_size, void *value,
                            size_t room);

/* Takes the entry out.  Waits for other writers as set does.  -1: ENOENT, ETIMEDOUT. */
int weft_shared_map_remove(weft_shared_map *m, const void *key, size_t key_size, weft_deadline d);

size_t weft_shared_map_count(const weft_shared_map *m);

/* An entry of those that weft_shared_map_next goes through. */
typedef struct weft_shared_map_entry {
    void *key, *value;           /* the caller's room for them ... */
    size_t key_size, value_size; /* ... and how much; then how much they have */
} weft_shared_map_entry;

/* The next entry after *cursor, which is 0 at first; false: no more.  What others remove or add
 * meanwhile may be seen or not, and what stands beside that twice or not at all; nothing is
 * seen in part.  What is longer than its room is cut. */
bool weft_shared_map_next(const weft_shared_map *m, uint64_t *cursor, weft_shared_map_entry *e);

#ifdef __cplusplus
}
#endif

#endif
