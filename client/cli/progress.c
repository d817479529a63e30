/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/progress.c - how far, and how long still.  On stderr only. */
#include <signal.h>
#include <string.h>

#include "client/cli/cli_private.h"
#include "common/clock.h"

#define REDRAW_MS 100  /* terminal */
#define LINE_MS   5000 /* pipe */
#define BAR_CELLS 24

static void format_left(char *out, size_t cap, int64_t ms) {
    int64_t s = (ms + 500) / 1000;
    if (s >= 3600)
        (void)snprintf(out, cap, "%lldh%02lldm", (long long)(s / 3600),
                       (long long)(s / 60 % 60));
    else
        (void)snprintf(out, cap, "%lld:%02lld", (long long)(s / 60),
                       (long long)(s % 60));
}

static void draw_bar(hearth_cli *cli, uint64_t done, uint64_t total,
                     const char *left, const char *text) {
    char bar[BAR_CELLS + 1];
    size_t full = total ? (size_t)(done * BAR_CELLS / total) : 0;
    for (size_t i = 0; i < BAR_CELLS; i++) bar[i] = i < full ? '#' : '.';
    bar[BAR_CELLS] = 0;
    fprintf(cli->err, "\r[%s] %llu/%llu  %s left  %.40s\033[K", bar,
            (unsigned long long)done, (unsigned long long)total, left, text);
    fflush(cli->err);
    cli->bar_open = true;
}

void hearth_progress(hearth_cli *cli, uint64_t done, uint64_t total,
                     const char *text) {
    hearth_clock clock = hearth_clock_system();
    int64_t now = hearth_clock_mono(&clock);
    char left[32] = "?";
    if (cli->json) return;
    if (cli->bar_started_ms == 0) {
        cli->bar_started_ms = now;
        cli->bar_drawn_ms = now;
    }
    int64_t wait = cli->err_is_tty ? REDRAW_MS : LINE_MS;
    if (now - cli->bar_drawn_ms < wait) return;
    cli->bar_drawn_ms = now;
    if (done && total >= done)
        format_left(left, sizeof(left),
                    (int64_t)((double)(now - cli->bar_started_ms) /
                              (double)done * (double)(total - done)));
    if (cli->err_is_tty)
        draw_bar(cli, done, total, left, text ? text : "");
    else
        fprintf(cli->err, "hearth %s: %llu/%llu, %s left%s%s\n", cli->command,
                (unsigned long long)done, (unsigned long long)total, left,
                text ? ", " : "", text ? text : "");
}

void hearth_cli__clear_bar(hearth_cli *cli) {
    if (!cli->bar_open) return;
    fputs("\r\033[K", cli->err);
    fflush(cli->err);
    cli->bar_open = false;
}

void hearth_progress_end(hearth_cli *cli) {
    hearth_cli__clear_bar(cli);
    cli->bar_started_ms = cli->bar_drawn_ms = 0;
}

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

void hearth_cli_catch_signals(void) {
    struct sigaction sa;
    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_signal;
    sa.sa_flags = (int)SA_RESETHAND; /* the second Ctrl-C ends the process */
    (void)sigaction(SIGINT, &sa, NULL);
    (void)sigaction(SIGTERM, &sa, NULL);
    sa.sa_flags = 0;
    sa.sa_handler = SIG_IGN; /* a closed pipe is an error of the write */
    (void)sigaction(SIGPIPE, &sa, NULL);
}

bool hearth_cli_interrupted(void) {
    return interrupted != 0;
}
