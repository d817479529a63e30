/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/test_fleet_records.c - tests/fleet/fleet_records.h */
#include "tests/support/cmocka_all.h"

#include "common/file.h"
#include "tests/fleet/fleet_records.h"
#include "tests/support/fail_alloc.h"

static char dir[64];

/* Write name into the test's folder. */
static void put(const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_ok(hearth_file_write(path, text, strlen(text), 0644, NULL));
}

/* A population from a [records] section. */
static hearth_status load(hearth_fleet_population **p, const char *records,
                          const hearth_alloc *al, hearth_error *err) {
    char text[1024];
    hearth_fleet_scenario *sc = NULL;
    snprintf(text, sizeof(text),
             "[run]\nname = t\n[model]\npath = /m\n[privacy]\nclip = 1\n"
             "[records]\n%s",
             records);
    *p = NULL;
    hearth_status st = hearth_fleet_scenario_parse(
        &sc, "t.ini", dir, text, strlen(text), NULL, 0, NULL, err);
    if (st == HEARTH_OK) st = hearth_fleet_records_load(p, sc, al, err);
    hearth_fleet_scenario_free(sc, NULL);
    return st;
}

static const char ROLES[] =
    "{\"role\":\"small\",\"lines\":[\"a\"]}\n"
    "{\"role\":\"big\",\"lines\":[\"one one\",\"two two\",\"three\",\"four "
    "four\",\"five \\\"5\\\"\"]}\n"
    "{\"role\":\"mid\",\"lines\":[\"x\",\"\",\"y\",\"z\"]}\n"
    "{\"role\":\"tiny\",\"lines\":[\"p\",\"q\"]}\n"
    "{\"role\":\"big\",\"lines\":\"six\"}\n";

static void records_cut_people_largest_first(void **state) {
    hearth_fleet_population *p;
    hearth_error err = {0};
    (void)state;
    put("roles.jsonl", ROLES);
    assert_ok(load(&p,
                   "path = roles.jsonl\ntext_field = lines\npartition = "
                   "field:role\ndevices = 2\nunseen_devices = 1\n",
                   NULL, &err));
    assert_int_equal(p->n_people, 3);
    assert_int_equal(p->n_unseen, 1);
    assert_int_equal(p->n_found, 4);
    assert_int_equal(p->n_small, 1);
    assert_string_equal(p->person[0].name, "big");
    assert_int_equal(p->person[0].n_lines, 6);
    assert_int_equal(p->person[0].n_train, 5); /* 0.2 x 6 = 1.2 -> 1 */
    assert_string_equal(p->person[0].line[0], "{\"text\":\"one one\"}");
    assert_string_equal(p->person[0].line[4], "{\"text\":\"five \\\"5\\\"\"}");
    assert_string_equal(p->person[0].line[5], "{\"text\":\"six\"}");
    assert_string_equal(p->person[1].name, "mid");
    assert_int_equal(p->person[1].n_lines, 3); /* the empty one is gone */
    assert_string_equal(p->person[2].name, "tiny");
    assert_true(p->person[2].unseen && p->person[2].n_train == 0);
    hearth_fleet_population_free(p);
}

static const char PIECES[] =
    "path = roles.jsonl\ntext_field = lines\npartition = field:role\npiece = "
    "2\nholdout = none\nunseen_devices = every:3\n";

/* big (6 records), mid (3) and tiny (2) are people; the third is unseen whatever
 * the number of devices, and the others are cut in pieces of two. */
