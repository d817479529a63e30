/* SPDX-License-Identifier: Apache-2.0 */
/* client/records/record.c - the contract is in record.h.
 *
 * A form is a list of keys, each with the role of its text; reading is one
 * table walk.  All texts of a record are copied into one block, so that one
 * wipe removes them.
 */
#include "client/records/record.h"

#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/json.h"
#include "common/mem.h"

/* Part of every id: raise it when what is hashed changes. */
#define ID_VERSION "hearth-record-1"

static const char *const FORM_NAME[] = {"auto",     "text",        "prompt",
                                        "messages", "instruction", "choices"};
#define N_FORMS (sizeof(FORM_NAME) / sizeof(FORM_NAME[0]))

/* The key that gives a form away. */
static const char *const FORM_KEY[] = {NULL,       "text",        "prompt",
                                       "messages", "instruction", "question"};

typedef struct {
    hearth_record *rec;
    const hearth_json_value *root;
    const char *where;
    hearth_error *err;
    bool filling; /* false: only counting bytes */
    size_t need;  /* bytes of text */
    size_t n_turns, n_choices;
    size_t left; /* of rec->store, while filling */
} reader;

static hearth_status bad(const reader *r, const char *what) {
    return hearth_error_set(r->err, HEARTH_EFORMAT, "%s%s%s; mend the line",
                            r->where ? r->where : "", r->where ? ": " : "",
                            what);
}

const char *hearth_record_form_name(hearth_record_form form) {
    return (size_t)form < N_FORMS ? FORM_NAME[form] : "auto";
}

hearth_status hearth_record_form_parse(hearth_record_form *out,
                                       const char *name, hearth_error *err) {
    if (out && name)
        for (size_t i = 0; i < N_FORMS; i++)
            if (strcmp(name, FORM_NAME[i]) == 0) {
                *out = (hearth_record_form)i;
                return HEARTH_OK;
            }
    return hearth_error_set(err, HEARTH_EINVAL,
                            "unknown form; use auto, text, prompt, messages, "
                            "instruction or choices");
}

void hearth_record_free(hearth_record *rec) {
    if (!rec) return;
    const hearth_alloc *al = rec->al;
    if (rec->store) hearth_zeroize(rec->store, rec->store_bytes);
    hearth_mem_free(al, rec->store);
    hearth_mem_free(al, rec->turn);
    hearth_mem_free(al, rec->choice);
    hearth_zeroize(rec->id, sizeof(rec->id));
    *rec = (hearth_record)HEARTH_RECORD_INIT;
}

/* ---- texts ---- */

/* One text: counted on the first walk, copied on the second. */
static hearth_status take_text(reader *r, const hearth_json_value *v,
                               bool may_be_empty, const char *what,
                               hearth_turn *turn) {
    const char *s;
    if (hearth_json_str(v, &s) != HEARTH_OK) return bad(r, what);
    size_t n = strlen(s);
    if (!n && !may_be_empty) return bad(r, "an answer is empty");
    if (!r->filling) {
        r->need += n;
        return HEARTH_OK;
    }
    char *at = r->rec->store + (r->rec->store_bytes - r->left);
    memcpy(at, s, n);
    r->left -= n;
    turn->text = at;
    turn->n = n;
    return HEARTH_OK;
}

static hearth_status add_turn(reader *r, hearth_role role,
                              const hearth_json_value *v, const char *what) {
    hearth_turn none = {0};
    hearth_turn *turn = r->filling ? &r->rec->turn[r->n_turns] : &none;
    turn->role = role;
    r->n_turns++;
    return take_text(r, v, !hearth_role_is_answer(role), what, turn);
}

/* Every key must be one of known[n] or "id". */
static hearth_status check_keys(const reader *r, const hearth_json_value *obj,
                                const char *const *known, size_t n) {
    for (const hearth_json_value *v = hearth_json_first(obj); v;
         v = hearth_json_next(v)) {
        const char *key = hearth_json_key(v);
        size_t i = 0;
        while (i < n && strcmp(key, known[i]) != 0) i++;
        if (i == n)
            return hearth_error_set(
                r->err, HEARTH_EFORMAT,
                "%s%sunknown key \"%.40s\"; remove it or use --as",
                r->where ? r->where : "", r->where ? ": " : "", key);
    }
    return HEARTH_OK;
}

/* ---- the five forms ---- */

