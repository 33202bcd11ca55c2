/* SPDX-License-Identifier: MIT */
#include <algorithm>
#include <cstdint>
#include <numeric>

extern "C" void usual_partial_sort(const float *values, int64_t count, int64_t wanted,
                                   int32_t *numbers);

void usual_partial_sort(const float *values, int64_t count, int64_t wanted, int32_t *numbers)
{
    std::iota(numbers, numbers + count, 0);
    std::partial_sort(numbers, numbers + wanted, numbers + count, [=](int32_t a, int32_t b) {
        return values[a] > values[b] || (values[a] == values[b] && a < b);
    });
}
