/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/memplan.c - sums that saturate: a wrong size can only refuse. */
#include "client/train/memplan.h"

#include <stdint.h>
#include <stdio.h>

#include "common/error.h"
#include "common/mem.h"

void hearth_memplan_add(hearth_memplan *p, const char *name,
                        hearth_mem_kind kind, size_t n, size_t size) {
    size_t bytes;
    size_t *sum = kind == HEARTH_MEM_FILE ? &p->file_bytes : &p->private_bytes;
    (void)hearth_size_mul(n, size, &bytes); /* SIZE_MAX on overflow */
    (void)hearth_size_add(*sum, bytes, sum);
    if (p->n == HEARTH_MEMPLAN_MAX)
        p->private_bytes = SIZE_MAX;
    else
        p->item[p->n++] = (hearth_memplan_item){name, kind, bytes};
}

const char *hearth_memplan_format(size_t bytes, char *text, size_t cap) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes;
    size_t u = 0;
    for (; x >= 1024.0 && u < 4; u++) x /= 1024.0;
    (void)snprintf(text, cap, u ? "%.1f %s" : "%.0f %s", x, unit[u]);
    return text;
}

size_t hearth_memplan_bounded(const hearth_memplan *p) {
    size_t sum = p->private_bytes;
    if (p->file_counts) (void)hearth_size_add(sum, p->file_bytes, &sum);
    return sum;
}

/* What is bounded beside private memory. */
static const char *and_what(const hearth_memplan *p) {
    if (!p->file_counts) return "";
    return p->choice.streamed ? " and a window of the streamed file"
                              : " and the model's file";
}

hearth_status hearth_memplan_check(const hearth_memplan *p, size_t budget,
                                   hearth_error *err) {
    char need[32], have[32], most[32];
    const hearth_memplan_item *top = NULL;
    size_t sum = hearth_memplan_bounded(p);
    if (sum != SIZE_MAX && (budget == 0 || sum <= budget)) return HEARTH_OK;
    for (size_t i = 0; i < p->n; i++)
        if ((p->file_counts || p->item[i].kind == HEARTH_MEM_PRIVATE) &&
            (!top || p->item[i].bytes > top->bytes))
            top = &p->item[i];
    if (sum == SIZE_MAX)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "the plan is larger than this machine can "
                                "address; use a shorter --seq or a smaller "
                                "--batch");
    size_t mib = (sum - 1) / ((size_t)1 << 20) + 1;
    hearth_memplan_format(sum, need, sizeof(need));
    hearth_memplan_format(budget, have, sizeof(have));
    hearth_memplan_format(top ? top->bytes : 0, most, sizeof(most));
    if (p->longest_seq)
        return hearth_error_set(
            err, HEARTH_ETOOBIG,
            "the run needs at least %s of private memory%s, the budget is %s "
            "(most: %s, %s); use --memory-budget %zuM, or --seq %zu at most",
            need, and_what(p), have, top ? top->name : "?", most, mib,
            p->longest_seq);
    return hearth_error_set(
        err, HEARTH_ETOOBIG,
        "the run needs at least %s of private memory%s, the budget is %s "
        "(most: %s, %s), too small for records of any length; use "
        "--memory-budget %zuM",
        need, and_what(p), have, top ? top->name : "?", most, mib);
}
