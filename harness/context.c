/* SPDX-License-Identifier: MIT */
#include "harness/context.h"

#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "opt/cpu.h"

static int64_t cache_bytes(hwloc_topology_t topology, hwloc_obj_type_t type)
{
    hwloc_obj_t cache = hwloc_get_obj_by_type(topology, type, 0);
    return cache ? (int64_t)cache->attr->cache.size : 0;
}

static bool read_topology(struct context *context, struct error *error)
{
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0 || hwloc_topology_load(topology) != 0)
        return fail(error, "hwloc cannot read this machine's topology");
    const char *model = hwloc_obj_get_info_by_name(hwloc_get_root_obj(topology), "CPUModel");
    hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
    if (!model && package)
        model = hwloc_obj_get_info_by_name(package, "CPUModel");
    snprintf(context->cpu, sizeof(context->cpu), "%s", model ? model : "unknown");
    context->cpus = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU);
    context->l1d_bytes = cache_bytes(topology, HWLOC_OBJ_L1CACHE);
    context->l2_bytes = cache_bytes(topology, HWLOC_OBJ_L2CACHE);
    context->llc_bytes = cache_bytes(topology, HWLOC_OBJ_L3CACHE);
    int l3s = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_L3CACHE);
    int l2s = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_L2CACHE);
    context->llcs = l3s > 0 ? l3s : l2s > 0 ? l2s : 1;
    if (context->llc_bytes == 0)
        context->llc_bytes = context->l2_bytes;
    context->memory_bytes = (int64_t)hwloc_get_root_obj(topology)->total_memory;
    hwloc_topology_destroy(topology);
    return true;
}

static void read_line(const char *path, char *text, size_t size)
{
    text[0] = 0;
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    if (!fgets(text, (int)size, file))
        text[0] = 0;
    text[strcspn(text, "\n")] = 0;
    fclose(file);
}

static void name_features(uint32_t features, char *text, size_t size)
{
    text[0] = 0;
    for (size_t i = 0; i < cpu_n_features; i++) {
        size_t used = strlen(text);
        if (features & cpu_features[i].bit)
            snprintf(text + used, size - used, "%s%s", used ? " " : "", cpu_features[i].name);
    }
}

bool context_read(struct context *context, uint32_t features, struct error *error)
{
    *context = (struct context){0};
    if (!read_topology(context, error))
        return false;
    struct utsname name;
    if (uname(&name) == 0)
        snprintf(context->machine, sizeof(context->machine), "%.40s %.40s %.40s", name.sysname,
                 name.release, name.machine);
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", context->governor,
              sizeof(context->governor));
    if (getloadavg(&context->load, 1) != 1)
        context->load = -1;
    name_features(features, context->features, sizeof(context->features));
    time_t now = time(NULL);
    struct tm utc;
    strftime(context->time, sizeof(context->time), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return true;
}

struct ticks ticks_now(void)
{
    struct ticks ticks = {0, -1};
    double field[8];
    FILE *file = fopen("/proc/stat", "r");
    if (!file)
        return ticks;
    if (fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &field[0], &field[1], &field[2],
               &field[3], &field[4], &field[5], &field[6], &field[7]) == 8) {
        ticks.steal = field[7];
        for (int i = 0; i < 8; i++)
            ticks.total += field[i];
    }
    fclose(file);
    return ticks;
}

double steal_share(struct ticks from, struct ticks to)
{
    if (from.steal < 0 || to.steal < 0 || to.total <= from.total)
        return -1;
    return (to.steal - from.steal) / (to.total - from.total);
}