static hearth_status read_text(reader *r) {
    static const char *const keys[] = {"id", "text"};
    hearth_status st = check_keys(r, r->root, keys, 2);
    if (st != HEARTH_OK) return st;
    return add_turn(r, HEARTH_ROLE_TEXT, hearth_json_get(r->root, "text"),
                    "\"text\" is not a string");
}

static hearth_status read_prompt(reader *r) {
    static const char *const keys[] = {"id", "prompt", "completion"};
    hearth_status st = check_keys(r, r->root, keys, 3);
    if (st == HEARTH_OK)
        st = add_turn(r, HEARTH_ROLE_PROMPT, hearth_json_get(r->root, "prompt"),
                      "\"prompt\" is not a string");
    if (st == HEARTH_OK)
        st = add_turn(r, HEARTH_ROLE_COMPLETION,
                      hearth_json_get(r->root, "completion"),
                      "\"completion\" is missing or not a string");
    return st;
}

static hearth_status read_message(reader *r, const hearth_json_value *m,
                                  bool *answer) {
    static const char *const keys[] = {"role", "content"};
    static const char *const name[] = {"system", "user", "assistant"};
    static const hearth_role role[] = {HEARTH_ROLE_SYSTEM, HEARTH_ROLE_USER,
                                       HEARTH_ROLE_ASSISTANT};
    const char *s = NULL;
    size_t i = 0;
    hearth_status st;
    if (hearth_json_type_of(m) != HEARTH_JSON_OBJECT)
        return bad(r, "a message is not an object");
    if ((st = check_keys(r, m, keys, 2)) != HEARTH_OK) return st;
    if (hearth_json_str(hearth_json_get(m, "role"), &s) == HEARTH_OK)
        while (i < 3 && strcmp(s, name[i]) != 0) i++;
    if (!s || i == 3) return bad(r, "a role is not system, user or assistant");
    if (role[i] == HEARTH_ROLE_SYSTEM && r->n_turns)
        return bad(r, "a system message is not the first");
    if (role[i] == HEARTH_ROLE_ASSISTANT) *answer = true;
    return add_turn(r, role[i], hearth_json_get(m, "content"),
                    "a message's \"content\" is missing or not a string");
}

static hearth_status read_messages(reader *r) {
    static const char *const keys[] = {"id", "messages"};
    const hearth_json_value *list = hearth_json_get(r->root, "messages");
    bool answer = false;
    hearth_status st = check_keys(r, r->root, keys, 2);
    if (st != HEARTH_OK) return st;
    if (hearth_json_type_of(list) != HEARTH_JSON_ARRAY)
        return bad(r, "\"messages\" is not an array");
    if (hearth_json_size(list) > HEARTH_RECORD_MAX_TURNS)
        return hearth_error_set(r->err, HEARTH_ETOOBIG,
                                "%s%smore than %d messages; split the record",
                                r->where ? r->where : "", r->where ? ": " : "",
                                HEARTH_RECORD_MAX_TURNS);
    for (const hearth_json_value *m = hearth_json_first(list); m;
         m = hearth_json_next(m))
        if ((st = read_message(r, m, &answer)) != HEARTH_OK) return st;
    return answer ? HEARTH_OK : bad(r, "no message of the assistant");
}

static hearth_status read_instruction(reader *r) {
    static const char *const keys[] = {"id", "instruction", "input", "output"};
    const hearth_json_value *input = hearth_json_get(r->root, "input");
    const char *s;
    hearth_status st = check_keys(r, r->root, keys, 4);
    if (st == HEARTH_OK)
        st = add_turn(r, HEARTH_ROLE_INSTRUCTION,
                      hearth_json_get(r->root, "instruction"),
                      "\"instruction\" is not a string");
    /* An empty input is the usual way to say that there is none. */
    if (input && !(hearth_json_str(input, &s) == HEARTH_OK && !*s) &&
        st == HEARTH_OK)
        st = add_turn(r, HEARTH_ROLE_INPUT, input, "\"input\" is not a string");
    if (st == HEARTH_OK)
        st = add_turn(r, HEARTH_ROLE_OUTPUT, hearth_json_get(r->root, "output"),
                      "\"output\" is missing or not a string");
    return st;
}