static void records_cut_people_into_devices(void **state) {
    hearth_fleet_population *all, *two;
    char records[512];
    hearth_error err = {0};
    (void)state;
    put("roles.jsonl", ROLES);
    assert_ok(load(&all, PIECES, NULL, &err));
    assert_int_equal(all->n_people, 5);
    assert_int_equal(all->n_unseen, 1);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(all->person[i].n_lines, 2);
        assert_int_equal(all->person[i].n_train, 2); /* nothing held out */
        assert_false(all->person[i].unseen);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(all->person[i].name, all->person[k].name);
        if (!strcmp(all->person[i].name, "big/3"))
            assert_string_equal(all->person[i].line[1], "{\"text\":\"six\"}");
    }
    assert_string_equal(all->person[4].name, "tiny");
    assert_int_equal(all->person[4].n_train, 0);
    assert_int_equal(all->person[4].n_lines, 2);
    snprintf(records, sizeof(records), "%sdevices = 2\n", PIECES);
    assert_ok(load(&two, records, NULL, &err));
    assert_int_equal(two->n_people, 3);
    for (size_t i = 0; i < 2; i++) /* the first of the same order */
        assert_string_equal(two->person[i].name, all->person[i].name);
    assert_string_equal(two->person[2].name, "tiny");
    hearth_fleet_population_free(all);
    hearth_fleet_population_free(two);
    snprintf(records, sizeof(records), "%sdevices = 5\n", PIECES);
    assert_int_equal(load(&two, records, NULL, &err), HEARTH_ENOTFOUND);
}

static void records_hash_holdout_depends_on_content_only(void **state) {
    hearth_fleet_population *p;
    char text[8192];
    size_t n = 0, held = 0;
    (void)state;
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              "{\"text\":\"line %d\"}\n", i);
    put("iid.jsonl", text);
    assert_ok(load(&p,
                   "path = iid.jsonl\npartition = iid\ndevices = 4\n"
                   "holdout = hash:0.2\nunseen_devices = 1\n",
                   NULL, NULL));
    assert_int_equal(p->n_people, 5);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(p->person[i].n_lines, 40);
        held += p->person[i].n_lines - p->person[i].n_train;
    }
    assert_in_range(held, 18, 46); /* of 160; observed 29 */
    hearth_fleet_population_free(p);
}

static void records_form_drops_the_fleets_own_fields(void **state) {
    hearth_fleet_population *p;
    (void)state;
    put("recs.jsonl",
        "{\"who\":\"a\",\"prompt\":\"p\",\"day\":\"2\",\"completion\":\"c2\"}\n"
        "{\"prompt\":\"p\",\"completion\":\"c1\",\"who\":\"a\",\"day\":\"1\"}"
        "\n");
    assert_ok(load(&p,
                   "path = recs.jsonl\nform = records\npartition = field:who\n"
                   "order = day\n",
                   NULL, NULL));
    assert_string_equal(p->person[0].line[0],
                        "{\"prompt\":\"p\",\"completion\":\"c1\"}");
    assert_string_equal(p->person[0].line[1],
                        "{\"prompt\":\"p\",\"completion\":\"c2\"}");
    assert_int_equal(p->person[0].n_train, 1);
    hearth_fleet_population_free(p);
}

static const char CSV_RECORDS[] =
    "path = days.csv\nform = template:day.txt\npartition = field:id\n"
    "order = date\nmin_records = 2\n";

static void records_rows_become_sentences(void **state) {
    hearth_fleet_population *p;
    hearth_error err = {0};
    (void)state;
    put("day.txt", "{steps:0} steps\n---\n{any:HAPPY,SAD}\n");
    put("days.csv", "id,date,steps,HAPPY,SAD\n"
                    "a,2021-02-01,5,1,0\n"
                    "a,2021-01-01,4,0,1\n"
                    "a,2021-03-01,6,0,0\n" /* no mood: not a record */
                    "b,2021-01-01,6,1,0\n");
    assert_ok(load(&p, CSV_RECORDS, NULL, &err));
    assert_int_equal(p->n_people, 1);
    assert_int_equal(p->n_small, 1);
    assert_string_equal(p->person[0].line[0],
                        "{\"prompt\":\"4 steps\",\"completion\":\"sad\"}");
    assert_int_equal(p->person[0].n_lines, 2);
    hearth_fleet_population_free(p);
}

