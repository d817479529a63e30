/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/weight_stream.c - two layers in memory, one thread that reads.
 *
 * Why the bytes are the same: a tensor lies in its buffer at the same place of
 * a cache line as in the file, so that even the choice between "as it lies" and
 * "converted first" is that of a mapped file.
 * Why nothing stale is used: a view has bytes between acquire and release only.
 *
 * Lock order: one lock, `lock`, over slots, errors and quit; never held while
 * a file is read.
 */
#include "client/train/weight_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/train/weight_private.h"
#include "common/arena.h"
#include "common/mem.h"

#define TARGETS     ((size_t)HEARTH_TARGET_COUNT)
#define PIECE       ((size_t)1 << 20)   /* of one pread */
#define AHEAD       ((size_t)2)         /* pieces that the system reads ahead */
#define WISH        ((size_t)128 << 10) /* asked for at a time */
#define LINE        ((size_t)64)
#define STACK_BYTES ((size_t)256 << 10)
#define TILE_REALS  (HEARTH_WEIGHT_TILE_BYTES / sizeof(hearth_real))

/* Bytes of a file. */
typedef struct {
    size_t file;
    uint64_t at;
    size_t n;
} extent;

/* One matrix of a layer. */
typedef struct {
    extent from;
    size_t to; /* in the slot; 64 bytes aligned as in the file */
} matrix;

typedef enum { EMPTY, WANTED, LOADING, READY, FAILED } slot_state;

typedef struct {
    unsigned char *bytes; /* [slot_bytes] */
    size_t layer;
    slot_state state;
    uint64_t ticket; /* the thread reads the oldest first */
} slot;

typedef struct {
    int fd;           /* nothing is read ahead but what is wanted */
    struct stat seen; /* at open */
} source;

typedef enum { FAILED_NOT, FAILED_READ, FAILED_CUT, FAILED_CHANGED } failure;

struct hearth_weight_stream {
    hearth_alloc al;
    const hearth_model *model;
    const hearth_model_config *c;
    source *source; /* [n_sources] */
    size_t n_sources;
    matrix *matrix;      /* [L * TARGETS]; n 0: none */
    hearth_weight *view; /* [L * TARGETS] */
    hearth_arena arena;  /* the buffers below */
    slot slot[2];
    size_t slot_bytes;
    unsigned char *head; /* [n_workers][head_bytes] */
    size_t n_workers, head_bytes;
    unsigned char *row;       /* of a table, longest_row */
    extent embed, place, top; /* of one row each, the first */
    uint64_t page;            /* bytes of one */

    int taken; /* slot between acquire and release; -1: none */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    bool has_thread;
    bool quit;      /* under lock */
    uint64_t next;  /* ticket; under lock */
    failure failed; /* since _begin; under lock */
    int number;     /* errno of FAILED_READ; under lock */
    atomic_uint_least64_t n_read;
};

/* ---- sizes ---- */

static const hearth_weight *matrix_of(const hearth_model *m, size_t target,
                                      size_t layer) {
    return hearth_model_weight(m, (hearth_tensor_role)target, (uint32_t)layer);
}

static size_t all_bytes(const hearth_weight *w) {
    return w ? hearth_weight__bytes(w, w->rows * w->cols) : 0;
}

static size_t row_bytes(const hearth_weight *w) {
    return w ? hearth_weight__bytes(w, w->cols) : 0;
}

/* A layer at most: every matrix starts in a line of its own, where its file
 * has it. */
static size_t largest_layer(const hearth_model *m) {
    size_t most = 0;
    for (size_t l = 0; l < hearth_model_get_config(m)->n_layers; l++) {
        size_t sum = 0;
        for (size_t t = 0; t < TARGETS; t++)
            if (!hearth_size_add(sum, all_bytes(matrix_of(m, t, l)), &sum) ||
                !hearth_size_add(sum, 2 * LINE, &sum))
                return SIZE_MAX;
        most = sum > most ? sum : most;
    }
    return most;
}

/* Rows of the head that a caller may ask for at once. */
static size_t head_rows(const hearth_weight *w) {
    size_t rows = TILE_REALS / w->cols;
    return rows < w->rows ? rows : w->rows;
}

static size_t head_block(const hearth_model *m) {
    const hearth_weight *w = hearth_model_weight(m, HEARTH_TENSOR_HEAD, 0);
    return head_rows(w) * row_bytes(w) + LINE;
}

