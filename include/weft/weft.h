/* weft.h: all of weft, for who would rather not choose: the other headers, floor by floor. */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include <weft/deadline.h>
#include <weft/status.h>

#include <weft/executor.h>
#include <weft/queue.h>
#include <weft/sync.h>
#include <weft/thread.h>

#include <weft/channel.h>
#include <weft/coro.h>
#include <weft/generator.h>
#include <weft/tasklet.h>

#include <weft/pipeline.h>
#include <weft/shell.h>
#include <weft/shlex.h>
#include <weft/sink.h>
#include <weft/subprocess.h>
#include <weft/subprocess_map.h>

#include <weft/pool.h>
#include <weft/posix_semaphore.h>
#include <weft/process.h>
#include <weft/result.h>
#include <weft/shared_map.h>
#include <weft/shared_queue.h>
#include <weft/shared_sync.h>
#include <weft/shm.h>

#include <weft/file.h>
#include <weft/io.h>
#include <weft/loop.h>
#include <weft/offload.h>
#include <weft/workers.h>

#include <weft/http.h>
#include <weft/http_client.h>
#include <weft/http_files.h>
#include <weft/http_parse.h>
#include <weft/websocket.h>

#include <weft/client.h>
#include <weft/manager.h>
#include <weft/remote.h>
#include <weft/remote_jobs.h>

#endif
