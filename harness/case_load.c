/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/case_parse.h"

/* The whole of a file, to be freed; NULL after a message. */
static char *read_file(const struct site *site, size_t max_bytes, size_t *size)
{
    int fd = open(site->file, O_RDONLY | O_NONBLOCK); /* a FIFO must not block */
    FILE *file = fd < 0 ? NULL : fdopen(fd, "rb");
    if (!file) {
        refuse(site, "cannot be read: %s", strerror(errno));
        return NULL;
    }
    struct stat status;
    if (fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode)) {
        refuse(site, "is not a regular file");
        fclose(file);
        return NULL;
    }
    size_t room = (uint64_t)status.st_size < max_bytes ? (size_t)status.st_size : max_bytes;
    char *text = malloc(room + 1);
    *size = text ? fread(text, 1, room + 1, file) : 0;
    bool good = text || out_of_memory(site);
    if (good && ferror(file))
        good = refuse(site, "cannot be read: %s", strerror(errno));
    if (good && *size > max_bytes)
        good = refuse(site, "is larger than %zu bytes", max_bytes);
    if (good && *size > room)
        good = refuse(site, "has more bytes than its size of %zu", room);
    if (good && *size == 0)
        good = refuse(site, "is empty");
    if (good && memchr(text, 0, *size))
        good = refuse(site, "contains a NUL byte");
    fclose(file);
    if (good)
        return text;
    free(text);
    return NULL;
}

json_t *parse_json(const struct site *site, const char *text, size_t size)
{
    json_error_t why;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    if (root)
        return root;
    if (why.line < 1 || why.text[0] == '\0') { /* jansson says nothing more about it */
        out_of_memory(site);
        return NULL;
    }
    char *file = NULL;
    if (asprintf(&file, "%s:%d:%d", site->file, why.line, why.column) < 0) {
        out_of_memory(site);
        return NULL;
    }
    struct site at = {.file = file, .error = site->error};
    refuse(&at, "%s", why.text);
    free(file);
    return NULL;
}

json_t *load_json(const struct site *site, size_t max_bytes)
{
    size_t size;
    char *text = read_file(site, max_bytes, &size);
    json_t *root = text ? parse_json(site, text, size) : NULL;
    free(text);
    return root;
}

/* names: the file's case names so far, each with the index of its case. */
static bool claim_name(const struct site *site, const char *name, size_t index, json_t *names)
{
    const json_t *earlier = json_object_get(names, name);
    struct site at = site_key(site, "name");
    if (earlier)
        return refuse(&at, "\"%s\" is the name of cases[%lld] already", name,
                      (long long)json_integer_value(earlier));
    return json_object_set_new(names, name, json_integer((json_int_t)index)) == 0 ||
           out_of_memory(site);
}

static bool add_cases(const struct site *site, const json_t *array, const char *source, size_t room,
                      struct cases *added)
{
    json_t *names = json_object();
    bool good = names || out_of_memory(site);
    for (size_t i = 0; good && i < json_array_size(array); i++) {
        struct site at = site_item(site, i);
        struct case_spec spec;
        good = case_spec_parse(&at, json_array_get(array, i), &spec) &&
               claim_name(&at, spec.name, i, names);
        spec.source = source;
        good = good && case_spec_expand(&at, &spec, room, added);
        case_spec_free(&spec);
    }
    json_decref(names);
    return good;
}

static bool add_root(const struct site *site, const json_t *root, size_t room, struct cases *added)
{
    static const char *const keys[] = {"schema", "source", "cases"};
    if (!check_object(site, root, "key", keys, sizeof(keys) / sizeof(*keys)))
        return false;
    const json_t *schema = json_object_get(root, "schema");
    const json_t *source = json_object_get(root, "source");
    const json_t *cases = json_object_get(root, "cases");
    struct site schema_site = site_key(site, "schema");
    struct site source_site = site_key(site, "source");
    struct site cases_site = site_key(site, "cases");
    int64_t version;
    if (!schema)
        return refuse(site, "\"schema\" is missing");
    if (!read_integer(&schema_site, schema, &version))
        return false;
    if (version != 1)
        return refuse(&schema_site, "must be 1");
    if (source && !json_is_string(source))
        return refuse_type(&source_site, "a string", source);
    if (!cases)
        return refuse(site, "\"cases\" is missing");
    return check_array(&cases_site, cases) &&
           add_cases(&cases_site, cases, json_string_value(source), room, added);
}

static bool add_file(const struct site *site, size_t room, struct cases *added)
{
    json_t *root = load_json(site, CASE_FILE_MAX_BYTES);
    bool good = root && add_root(site, root, room, added);
    json_decref(root);
    return good;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* alphasort depends on the locale */
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool is_case_file(const char *name)
{
    size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, ".json") == 0 &&
           strcmp(name, "schema.json") != 0;
}

static bool add_directory(const char *path, size_t room, struct cases *added, bool *found,
                          struct error *error);

static bool add_entry(const char *directory, const char *name, size_t room, struct cases *added,
                      bool *found, struct error *error)
{
    struct stat info;
    char *path = NULL;
    const char *slash = directory[strlen(directory) - 1] == '/' ? "" : "/";
    if (asprintf(&path, "%s%s%s", directory, slash, name) < 0)
        return fail(error, "%s: out of memory", directory);
    bool good = true;
    /* lstat: a link to a directory is not followed, so that there is no loop. */
    if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        good = add_directory(path, room, added, found, error);
    } else if (is_case_file(name)) {
        struct site site = {.file = path, .error = error};
        *found = true;
        good = add_file(&site, room, added);
    }
    free(path);
    return good;
}

static bool add_directory(const char *path, size_t room, struct cases *added, bool *found,
                          struct error *error)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, visible, by_name);
    if (count < 0)
        return fail(error, "%s: cannot be read: %s", path, strerror(errno));
    bool good = true;
    for (int i = 0; i < count; i++) {
        good = good && add_entry(path, entries[i]->d_name, room, added, found, error);
        free(entries[i]);
    }
    free(entries);
    return good;
}

static bool add_path(const char *path, size_t room, struct cases *added, struct error *error)
{
    struct site site = {.file = path, .error = error};
    struct stat info;
    bool found = false;
    if (stat(path, &info) != 0)
        return refuse(&site, "cannot be read: %s", strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return add_file(&site, room, added);
    return add_directory(path, room, added, &found, error) &&
           (found || refuse(&site, "there is no *.json file below it"));
}

bool cases_load(const char *path, struct cases *cases, struct error *error)
{
    struct cases added = {0};
    if (add_path(path, CASES_MAX - cases->count, &added, error))
        return cases_append(cases, &added, error);
    cases_free(&added);
    return false;
}
