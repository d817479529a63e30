/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/sampling.c - the contract is in sampling.h. */
#include "client/cli/sampling.h"

#include <string.h>

hearth_generate_options hearth_sampling_options(const hearth_sampling *s) {
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    o.max_tokens = (size_t)s->max_tokens;
    o.temperature = s->temperature;
    o.top_p = s->top_p;
    o.top_k = (uint32_t)s->top_k;
    o.repeat_penalty = s->repeat_penalty;
    o.seed = s->seed;
    o.stop = s->stops.v;
    o.n_stop = s->stops.n;
    o.ignore_eos = s->ignore_eos;
    o.end = s->end;
    o.n_end = s->n_end;
    return o;
}

void hearth_sampling_end_of_turn(hearth_sampling *s, const hearth_tokenizer *t,
                                 hearth_chat_template tmpl) {
    int32_t end = hearth_chat_template_end(tmpl, t);
    if (end >= 0) s->end[s->n_end++] = end;
    int32_t eos = hearth_tokenizer_eos(t);
    if (eos >= 0) s->end[s->n_end++] = eos;
}

bool hearth_sampling_on_text(void *ud, const char *utf8, size_t n) {
    hearth_cli *cli = ud;
    if (cli->json) {
        hearth_event_begin(cli, "text");
        hearth_event_strn(cli, "text", utf8, n);
        hearth_event_end(cli);
    } else if (fwrite(utf8, 1, n, cli->out) != n || fflush(cli->out) != 0) {
        cli->out_failed = true;
    }
    return !cli->out_failed && !hearth_cli_interrupted();
}

static const char *finish_name(hearth_finish f) {
    switch (f) {
    case HEARTH_FINISH_LENGTH: return "length";
    case HEARTH_FINISH_EOS: return "end";
    case HEARTH_FINISH_STOP: return "stop";
    case HEARTH_FINISH_CONTEXT: return "context";
    case HEARTH_FINISH_CALLBACK: break;
    }
    return "interrupted";
}

void hearth_sampling_done(hearth_cli *cli, const hearth_generate_result *r,
                          double seconds) {
    hearth_event_begin(cli, "done");
    hearth_event_u64(cli, "prompt_tokens", r->n_prompt);
    hearth_event_u64(cli, "tokens", r->n_tokens);
    hearth_event_str(cli, "finish", finish_name(r->finish));
    hearth_event_f64(cli, "seconds", seconds);
    hearth_event_end(cli);
    hearth_cli_say(cli, "%s", "");
}