static size_t longest_row(const hearth_model *m) {
    size_t a = row_bytes(hearth_model_weight(m, HEARTH_TENSOR_EMBED, 0));
    size_t b = row_bytes(hearth_model_weight(m, HEARTH_TENSOR_POSITION, 0));
    return a > b ? a : b;
}

size_t hearth_weight_stream_bytes(const hearth_model *m, size_t n_workers) {
    size_t sum = 0, layer = hearth_arena_need(largest_layer(m), 1);
    size_t all = (size_t)hearth_model_get_config(m)->n_layers * TARGETS;
    const size_t part[] = {layer,
                           layer,
                           hearth_arena_need(n_workers, head_block(m)),
                           hearth_arena_need(longest_row(m), 1),
                           hearth_arena_need(all, sizeof(matrix)),
                           hearth_arena_need(all, sizeof(hearth_weight))};
    for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
        if (part[i] == SIZE_MAX || !hearth_size_add(sum, part[i], &sum))
            return SIZE_MAX;
    return sum;
}

static size_t page_bytes(void) {
    long n = sysconf(_SC_PAGESIZE);
    return n > 0 ? (size_t)n : 4096;
}

static size_t at_most(size_t n, size_t most) {
    return n < most ? n : most;
}

size_t hearth_weight_stream_window(const hearth_model *m, size_t n_workers) {
    size_t page = page_bytes(), rows = HEARTH_WEIGHT_STREAM_ROWS;
    const hearth_weight *head = hearth_model_weight(m, HEARTH_TENSOR_HEAD, 0);
    const hearth_weight *embed = hearth_model_weight(m, HEARTH_TENSOR_EMBED, 0);
    /* a part begins and ends within a page */
    return at_most((AHEAD + 1) * PIECE, largest_layer(m)) + 2 * TARGETS * page +
           at_most(2 * n_workers * (head_block(m) + page), all_bytes(head)) +
           at_most(rows * (longest_row(m) + 2 * page), all_bytes(embed)) +
           2 * page;
}

/* ---- what a pass reads ---- */

static size_t layer_bytes(const hearth_model *m, size_t layer) {
    size_t sum = 0;
    for (size_t t = 0; t < TARGETS; t++)
        sum += all_bytes(matrix_of(m, t, layer));
    return sum;
}

uint64_t hearth_weight_stream_pass_bytes(const hearth_model *m, size_t lowest,
                                         size_t n_tokens, size_t head_reads) {
    const hearth_weight *head = hearth_model_weight(m, HEARTH_TENSOR_HEAD, 0);
    const hearth_weight *embed = hearth_model_weight(m, HEARTH_TENSOR_EMBED, 0);
    size_t n = hearth_model_get_config(m)->n_layers;
    uint64_t sum = (uint64_t)head_reads * all_bytes(head);
    sum += (uint64_t)n_tokens * (row_bytes(head) + row_bytes(embed));
    /* The buffer holds two layers: a pass finds the first two there from the one
     * before, and on its way back the last two. */
    for (size_t l = 0; l < n; l++) {
        uint64_t bytes = layer_bytes(m, l);
        if (l >= 2 || lowest) sum += bytes;         /* forward */
        if (l >= lowest && l + 2 < n) sum += bytes; /* and back */
    }
    return sum;
}

/* ---- files ---- */