static hearth_status read_choices(reader *r) {
    static const char *const keys[] = {"id", "question", "choices", "answer"};
    const hearth_json_value *list = hearth_json_get(r->root, "choices");
    size_t n = hearth_json_size(list);
    int64_t answer = -1;
    hearth_status st = check_keys(r, r->root, keys, 4);
    if (st != HEARTH_OK) return st;
    if (hearth_json_type_of(list) != HEARTH_JSON_ARRAY || n < 2)
        return bad(r, "\"choices\" is not an array of two or more");
    if (n > HEARTH_RECORD_MAX_CHOICES)
        return hearth_error_set(r->err, HEARTH_ETOOBIG,
                                "%s%smore than %d choices; leave some out",
                                r->where ? r->where : "", r->where ? ": " : "",
                                HEARTH_RECORD_MAX_CHOICES);
    if (hearth_json_i64(hearth_json_get(r->root, "answer"), &answer) !=
            HEARTH_OK ||
        answer < 0 || (uint64_t)answer >= n)
        return bad(r, "\"answer\" is not the number of a choice, from 0");
    st = add_turn(r, HEARTH_ROLE_QUESTION, hearth_json_get(r->root, "question"),
                  "\"question\" is not a string");
    hearth_turn none = {0}, *choice = r->filling ? r->rec->choice : NULL;
    for (const hearth_json_value *v = hearth_json_first(list);
         v && st == HEARTH_OK; v = hearth_json_next(v), r->n_choices++) {
        hearth_turn *c = choice ? &choice[r->n_choices] : &none;
        c->role = HEARTH_ROLE_CHOICE;
        st = take_text(r, v, false, "a choice is not a string", c);
    }
    if (st == HEARTH_OK && r->filling) {
        r->rec->answer = (size_t)answer;
        r->rec->turn[r->n_turns] = choice[answer];
    }
    r->n_turns++;
    return st;
}

static hearth_status read_form(reader *r) {
    r->n_turns = r->n_choices = 0;
    switch (r->rec->form) {
    case HEARTH_FORM_TEXT: return read_text(r);
    case HEARTH_FORM_PROMPT: return read_prompt(r);
    case HEARTH_FORM_MESSAGES: return read_messages(r);
    case HEARTH_FORM_INSTRUCTION: return read_instruction(r);
    case HEARTH_FORM_CHOICES: return read_choices(r);
    default: break;
    }
    return bad(r, "none of the five forms: text, prompt and completion, "
                  "messages, instruction and output, question and choices");
}

static hearth_status find_form(reader *r, hearth_record_form wanted) {
    hearth_record_form found = HEARTH_FORM_AUTO;
    for (size_t i = 1; i < N_FORMS; i++)
        if (hearth_json_get(r->root, FORM_KEY[i])) {
            if (found != HEARTH_FORM_AUTO)
                return bad(r, "keys of two forms in one record");
            found = (hearth_record_form)i;
        }
    if (wanted != HEARTH_FORM_AUTO && found != wanted)
        return hearth_error_set(
            r->err, HEARTH_EFORMAT,
            "%s%snot a record of form %s; mend the line or leave out --as",
            r->where ? r->where : "", r->where ? ": " : "",
            hearth_record_form_name(wanted));
    r->rec->form = found;
    return HEARTH_OK;
}

/* ---- the id ---- */

static bool id_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

static hearth_status given_id(reader *r, const hearth_json_value *v) {
    const char *s;
    size_t n;
    if (hearth_json_str(v, &s) != HEARTH_OK) goto wrong;
    n = strlen(s);
    if (!n || n > HEARTH_RECORD_MAX_ID) goto wrong;
    for (size_t i = 0; i < n; i++)
        if (!id_char(s[i])) goto wrong;
    memcpy(r->rec->id, s, n + 1);
    return HEARTH_OK;
wrong:
    return bad(r, "\"id\" is not 1 to 64 of letters, digits, '.', '_', '-'");
}

static hearth_status hash_turn(hearth_sha256_state *h, const hearth_turn *t) {
    unsigned char head[9];
    head[0] = (unsigned char)t->role;
    hearth_store_be64(head + 1, t->n);
    hearth_status st = hearth_sha256_add(h, head, sizeof(head));
    return st == HEARTH_OK ? hearth_sha256_add(h, t->text, t->n) : st;
}

