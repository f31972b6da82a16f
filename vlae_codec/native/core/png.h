/* The filters of PNG's rows (PNG specification, third edition, section 9).
 *
 * A row of a file is a byte that names the filter and the residues: each byte less what the filter predicts from a, the
 * byte one pixel to the left, b, the one above, and c, the one above a. Bytes outside the picture are 0.
 */
#ifndef VLAE_PNG_H
#define VLAE_PNG_H

#include "vlae.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { PNG_NONE, PNG_SUB, PNG_UP, PNG_AVERAGE, PNG_PAETH, PNG_FILTERS };

ALWAYS_INLINE int png_distance(int x)
{
    return x < 0 ? -x : x;
}

ALWAYS_INLINE int png_predict(int filter, int a, int b, int c)
{
    if (filter == PNG_SUB)
        return a;
    if (filter == PNG_UP)
        return b;
    if (filter == PNG_AVERAGE)
        return (a + b) >> 1;
    if (filter == PNG_NONE)
        return 0;
    int to_a = png_distance(b - c), to_b = png_distance(a - c), to_c = png_distance(a + b - 2 * c);
    return to_a <= to_b && to_a <= to_c ? a : to_b <= to_c ? b : c;
}

/* The bytes of one row from its residues; `above` may be NULL. Left bytes stay in registers, as `step` is a constant. */
ALWAYS_INLINE void png_restore(int filter, const uint8_t *row, const uint8_t *above, uint8_t *out, int64_t stride,
                               int step)
{
    int a[8] = {0}, c[8] = {0};
    int64_t i = 0;
    for (; i + step <= stride; i += step)
        for (int k = 0; k < step; k++) {
            int b = above ? above[i + k] : 0;
            a[k] = out[i + k] = (uint8_t)(row[i + k] + png_predict(filter, a[k], b, c[k]));
            c[k] = b;
        }
    for (int k = 0; i + k < stride; k++)
        out[i + k] = (uint8_t)(row[i + k] + png_predict(filter, a[k], above ? above[i + k] : 0, c[k]));
}

ALWAYS_INLINE int png_restore_any(int filter, const uint8_t *row, const uint8_t *above, uint8_t *out, int64_t stride,
                                  int step)
{
    switch (filter) {
    case PNG_NONE: png_restore(PNG_NONE, row, above, out, stride, step); return 1;
    case PNG_SUB: png_restore(PNG_SUB, row, above, out, stride, step); return 1;
    case PNG_UP: png_restore(PNG_UP, row, above, out, stride, step); return 1;
    case PNG_AVERAGE: png_restore(PNG_AVERAGE, row, above, out, stride, step); return 1;
    case PNG_PAETH: png_restore(PNG_PAETH, row, above, out, stride, step); return 1;
    default: return 0;
    }
}

/* Restores `height` rows below `above` or, if that is NULL, from the top; the number of rows before the first one of an
 * unknown filter. */
static int64_t png_unfilter(const uint8_t *rows, const uint8_t *above, int64_t height, int64_t stride, int step,
                            uint8_t *out)
{
    for (int64_t y = 0; y < height; y++, rows += stride + 1, above = out, out += stride) {
        int known;
        switch (step) {
        case 1: known = png_restore_any(rows[0], rows + 1, above, out, stride, 1); break;
        case 2: known = png_restore_any(rows[0], rows + 1, above, out, stride, 2); break;
        case 3: known = png_restore_any(rows[0], rows + 1, above, out, stride, 3); break;
        case 4: known = png_restore_any(rows[0], rows + 1, above, out, stride, 4); break;
        case 6: known = png_restore_any(rows[0], rows + 1, above, out, stride, 6); break;
        default: known = png_restore_any(rows[0], rows + 1, above, out, stride, 8);
        }
        if (!known)
            return y;
    }
    return height;
}

/* Writes the residues of a row and returns the sum of their distances from 0. `above` is a row. */
ALWAYS_INLINE int64_t png_residues(int filter, const uint8_t *row, const uint8_t *above, uint8_t *out, int64_t stride,
                                   int step)
{
    int64_t sum = 0, edge = step < stride ? step : stride;
    for (int64_t i = 0; i < edge; i++)
        out[i] = (uint8_t)(row[i] - png_predict(filter, 0, above[i], 0));
    for (int64_t i = edge; i < stride; i++)
        out[i] = (uint8_t)(row[i] - png_predict(filter, row[i - step], above[i], above[i - step]));
    for (int64_t i = 0; i < stride;) {
        int64_t end = i + 65536 < stride ? i + 65536 : stride;
        uint32_t part = 0;
        for (; i < end; i++)
            part += out[i] < 128 ? out[i] : 256u - out[i];
        sum += part;
    }
    return sum;
}

static int64_t png_residues_of(int filter, const uint8_t *row, const uint8_t *above, uint8_t *out, int64_t stride,
                               int step)
{
    switch (filter) {
    case PNG_SUB: return png_residues(PNG_SUB, row, above, out, stride, step);
    case PNG_UP: return png_residues(PNG_UP, row, above, out, stride, step);
    case PNG_AVERAGE: return png_residues(PNG_AVERAGE, row, above, out, stride, step);
    case PNG_PAETH: return png_residues(PNG_PAETH, row, above, out, stride, step);
    default: return png_residues(PNG_NONE, row, above, out, stride, step);
    }
}

/* Filters `height` rows, each by what gives the least sum of distances; the first one by none or from the left. */
static void png_filter(const uint8_t *rows, int64_t height, int64_t stride, int step, uint8_t *out)
{
    for (int64_t y = 0; y < height; y++, rows += stride, out += stride + 1) {
        const uint8_t *above = y ? rows - stride : rows; /* not read for the filters of the first row */
        int last = y ? PNG_PAETH : PNG_SUB, best = PNG_NONE;
        int64_t least = INT64_MAX;
        for (int filter = PNG_NONE; filter <= last; filter++) {
            int64_t sum = png_residues_of(filter, rows, above, out + 1, stride, step);
            if (sum < least) {
                least = sum;
                best = filter;
            }
        }
        if (best != last)
            png_residues_of(best, rows, above, out + 1, stride, step);
        out[0] = (uint8_t)best;
    }
}

#endif