/* The first failure of a pass is the one that is told. */
static void fail(hearth_weight_stream *s, failure what, int number) {
    (void)pthread_mutex_lock(&s->lock);
    if (s->failed == FAILED_NOT) {
        s->failed = what;
        s->number = number;
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static hearth_status report(const hearth_weight_stream *s, failure what,
                            int number, hearth_error *err) {
    const char *dir = hearth_model_dir(s->model);
    if (what == FAILED_CHANGED)
        return hearth_error_set(err, HEARTH_EMISMATCH,
                                "%.120s changed while it was read; put it "
                                "back, or start the run again",
                                dir);
    if (what == FAILED_CUT)
        return hearth_error_set(err, HEARTH_EIO,
                                "%.120s ends early; copy the model again and "
                                "resume",
                                dir);
    return hearth_error_set(err, HEARTH_EIO,
                            "cannot read %.120s: %s; check the disk and resume",
                            dir, strerror(number));
}

static bool is_unchanged(const source *f) {
    struct stat now;
    return fstat(f->fd, &now) == 0 && now.st_size == f->seen.st_size &&
           now.st_mtime == f->seen.st_mtime
#if defined(__linux__)
           && now.st_mtim.tv_nsec == f->seen.st_mtim.tv_nsec
#endif
        ;
}

/* Ask for pages, a little at a time: the system cuts long wishes short. */
static void want(const source *f, uint64_t at, size_t n) {
#if defined(POSIX_FADV_WILLNEED)
    for (size_t done = 0; done < n; done += WISH)
        (void)posix_fadvise(f->fd, (off_t)(at + done),
                            (off_t)(n - done < WISH ? n - done : WISH),
                            POSIX_FADV_WILLNEED);
#else
    (void)f;
    (void)at;
    (void)n;
#endif
}

/* Let pages go.  The first is dropped whole: the bytes before have been used.
 * So is the last when the bytes after it are of no use (alone); the system
 * keeps pages that are given in part. */
static void drop(const hearth_weight_stream *s, const source *f, uint64_t at,
                 size_t n, bool alone) {
#if defined(POSIX_FADV_DONTNEED)
    uint64_t from = at - at % s->page, to = at + n;
    if (alone) to = (to + s->page - 1) / s->page * s->page;
    (void)posix_fadvise(f->fd, (off_t)from, (off_t)(to - from),
                        POSIX_FADV_DONTNEED);
#else
    (void)s;
    (void)f;
    (void)at;
    (void)n;
    (void)alone;
#endif
}

/* n bytes; false: s has the error and `to` is zeros. */
static bool read_at(hearth_weight_stream *s, const source *f, uint64_t at,
                    size_t n, unsigned char *to) {
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(f->fd, to + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            fail(s, got < 0 ? FAILED_READ : FAILED_CUT, got < 0 ? errno : 0);
            memset(to, 0, n);
            return false;
        }
        done += (size_t)got;
    }
    (void)atomic_fetch_add_explicit(&s->n_read, n, memory_order_relaxed);
    return true;
}

/* The same and check that the file is still the one that was opened. */
static bool read_checked(hearth_weight_stream *s, const source *f, uint64_t at,
                         size_t n, unsigned char *to) {
    bool ok = read_at(s, f, at, n, to);
    if (!ok || is_unchanged(f)) return ok;
    memset(to, 0, n);
    fail(s, FAILED_CHANGED, 0);
    return false;
}

/* Where a view's bytes lie. */
static extent extent_of(const hearth_weight_stream *s, const hearth_weight *w) {
    hearth_model_file f;
    for (size_t i = 0; i < s->n_sources; i++) {
        if (hearth_model_file_at(s->model, i, &f) != HEARTH_OK) continue;
        if ((uintptr_t)w->data >= (uintptr_t)f.bytes &&
            (uintptr_t)w->data < (uintptr_t)f.bytes + f.n)
            return (extent){i, (uint64_t)(w->data - f.bytes), all_bytes(w)};
    }
    return (extent){0, 0, 0};
}

/* ---- the thread ---- */

/* The matrices of a layer as one run of pieces. */
typedef struct {
    const matrix *m; /* [TARGETS] */
    size_t i, done;
} cursor;

/* The next piece of at most PIECE bytes, NULL at the end. */
static const matrix *next_piece(cursor *c, size_t *at, size_t *n) {
    while (c->i < TARGETS && c->done == c->m[c->i].from.n) {
        c->i++;
        c->done = 0;
    }
    if (c->i == TARGETS) return NULL;
    const matrix *m = &c->m[c->i];
    *at = c->done;
    *n = m->from.n - c->done < PIECE ? m->from.n - c->done : PIECE;
    c->done += *n;
    return m;
}

static void want_next(const hearth_weight_stream *s, cursor *ahead) {
    size_t at, n;
    const matrix *m = next_piece(ahead, &at, &n);
    if (m) want(&s->source[m->from.file], m->from.at + at, n);
}

static bool load_layer(hearth_weight_stream *s, size_t layer,
                       unsigned char *to) {
    cursor c = {&s->matrix[layer * TARGETS], 0, 0}, ahead = c;
    const matrix *m;
    size_t at, n;
    bool ok = true;
    for (size_t i = 0; i < AHEAD; i++) want_next(s, &ahead);
    while (ok && (m = next_piece(&c, &at, &n)) != NULL) {
        const source *f = &s->source[m->from.file];
        want_next(s, &ahead);
        ok = read_at(s, f, m->from.at + at, n, to + m->to + at);
        drop(s, f, m->from.at + at, n, false);
    }
    for (size_t i = 0; ok && i < s->n_sources; i++)
        if (!is_unchanged(&s->source[i])) {
            fail(s, FAILED_CHANGED, 0);
            ok = false;
        }
    return ok;
}

/* The oldest slot that waits to be read; NULL: none. */
static slot *oldest(hearth_weight_stream *s) {
    slot *best = NULL;
    for (size_t i = 0; i < 2; i++)
        if (s->slot[i].state == WANTED &&
            (!best || s->slot[i].ticket < best->ticket))
            best = &s->slot[i];
    return best;
}

static void *read_ahead(void *arg) {
    hearth_weight_stream *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    while (!s->quit) {
        slot *x = oldest(s);
        if (!x) {
            (void)pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        x->state = LOADING;
        (void)pthread_mutex_unlock(&s->lock);
        bool ok = load_layer(s, x->layer, x->bytes);
        (void)pthread_mutex_lock(&s->lock);
        x->state = ok ? READY : FAILED;
        (void)pthread_cond_broadcast(&s->done);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Signals are for the thread that asked for them. */
static hearth_status start_thread(hearth_weight_stream *s, hearth_error *err) {
    pthread_attr_t attr;
    sigset_t all, old;
    int rc = pthread_attr_init(&attr);
    if (rc == 0) {
        (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &old);
        rc = pthread_create(&s->thread, &attr, read_ahead, s);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
        (void)pthread_attr_destroy(&attr);
    }
    s->has_thread = rc == 0;
    if (rc == 0) return HEARTH_OK;
    return hearth_error_set(err, HEARTH_ENOMEM,
                            "cannot start the thread that reads the model; "
                            "close other programs and try again");
}

/* ---- open and close ---- */

static hearth_status open_source(hearth_weight_stream *s, size_t i,
                                 hearth_error *err) {
    hearth_model_file f;
    source *x = &s->source[i];
    x->fd = -1;
    s->n_sources = i + 1;
    hearth_status st = hearth_model_file_at(s->model, i, &f);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "model path is too long; move it");
    x->fd = open(f.path, O_RDONLY | O_CLOEXEC);
    if (x->fd < 0 || fstat(x->fd, &x->seen)) {
        int number = errno;
        return hearth_error_set(err, hearth_error_from_errno(number),
                                "cannot open %.150s: %s; check the file",
                                f.path, strerror(number));
    }
    if (x->seen.st_size < 0 || (uint64_t)x->seen.st_size != f.n)
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "%.150s changed while it was opened; try again",
                                f.path);
#if defined(POSIX_FADV_RANDOM)
    (void)posix_fadvise(x->fd, 0, 0, POSIX_FADV_RANDOM);
#endif
#if defined(POSIX_FADV_NOREUSE) /* pages are dropped: no need to age them */
    (void)posix_fadvise(x->fd, 0, 0, POSIX_FADV_NOREUSE);
#endif
    return HEARTH_OK;
}

/* Matrices of a layer in the order of their file, and where they go. */
static void place_layer(hearth_weight_stream *s, size_t layer) {
    matrix *own = &s->matrix[layer * TARGETS];
    size_t used = 0;
    for (size_t t = 0; t < TARGETS; t++) {
        const hearth_weight *w = matrix_of(s->model, t, layer);
        if (!w) continue;
        matrix m = {.from = extent_of(s, w)};
        used = (used + LINE - 1) / LINE * LINE;
        m.to = used + (size_t)(m.from.at % LINE);
        used = m.to + m.from.n;
        own[t] = m;
        s->view[layer * TARGETS + t] = *w;
        s->view[layer * TARGETS + t].data = NULL;
    }
}

/* The first row of a table. */
static extent first_row(const hearth_weight_stream *s,
                        hearth_tensor_role role) {
    const hearth_weight *w = hearth_model_weight(s->model, role, 0);
    if (!w) return (extent){0, 0, 0};
    extent e = extent_of(s, w);
    e.n = row_bytes(w);
    return e;
}

static bool take_buffers(hearth_weight_stream *s) {
    size_t all = (size_t)s->c->n_layers * TARGETS;
    s->slot_bytes = largest_layer(s->model);
    s->head_bytes = head_block(s->model);
    for (size_t i = 0; i < 2; i++)
        s->slot[i].bytes = hearth_arena_take(&s->arena, s->slot_bytes, 1);
    s->head = hearth_arena_take(&s->arena, s->n_workers, s->head_bytes);
    s->row = hearth_arena_take(&s->arena, longest_row(s->model), 1);
    s->matrix = hearth_arena_take(&s->arena, all, sizeof(*s->matrix));
    s->view = hearth_arena_take(&s->arena, all, sizeof(*s->view));
    return s->slot[0].bytes && s->slot[1].bytes && s->head && s->row &&
           s->matrix && s->view;
}

static hearth_status open_stream(hearth_weight_stream *s, hearth_error *err) {
    hearth_status st = HEARTH_OK;
    size_t n = hearth_model_n_files(s->model);
    size_t bytes = hearth_weight_stream_bytes(s->model, s->n_workers);
    s->source = hearth_mem_array(&s->al, n, sizeof(*s->source));
    if (!s->source || bytes == SIZE_MAX ||
        hearth_arena_init(&s->arena, &s->al, bytes) != HEARTH_OK ||
        !take_buffers(s))
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "no memory for two layers of the model; close "
                                "other programs or choose a smaller one");
    for (size_t i = 0; st == HEARTH_OK && i < n; i++)
        st = open_source(s, i, err);
    if (st != HEARTH_OK) return st;
    for (size_t l = 0; l < s->c->n_layers; l++) place_layer(s, l);
    s->embed = first_row(s, HEARTH_TENSOR_EMBED);
    s->place = first_row(s, HEARTH_TENSOR_POSITION);
    s->top = first_row(s, HEARTH_TENSOR_HEAD);
    return start_thread(s, err);
}

hearth_status hearth_weight_stream_open(hearth_weight_stream **out,
                                        const hearth_model *m, size_t n_workers,
                                        const hearth_alloc *al,
                                        hearth_error *err) {
    *out = NULL;
    hearth_weight_stream *s = hearth_mem_new(al, sizeof(*s));
    if (!s)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "out of memory; close other programs and try "
                                "again");
    s->al = *hearth_mem_or_default(al);
    s->model = m;
    s->c = hearth_model_get_config(m);
    s->n_workers = n_workers ? n_workers : 1;
    s->taken = -1;
    s->page = page_bytes();
    (void)pthread_cond_init(&s->work, NULL);
    (void)pthread_cond_init(&s->done, NULL);
    (void)pthread_mutex_init(&s->lock, NULL);
    hearth_status st = open_stream(s, err);
    if (st != HEARTH_OK) {
        hearth_weight_stream_close(s);
        return st;
    }
    *out = s;
    return HEARTH_OK;
}

