/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/work_queue.c - at most one uv_work_t in flight, so order holds. */
#include "coordinator/work_queue.h"

#include <string.h>

#include "common/mem.h"

struct hearth_work_item {
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
    hearth_work_item *next;
};

void hearth_work_queue_init(hearth_work_queue *q, uv_loop_t *loop,
                            const hearth_alloc *al) {
    memset(q, 0, sizeof(*q));
    q->loop = loop;
    q->al = *hearth_mem_or_default(al);
    q->work.data = q;
}

static void start(hearth_work_queue *q);

static void run_first(uv_work_t *w) {
    hearth_work_queue *q = w->data;
    q->first->work(q->first->arg);
}

static void finish_first(uv_work_t *w, int status) {
    hearth_work_queue *q = w->data;
    hearth_work_item *item = q->first;
    (void)status; /* never cancelled */
    q->first = item->next;
    if (!q->first) q->last = NULL;
    q->busy = false;
    item->done(item->arg); /* may submit, which may start the next */
    hearth_mem_free(&q->al, item);
    start(q);
}

static void start(hearth_work_queue *q) {
    if (q->busy || !q->first) return;
    q->busy = true;
    if (uv_queue_work(q->loop, &q->work, run_first, finish_first) != 0) {
        run_first(&q->work);
        finish_first(&q->work, 0);
    }
}

static void submit(void *ud, void (*work)(void *arg), void (*done)(void *arg),
                   void *arg) {
    hearth_work_queue *q = ud;
    hearth_work_item *item = hearth_mem_new(&q->al, sizeof(*item));
    if (!item) {
        work(arg);
        done(arg);
        return;
    }
    *item = (hearth_work_item){work, done, arg, NULL};
    if (q->last)
        q->last->next = item;
    else
        q->first = item;
    q->last = item;
    start(q);
}

hearth_coord_io hearth_work_queue_io(hearth_work_queue *q) {
    return (hearth_coord_io){submit, q};
}

bool hearth_work_queue_busy(const hearth_work_queue *q) {
    return q->first != NULL;
}
