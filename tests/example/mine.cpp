// SPDX-License-Identifier: MIT
// The same in C++: dequantizes through the contract's own helpers, sums in double.
//   c++ -std=c++17 -O2 -shared -fPIC $(pkg-config --cflags assay) -o libmine.so mine.cpp
#include <ref/assay.h>

namespace
{

int64_t depth(const void *)
{
    return 2; // the weight's own rounding and the result's; a double's sum is exact beside them
}

const char *run(const void *shape, const void *args, const void *, void *, int)
{
    const auto &s = *static_cast<const q4_K_gemv_shape *>(shape);
    const auto &a = *static_cast<const q4_K_gemv_args *>(args);
    if (s.n < 1 || s.k < Q4_K_BLOCK || s.k % Q4_K_BLOCK != 0 || s.w_offset < 0 || s.w_offset % 2)
        return "illegal shape";
    const int64_t blocks = s.k / Q4_K_BLOCK;
    const auto *w = reinterpret_cast<const block_q4_K *>(a.w + s.w_offset);
    for (int64_t r = 0; r < s.n; r++) {
        double sum = 0;
        for (int64_t b = 0; b < blocks; b++) {
            float weights[Q4_K_BLOCK];
            q4_K_weights(&w[r * blocks + b], weights);
            for (int i = 0; i < Q4_K_BLOCK; i++)
                sum += static_cast<double>(weights[i]) * a.x[b * Q4_K_BLOCK + i];
        }
        a.y[r] = static_cast<float>(sum);
    }
    return nullptr;
}

const assay_kernel gemv = {"q4_K_gemv", "cpp",   "c++",   ASSAY_F32, 0,  depth,
                           nullptr,     nullptr, nullptr, nullptr,   run};
const assay_kernel *const kernels[] = {&gemv};
const assay_kernels table = {ASSAY_ABI_VERSION, 1, "mine++", kernels};

} // namespace

// The table's type and the function have one name, as in C; `struct` tells them apart.
extern "C" __attribute__((visibility("default"))) const struct assay_kernels *assay_kernels(void)
{
    return &table;
}