void hearth_weight_stream_close(hearth_weight_stream *s) {
    if (!s) return;
    hearth_alloc al = s->al;
    (void)pthread_mutex_lock(&s->lock);
    s->quit = true;
    (void)pthread_cond_broadcast(&s->work);
    (void)pthread_mutex_unlock(&s->lock);
    if (s->has_thread) (void)pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->n_sources; i++)
        if (s->source[i].fd >= 0) (void)close(s->source[i].fd);
    (void)pthread_cond_destroy(&s->work);
    (void)pthread_cond_destroy(&s->done);
    (void)pthread_mutex_destroy(&s->lock);
    hearth_arena_free(&s->arena);
    hearth_mem_free(&al, s->source);
    hearth_mem_free(&al, s);
}

/* ---- layers ---- */

const hearth_weight *hearth_weight_stream_view(const hearth_weight_stream *s,
                                               uint32_t target, size_t layer) {
    size_t i = layer * TARGETS + target;
    return s->matrix[i].from.n ? &s->view[i] : NULL;
}

void hearth_weight_stream_forget(const hearth_weight_stream *s) {
#if defined(POSIX_FADV_DONTNEED)
    for (size_t i = 0; i < s->n_sources; i++)
        (void)posix_fadvise(s->source[i].fd, 0, 0, POSIX_FADV_DONTNEED);
#else
    (void)s;
#endif
}

