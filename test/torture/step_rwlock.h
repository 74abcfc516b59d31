// step_rwlock.h: the same for the reader-writer lock.
#ifndef WEFT_TORTURE_STEP_RWLOCK_H
#define WEFT_TORTURE_STEP_RWLOCK_H

#include "step_world.h"

static void rwlock_begin(void)
{
    weft_shared_rwlock_init(&w->rwlock);
    w->rwlock.left = w->rwlock.drained = now == WRAP ? UINT32_MAX : 0;
}

// What a dead writer left half done is mended.
static int lock_rwlock(bool write, weft_deadline d)
{
    int code =
        write ? weft_shared_rwlock_write(&w->rwlock, d) : weft_shared_rwlock_read(&w->rwlock, d);
    if (code != 0 && errno == EOWNERDEAD) {
        w->right = w->left;
        code = 0;
    }
    return code;
}

static int use_rwlock(bool write, weft_deadline d)
{
    if (lock_rwlock(write, d) != 0)
        return 1;
    if (w->left != w->right)
        return 2;
    if (write) {
        w->left++;
        w->right++;
    }
    return weft_shared_rwlock_unlock(&w->rwlock);
}

static int act_read(void *)
{
    return use_rwlock(false, patience());
}

static int act_write(void *)
{
    return use_rwlock(true, patience());
}

static int take_read(void *)
{
    warm_up();
    return lock_rwlock(false, WEFT_FOREVER);
}

static int take_write(void *)
{
    warm_up();
    return lock_rwlock(true, WEFT_FOREVER);
}

static int act_unlock_rwlock(void *)
{
    return weft_shared_rwlock_unlock(&w->rwlock);
}

static int act_downgrade(void *)
{
    return weft_shared_rwlock_downgrade(&w->rwlock);
}

static int peer_reads(void *)
{
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    return use_rwlock(false, WEFT_FOREVER);
}

static int peer_writes(void *)
{
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    return use_rwlock(true, WEFT_FOREVER);
}

static int hold_rwlock(bool write)
{
    lock_rwlock(write, WEFT_FOREVER);
    __atomic_store_n(&w->peer_ready, 1, __ATOMIC_SEQ_CST);
    return pause();
}

static int hold_read(void *)
{
    return hold_rwlock(false);
}

static int hold_write(void *)
{
    return hold_rwlock(true);
}

static int die_writing(void *)
{
    lock_rwlock(true, WEFT_FOREVER);
    w->left++;
    return kill(getpid(), SIGKILL);
}

// In the lock that guards the places.
static int die_in_place(void *)
{
    brief_lock(&w->rwlock.lock, WEFT_FOREVER);
    return kill(getpid(), SIGKILL);
}

static int check_rwlock(void *)
{
    REQUIRE(use_rwlock(false, soon()) == 0);
    REQUIRE(use_rwlock(true, soon()) == 0);
    REQUIRE(use_rwlock(false, WEFT_NOW) == 0);
    return 0;
}

#endif
