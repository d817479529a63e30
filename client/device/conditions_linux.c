/* SPDX-License-Identifier: Apache-2.0 */
/* client/device/conditions_linux.c - power, warmth and network from a sysfs
 * tree.
 *
 * What a folder does not say is taken as the harmless machine it usually means
 * (a server has no battery and no sensor); what it says but cannot be read is
 * a failure, and a failure refuses.
 */
#include "client/device/conditions.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/mem.h"

#define PATH_CAP 512
#define TEXT_CAP 512

typedef struct {
    hearth_alloc alloc;
    char root[PATH_CAP / 2];
} linux_source;

/* First bytes of root/folder/name/file, without the last newline.  False when
 * there is no such file or it cannot be read. */
static bool read_text(const linux_source *s, const char *folder,
                      const char *name, const char *file, char *text,
                      size_t cap) {
    char path[PATH_CAP];
    int n = snprintf(path, sizeof(path), "%s/%s/%s/%s", s->root, folder, name,
                     file);
    if (n < 0 || (size_t)n >= sizeof(path)) return false;
    FILE *f = fopen(path, "r");
    if (!f) return false;
    size_t got = fread(text, 1, cap - 1, f);
    bool ok = !ferror(f);
    fclose(f);
    while (got && (text[got - 1] == '\n' || text[got - 1] == ' ')) got--;
    text[got] = 0;
    return ok;
}

/* A whole number with up to 9 digits. */
static bool parse_small(const char *s, long *out) {
    bool negative = *s == '-';
    long v = 0;
    s += negative;
    if (*s == 0 || strlen(s) > 9) return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return false;
        v = v * 10 + (*s - '0');
    }
    *out = negative ? -v : v;
    return true;
}

typedef bool (*visit_fn)(const linux_source *s, const char *name,
                         hearth_conditions *c);

/* Call visit for each entry of a folder.  An absent folder has none.  False
 * when an entry cannot be understood. */
static bool each_entry(const linux_source *s, const char *folder,
                       visit_fn visit, hearth_conditions *c) {
    char path[PATH_CAP];
    int n = snprintf(path, sizeof(path), "%s/%s", s->root, folder);
    if (n < 0 || (size_t)n >= sizeof(path)) return false;
    DIR *dir = opendir(path);
    if (!dir) return errno == ENOENT;
    bool ok = true;
    struct dirent *e;
    while (ok && (e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.') ok = visit(s, e->d_name, c);
    closedir(dir);
    return ok;
}

static bool visit_power(const linux_source *s, const char *name,
                        hearth_conditions *c) {
    const char *dir = "class/power_supply";
    char type[TEXT_CAP], text[TEXT_CAP];
    long v;
    if (!read_text(s, dir, name, "type", type, sizeof(type))) return true;
    if (strcmp(type, "Battery") != 0) {
        if (read_text(s, dir, name, "online", text, sizeof(text)) &&
            strcmp(text, "1") == 0)
            c->charging = true;
        return true;
    }
    /* Batteries of mice and pens say so; they do not run this machine. */
    if (read_text(s, dir, name, "scope", text, sizeof(text)) &&
        strcmp(text, "Device") == 0)
        return true;
    c->has_battery = true;
    if (!read_text(s, dir, name, "capacity", text, sizeof(text)) ||
        !parse_small(text, &v) || v < 0 || v > 100)
        return false;
    if ((double)v < c->battery_percent) c->battery_percent = (double)v;
    if (read_text(s, dir, name, "status", text, sizeof(text)) &&
        (strcmp(text, "Charging") == 0 || strcmp(text, "Full") == 0 ||
         strcmp(text, "Not charging") == 0))
        c->charging = true; /* "Not charging": plugged in, full enough */
    return true;
}

static bool visit_thermal(const linux_source *s, const char *name,
                          hearth_conditions *c) {
    char text[TEXT_CAP];
    long milli;
    if (strncmp(name, "thermal_zone", 12) != 0) return true;
    if (!read_text(s, "class/thermal", name, "temp", text, sizeof(text)))
        return true; /* a zone that is switched off gives no number */
    if (!parse_small(text, &milli)) return false;
    double celsius = (double)milli / 1000;
    if (!c->has_temperature || celsius > c->temperature_c)
        c->temperature_c = celsius;
    c->has_temperature = true;
    return true;
}

static bool visit_net(const linux_source *s, const char *name,
                      hearth_conditions *c) {
    char text[TEXT_CAP];
    if (!read_text(s, "class/net", name, "operstate", text, sizeof(text)))
        return true;
    if (strcmp(text, "up") != 0 && strcmp(text, "unknown") != 0) return true;
    bool mobile = strncmp(name, "wwan", 4) == 0 ||
                  strncmp(name, "ppp", 3) == 0 ||
                  strncmp(name, "rmnet", 5) == 0;
    if (!mobile &&
        read_text(s, "class/net", name, "uevent", text, sizeof(text)))
        mobile = strstr(text, "DEVTYPE=wwan") != NULL;
    if (mobile) c->metered = true;
    return true;
}

static hearth_status read_linux(void *ud, hearth_conditions *out,
                                hearth_error *err) {
    const linux_source *s = ud;
    hearth_conditions c = {.battery_percent = 100};
    const char *bad = NULL;
    if (!each_entry(s, "class/power_supply", visit_power, &c))
        bad = "class/power_supply";
    else if (!each_entry(s, "class/thermal", visit_thermal, &c))
        bad = "class/thermal";
    else if (!each_entry(s, "class/net", visit_net, &c))
        bad = "class/net";
    if (bad) {
        hearth_conditions_worst(out);
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "%s/%s: cannot be understood; the device will "
                                "not take part until it can",
                                s->root, bad);
    }
    if (!c.has_battery) c.charging = true;
    *out = c;
    return HEARTH_OK;
}

hearth_status hearth_conditions_linux(hearth_conditions_source *out,
                                      const char *root,
                                      const hearth_alloc *al) {
    struct stat sb;
    if (!out) return HEARTH_EINVAL;
    *out = (hearth_conditions_source){NULL, NULL};
    if (!root || strlen(root) >= sizeof(((linux_source *)0)->root))
        return HEARTH_EINVAL;
    if (stat(root, &sb) != 0 || !S_ISDIR(sb.st_mode)) return HEARTH_ENOTFOUND;
    linux_source *s = hearth_mem_new(al, sizeof(*s));
    if (!s) return HEARTH_ENOMEM;
    s->alloc = *hearth_mem_or_default(al);
    memcpy(s->root, root, strlen(root));
    *out = (hearth_conditions_source){read_linux, s};
    return HEARTH_OK;
}

void hearth_conditions_linux_free(hearth_conditions_source *src) {
    if (!src || src->read != read_linux) return;
    linux_source *s = src->ud;
    hearth_alloc al = s->alloc;
    hearth_mem_free(&al, s);
    *src = (hearth_conditions_source){NULL, NULL};
}