static void records_refuse_and_say_where(void **state) {
    static const struct {
        const char *file, *records;
        hearth_status st;
        const char *says;
    } BAD[] = {
        {"{\"role\":1}\n", "partition = field:role\n", HEARTH_EFORMAT, ":1:"},
        {"\nx\n", "partition = field:role\n", HEARTH_EFORMAT, ":2:"},
        {"{\"role\":\"a\"}\n", "partition = field:role\n", HEARTH_EFORMAT,
         "'text'"},
        {"{\"role\":\"a\",\"text\":\"\"}\n", "partition = field:role\n",
         HEARTH_EFORMAT, "empty"},
        {"{\"role\":\"a\",\"text\":[1]}\n", "partition = field:role\n",
         HEARTH_EFORMAT, "strings"},
        {"{\"role\":\"a\",\"text\":\"t\"}\n",
         "partition = field:role\norder = day\n", HEARTH_EFORMAT, "'day'"},
        {"{\"text\":\"t\"}\n", "partition = iid\ndevices = 2\n",
         HEARTH_ENOTFOUND, "lower devices"},
        {"[1]\n", "form = records\npartition = iid\ndevices = 1\n",
         HEARTH_EFORMAT, "not an object"},
        {"{\"role\":"
         "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxx\",\"text\":\"t\"}\n",
         "partition = field:role\n", HEARTH_ETOOBIG, "63"},
        {"{\"role\":"
         "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\","
         "\"text\":[\"t\",\"u\"]}\n",
         "partition = field:role\npiece = 1\n", HEARTH_ETOOBIG, "number"},
        {"id,steps\na,1\n", "form = template:day.txt\npartition = field:idd\n",
         HEARTH_EFORMAT, "did you mean id"},
    };
    hearth_fleet_population *p;
    (void)state;
    put("day.txt", "{steps}");
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        char text[512];
        hearth_error err = {0};
        put("bad.jsonl", BAD[i].file);
        snprintf(text, sizeof(text), "path = bad.jsonl\n%s", BAD[i].records);
        if (load(&p, text, NULL, &err) != BAD[i].st || p ||
            !strstr(err.text, BAD[i].says))
            fail_msg("case %zu: %s", i, err.text);
    }
    assert_int_equal(
        load(&p, "path = none\npartition = field:role\n", NULL, NULL),
        HEARTH_ENOTFOUND);
    assert_int_equal(hearth_fleet_records_load(&p, NULL, NULL, NULL),
                     HEARTH_EINVAL);
}

static void records_survive_every_failed_allocation(void **state) {
    (void)state;
    put("roles.jsonl", ROLES);
    put("day.txt", "{steps:0} steps\n---\n{any:HAPPY,SAD}\n");
    put("days.csv", "id,date,steps,HAPPY,SAD\na,1,5,1,0\na,2,4,0,1\n");
    static const char *const R[] = {
        "path = roles.jsonl\ntext_field = lines\npartition = field:role\n",
        "path = roles.jsonl\ntext_field = lines\npartition = iid\ndevices = "
        "2\n",
        CSV_RECORDS, PIECES};
    for (size_t r = 0; r < 4; r++)
        for (size_t k = 1;; k++) {
            hearth_fail_alloc fa;
            hearth_alloc al = hearth_fail_alloc_init(&fa, k);
            hearth_fleet_population *p;
            hearth_status st = load(&p, R[r], &al, NULL);
            hearth_fleet_population_free(p);
            assert_int_equal(fa.live, 0);
            if (st == HEARTH_OK) break;
            assert_int_equal(st, HEARTH_ENOMEM);
        }
}

static int make_dir(void **state) {
    (void)state;
    return hearth_test_dir(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
    (void)state;
    return hearth_file_remove_tree(dir, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_cut_people_largest_first),
        cmocka_unit_test(records_cut_people_into_devices),
        cmocka_unit_test(records_hash_holdout_depends_on_content_only),
        cmocka_unit_test(records_form_drops_the_fleets_own_fields),
        cmocka_unit_test(records_rows_become_sentences),
        cmocka_unit_test(records_refuse_and_say_where),
        cmocka_unit_test(records_survive_every_failed_allocation),
    };
    return cmocka_run_group_tests_name("tests/fleet/fleet_records", tests,
                                       make_dir, remove_dir);
}