void hearth_weight_stream_begin(hearth_weight_stream *s) {
    (void)pthread_mutex_lock(&s->lock);
    s->failed = FAILED_NOT;
    for (size_t i = 0; i < 2; i++)
        if (s->slot[i].state == FAILED) s->slot[i].state = EMPTY;
    (void)pthread_mutex_unlock(&s->lock);
}

/* The slot that has a layer or will; -1: none.  Under lock. */
static int slot_of(const hearth_weight_stream *s, size_t layer) {
    for (int i = 0; i < 2; i++)
        if (s->slot[i].state != EMPTY && s->slot[i].layer == layer) return i;
    return -1;
}

/* Ask for a layer in slot i.  Under lock. */
static void ask(hearth_weight_stream *s, int i, size_t layer) {
    s->slot[i].layer = layer;
    s->slot[i].state = WANTED;
    s->slot[i].ticket = s->next++;
    (void)pthread_cond_signal(&s->work);
}

/* Wait until a layer is in a slot, which is returned; a slot that failed has
 * said so in s->failed.  Under lock. */
static int wait_for(hearth_weight_stream *s, size_t layer) {
    int i = slot_of(s, layer);
    if (i < 0) { /* not foreseen: put it where nothing is being read */
        i = s->slot[0].state == LOADING ? 1 : 0;
        ask(s, i, layer);
    }
    while (s->slot[i].state == WANTED || s->slot[i].state == LOADING)
        (void)pthread_cond_wait(&s->done, &s->lock);
    return i;
}