static hearth_status content_id(hearth_record *rec) {
    hearth_sha256_state h;
    uint8_t digest[HEARTH_SHA256_BYTES];
    hearth_status st = hearth_sha256_init(&h);
    if (st != HEARTH_OK) return st;
    st = hearth_sha256_add(&h, ID_VERSION, sizeof(ID_VERSION));
    for (size_t i = 0; st == HEARTH_OK && i < rec->n_turns; i++)
        st = hash_turn(&h, &rec->turn[i]);
    for (size_t i = 0; st == HEARTH_OK && i < rec->n_choices; i++)
        st = hash_turn(&h, &rec->choice[i]);
    if (st == HEARTH_OK) st = hearth_sha256_finish(&h, digest);
    hearth_sha256_free(&h);
    if (st == HEARTH_OK) hearth_hex_encode(rec->id, digest, sizeof(digest));
    return st;
}

/* ---- all of it ---- */

static hearth_status fill(reader *r) {
    hearth_record *rec = r->rec;
    hearth_status st = read_form(r);
    if (st != HEARTH_OK) return st;
    rec->store_bytes = r->need + 1;
    rec->store = hearth_mem_array(rec->al, rec->store_bytes, 1);
    rec->turn = hearth_mem_array(rec->al, r->n_turns, sizeof(*rec->turn));
    rec->choice = hearth_mem_array(rec->al, r->n_choices, sizeof(*rec->choice));
    if (!rec->store || !rec->turn || !rec->choice)
        return hearth_error_set(r->err, HEARTH_ENOMEM,
                                "out of memory for a record");
    r->filling = true;
    r->left = rec->store_bytes;
    if ((st = read_form(r)) != HEARTH_OK) return st;
    rec->n_turns = r->n_turns;
    rec->n_choices = r->n_choices;
    const hearth_json_value *id = hearth_json_get(r->root, "id");
    return id ? given_id(r, id) : content_id(rec);
}

hearth_status hearth_record_parse(hearth_record *rec, const char *line,
                                  size_t n, hearth_record_form form,
                                  const char *where, const hearth_alloc *al,
                                  hearth_error *err) {
    hearth_json *json = NULL;
    hearth_status st;
    if (!rec) return HEARTH_EINVAL;
    *rec = (hearth_record)HEARTH_RECORD_INIT;
    reader r = {rec, NULL, where, err, false, 0, 0, 0, 0};
    if (!line || (size_t)form >= N_FORMS)
        return hearth_error_set(err, HEARTH_EINVAL, "no record given");
    if (n > HEARTH_RECORD_MAX_LINE)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%s%sa line above %zu MiB; split the record",
                                where ? where : "", where ? ": " : "",
                                HEARTH_RECORD_MAX_LINE >> 20);
    rec->al = al;
    st = hearth_json_parse(&json, "record", line, n, al, NULL);
    if (st == HEARTH_EFORMAT)
        st = bad(&r, "not one JSON object in UTF-8 with each key once");
    else if (st != HEARTH_OK)
        (void)hearth_error_set(err, st, "%s%s%s", where ? where : "",
                               where ? ": " : "", hearth_status_text(st));
    if (st != HEARTH_OK) goto done;
    r.root = hearth_json_root(json);
    st = HEARTH_EFORMAT;
    if (hearth_json_type_of(r.root) != HEARTH_JSON_OBJECT)
        st = bad(&r, "not a JSON object");
    else if ((st = find_form(&r, form)) == HEARTH_OK)
        st = fill(&r);
    if (st == HEARTH_ERNG || st == HEARTH_ENOMEM)
        (void)hearth_error_set(err, st, "out of memory for a record");
done:
    hearth_json_free(json);
    if (st != HEARTH_OK) hearth_record_free(rec);
    return st;
}

hearth_status hearth_record_is_holdout(const char *id, bool *holdout) {
    uint8_t digest[HEARTH_SHA256_BYTES];
    if (!id || !holdout) return HEARTH_EINVAL;
    *holdout = false;
    hearth_status st = hearth_sha256(digest, id, strlen(id));
    if (st != HEARTH_OK) return st;
    *holdout = hearth_load_be64(digest) % 5 == 0;
    return HEARTH_OK;
}

bool hearth_record_purpose_ok(const char *s) {
    size_t n = 0;
    for (; s && s[n] && n <= 32; n++) {
        bool ok = (s[n] >= 'a' && s[n] <= 'z') ||
                  (s[n] >= '0' && s[n] <= '9') || s[n] == '_' || s[n] == '.' ||
                  s[n] == '-';
        if (!ok) return false;
    }
    return n >= 1 && n <= 32;
}
