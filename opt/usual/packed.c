/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "opt/usual/usual.h"

int64_t usual_packed_bytes(enum usual_part part, const void *shape, int64_t native_bytes)
{
    const struct assay_kernel *kernel = usual_parts[part];
    int64_t used = 0;
    usual_take(NULL, &used, kernel->prepared_bytes ? kernel->prepared_bytes(shape) : native_bytes,
               1);
    return used;
}

void usual_pack(enum usual_part part, const void *shape, const uint8_t *w, int64_t native_bytes,
                void *packed, int threads)
{
    const void *args[ASSAY_MAX_TENSORS] = {w};
    if (usual_parts[part]->prepare)
        usual_parts[part]->prepare(shape, args, packed, threads);
    else
        memcpy(packed, w, (size_t)native_bytes);
}

const char *usual_run(enum usual_part part, const void *shape, void *args, const void *packed,
                      void *scratch, int threads)
{
    const struct assay_kernel *kernel = usual_parts[part];
    if (kernel->prepare)
        return kernel->run(shape, args, packed, scratch, threads);
    memcpy(args, &packed, sizeof(packed));
    return kernel->run(shape, args, NULL, scratch, threads);
}
