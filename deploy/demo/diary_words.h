/* SPDX-License-Identifier: Apache-2.0 */
/* deploy/demo/diary_words.h - the words and sentences of the synthetic diary.
 *
 * Every word that people choose differently is a concept with a plain form,
 * which most of the general text uses, and a homely form, which the people of
 * the demo use.  A sentence is a template over concepts (<word>) and numbers
 * (<#lo-hi>).  All text here was written for Hearth; none of it is anybody's
 * record.
 */
#ifndef HEARTH_DEMO_DIARY_WORDS_H
#define HEARTH_DEMO_DIARY_WORDS_H

#include <stddef.h>

typedef struct {
    const char *name, *plain, *homely;
} diary_word;

static const diary_word diary_words[] = {
    {"slept", "slept", "kipped"},     {"woke", "woke", "rose"},
    {"tired", "tired", "weary"},      {"rested", "rested", "perky"},
    {"good", "good", "grand"},        {"bad", "bad", "rotten"},
    {"happy", "happy", "chuffed"},    {"sad", "sad", "glum"},
    {"calm", "calm", "mellow"},       {"tense", "tense", "frazzled"},
    {"walked", "walked", "strolled"}, {"walk", "walk", "stroll"},
    {"ran", "ran", "legged"},         {"steps", "steps", "paces"},
    {"hours", "hours", "hrs"},        {"minutes", "minutes", "mins"},
    {"morning", "morning", "dawn"},   {"evening", "evening", "dusk"},
    {"very", "very", "right"},        {"little", "little", "wee"},
    {"felt", "felt", "were"},         {"ate", "ate", "scoffed"},
    {"rest", "rest", "breather"},     {"heart", "heart", "ticker"},
    {"work", "work", "graft"},        {"friend", "friend", "mate"},
    {"quick", "quick", "nippy"},      {"slow", "slow", "dawdly"},
    {"long", "long", "lengthy"},      {"home", "home", "hearth"},
};

/* What a question or a sentence is about. */
typedef enum {
    DIARY_SLEEP,
    DIARY_STEPS,
    DIARY_HEART,
    DIARY_MOOD,
    DIARY_TOPICS
} diary_topic;

/* Questions of the app, by topic; the app always writes plainly. */
static const char *const diary_questions[DIARY_TOPICS][6] = {
    {"How was the night?", "How did you sleep?", "What about sleep?",
     "Was the night fine?", "How long was the night?", "Tell me of the night."},
    {"How far did you go?", "Did you move today?", "What about steps?",
     "How was the day on foot?", "Were you active?", "Tell me of your steps."},
    {"How was the pulse?", "What about your pulse?", "Was the pulse fine?",
     "How did the pulse go?", "Is the pulse in order?",
     "Tell me of the pulse."},
    {"How is the mood?", "What about the mood?", "How are you today?",
     "Are you well?", "What was the day like?", "Tell me of your mood."},
};

/* First clauses of an answer, by topic. */
#define DIARY_N_OPEN 12
static const char *const diary_open[DIARY_TOPICS][DIARY_N_OPEN] = {
    {"I <slept> <#4-9> <hours> and <woke> <tired>",
     "I <slept> <#4-9> <hours> and <woke> <rested>",
     "<slept> <#4-9> <hours> and <woke> at <morning>",
     "I <slept> a <little> and <woke> <tired>",
     "I <slept> <very> <good> and <woke> <rested>",
     "a <bad> night and I <woke> <very> <tired>",
     "a <good> night and I <woke> <very> <rested>",
     "I <woke> twice and <slept> <#2-5> <hours> more",
     "a <long> night and I <slept> <good>",
     "I <slept> <bad> and <woke> before <morning>",
     "I <slept> <#20-50> <minutes> after <work> and <woke> <calm>",
     "a <little> <rest> and I <woke> <rested>"},
    {"I <walked> <#2-9> thousand <steps> by <evening>",
     "I <walked> <home> at <evening> and <ate> <very> <good>",
     "a <long> <walk> of <#3-9> thousand <steps>",
     "I <walked> <#20-50> <minutes> with a <friend>",
     "I <ran> <#10-30> <minutes> and <walked> <home>",
     "a <quick> <walk> at <morning> and <work> after",
     "a <slow> <walk> with a <friend> at <evening>",
     "I <walked> a <little> after <work>",
     "<work> was <long> and I <walked> <#1-4> thousand <steps>",
     "I <ran> <home> from <work> with a <friend>",
     "a <little> <walk> of <#10-30> <minutes> at <morning>",
     "I <walked> <very> <slow> for <#1-3> <hours>"},
    {"my <heart> was <calm> at <#55-75> by <morning>",
     "my <heart> was <quick> at <#80-99> after a <walk>",
     "a <calm> <heart> at <#55-75> all <evening>",
     "my <heart> went <very> <quick> at <work>",
     "my <heart> was <slow> and <calm> after a <rest>",
     "a <quick> <heart> at <morning> and a <slow> <heart> at <evening>",
     "my <heart> was <good> on the <long> <walk>",
     "my <heart> was <quick> for <#5-20> <minutes>",
     "a <slow> <heart> at <#50-60> when I <woke>",
     "my <heart> was <calm> for <#2-6> <hours>",
     "my <heart> ran <quick> after I <ate>",
     "a <good> <calm> <heart> at <#55-75>"},
    {"we <felt> <very> <happy> at <morning>",
     "we <felt> <sad> and <tired> at <evening>",
     "we <felt> <calm> after a <walk> with a <friend>",
     "we <felt> <tense> at <work> for <#2-8> <hours>",
     "a <good> day and we <felt> <happy>",
     "a <bad> day and we <felt> <very> <sad>",
     "we <felt> a <little> <tense> and <tired>",
     "we <felt> <rested> and <calm> at <home>",
     "a <friend> came <home> and we <felt> <happy>",
     "a <long> day of <work> and we <felt> <tired>",
     "we <felt> <good> when we <ate> at <home>",
     "we <felt> <tense> and then <calm> by <evening>"},
};

/* Second clauses, for any topic. */
#define DIARY_N_CLOSE 12
static const char *const diary_close[DIARY_N_CLOSE] = {
    "so I <felt> <very> <good>",
    "so we <felt> <tired> at <work>",
    "and a <friend> <felt> <happy> too",
    "and a <little> <rest> was <good>",
    "then I <walked> <home> <very> <slow>",
    "then we <ate> at <home> and <felt> <calm>",
    "but <work> was <long> and <bad>",
    "but the <evening> was <calm> and <good>",
    "with a <quick> <walk> of <#10-40> <minutes>",
    "with a <friend> for <#1-3> <hours>",
    "and the <morning> was <good>",
    "then a <long> <rest> at <home>",
};

#endif /* HEARTH_DEMO_DIARY_WORDS_H */