hearth_status hearth_weight_stream_acquire(hearth_weight_stream *s,
                                           size_t layer, size_t next,
                                           hearth_error *err) {
    (void)pthread_mutex_lock(&s->lock);
    int i = wait_for(s, layer), number = s->number;
    failure failed = s->failed;
    if (failed == FAILED_NOT) {
        s->taken = i;
        if (next < s->c->n_layers && slot_of(s, next) < 0 &&
            s->slot[1 - i].state != LOADING)
            ask(s, 1 - i, next);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (failed != FAILED_NOT) return report(s, failed, number, err);
    for (size_t t = 0; t < TARGETS; t++)
        s->view[layer * TARGETS + t].data =
            s->slot[i].bytes + s->matrix[layer * TARGETS + t].to;
    return HEARTH_OK;
}

void hearth_weight_stream_release(hearth_weight_stream *s) {
    if (s->taken < 0) return;
    size_t layer = s->slot[s->taken].layer;
    for (size_t t = 0; t < TARGETS; t++)
        s->view[layer * TARGETS + t].data = NULL;
    s->taken = -1;
}

/* ---- rows and the head ---- */

/* Row i of a table: where it is. */
static extent row_at(const hearth_weight_stream *s, hearth_tensor_role role,
                     size_t i) {
    extent e = role == HEARTH_TENSOR_EMBED      ? s->embed
               : role == HEARTH_TENSOR_POSITION ? s->place
                                                : s->top;
    e.at += (uint64_t)i * e.n;
    return e;
}

void hearth_weight_stream_row_want(hearth_weight_stream *s,
                                   hearth_tensor_role role, size_t i) {
    extent e = row_at(s, role, i);
    want(&s->source[e.file], e.at, e.n);
}

void hearth_weight_stream_row(hearth_weight_stream *s, hearth_tensor_role role,
                              size_t i, hearth_real *out) {
    extent e = row_at(s, role, i);
    const source *f = &s->source[e.file];
    hearth_weight one = *hearth_model_weight(s->model, role, 0);
    one.rows = 1;
    one.data = s->row;
    (void)read_checked(s, f, e.at, e.n, s->row);
    /* positions are read in order: the rest of the page is next */
    drop(s, f, e.at, e.n, role != HEARTH_TENSOR_POSITION);
    hearth_weight_row(&one, 0, out);
}

const unsigned char *hearth_weight_stream_head(hearth_weight_stream *s,
                                               size_t worker, size_t first,
                                               size_t n) {
    extent e = row_at(s, HEARTH_TENSOR_HEAD, first);
    const source *f = &s->source[e.file];
    size_t bytes = n * e.n, left = s->c->vocab_size - first - n;
    unsigned char *to =
        s->head + worker * s->head_bytes + (size_t)(e.at % LINE);
    if (n > 1 && left) want(f, e.at + bytes, (left < n ? left : n) * e.n);
    (void)read_checked(s, f, e.at, bytes, to);
    drop(s, f, e.at, bytes, n == 1);
    return to;
}

hearth_status hearth_weight_stream_check(hearth_weight_stream *s,
                                         hearth_error *err) {
    (void)pthread_mutex_lock(&s->lock);
    failure failed = s->failed;
    int number = s->number;
    (void)pthread_mutex_unlock(&s->lock);
    return failed == FAILED_NOT ? HEARTH_OK : report(s, failed, number, err);
}

uint64_t hearth_weight_stream_bytes_read(const hearth_weight_stream *s) {
    return atomic_load_explicit(&s->n_read, memory_order_relaxed);
}
