/* Pictures that were YCbCr before they were RGB: rebuilt from their source planes, and taken apart into them.
 *
 * A conversion is five tables of 256 and a shift: R = (luma[Y] + red[Cr]) >> shift, G = (luma[Y] + green_cb[Cb] +
 * green_cr[Cr]) >> shift, B = (luma[Y] + blue[Cb]) >> shift, each clamped to 0..255. Chroma at a pixel is a weighted sum
 * of two by two samples, (sum + bias) >> 4: an axis says for each column or row which sample is near, which one is far,
 * and the weight of the far one, 0 to 4 in quarters; the four biases are for even and odd rows and columns.
 *
 * The way back has two unknowns. A pixel that is not clipped has at most one YCbCr; the chroma of a clipped one is any
 * that some Y completes. Samples of a smaller grid are then those whose enlargement fits the pixels: a first guess from
 * the pixels nearest to each, and descent, sample by sample, on the number and the size of the misfits.
 */
#ifndef VLAE_ORIGINS_H
#define VLAE_ORIGINS_H

#include "vlae.h"

#include <string.h>

enum { ORIGIN_TABLE = 256, ORIGIN_LUMA = 0, ORIGIN_RED, ORIGIN_GREEN_CB, ORIGIN_GREEN_CR, ORIGIN_BLUE, ORIGIN_TABLES };
enum { ORIGIN_BUCKETS = 1 << 10, ORIGIN_BITS = 4, ORIGIN_UNKNOWN = -1, ORIGIN_NONE = -2, ORIGIN_AXIS = 3 };

static inline int origin_clamp(int x)
{
    return x < 0 ? 0 : x > 255 ? 255 : x;
}

/* ------------------------------------------------------------------------------------------------------- forward */

static inline int origin_axis_ok(const int32_t *axis, int64_t size, int64_t samples)
{
    for (int64_t i = 0; i < size; i++, axis += ORIGIN_AXIS)
        if (axis[0] < 0 || axis[0] >= samples || axis[1] < 0 || axis[1] >= samples || axis[2] < 0 || axis[2] > 4)
            return 0;
    return 1;
}

/* One row of a chroma plane at full size, times 16 and with the bias. `sums` has room for a row of samples. */
static inline void origin_enlarge(const vlae_origin *origin, const uint8_t *plane, int64_t y, int32_t *sums, int16_t *out)
{
    const int32_t *row = origin->rows + ORIGIN_AXIS * y, *column = origin->columns;
    const uint8_t *near = plane + row[0] * origin->chroma_width, *far = plane + row[1] * origin->chroma_width;
    const int32_t *bias = origin->bias + 2 * (y & 1);
    for (int64_t x = 0; x < origin->chroma_width; x++)
        sums[x] = (4 - row[2]) * near[x] + row[2] * far[x];
    for (int64_t x = 0; x < origin->width; x++, column += ORIGIN_AXIS)
        out[x] = (int16_t)((4 - column[2]) * sums[column[0]] + column[2] * sums[column[1]] + bias[x & 1]);
}

static inline void origin_convert(const vlae_origin *origin, int y, int cb, int cr, uint8_t *rgb)
{
    const int32_t *t = origin->tables, luma = t[y];
    rgb[0] = (uint8_t)origin_clamp((luma + t[ORIGIN_RED * ORIGIN_TABLE + cr]) >> origin->shift);
    rgb[1] = (uint8_t)origin_clamp(
        (luma + t[ORIGIN_GREEN_CB * ORIGIN_TABLE + cb] + t[ORIGIN_GREEN_CR * ORIGIN_TABLE + cr]) >> origin->shift);
    rgb[2] = (uint8_t)origin_clamp((luma + t[ORIGIN_BLUE * ORIGIN_TABLE + cb]) >> origin->shift);
}

/* ------------------------------------------------------------------------------------------------------- one pixel */

/* Where to look for the first Y whose luma reaches a value: Y of each multiple of half a level. */
typedef struct {
    const vlae_origin *origin;
    uint16_t starts[ORIGIN_BUCKETS];
} vlae_inverse;

static inline void origin_start(vlae_inverse *inverse, const vlae_origin *origin)
{
    int y = 0;
    inverse->origin = origin;
    for (int i = 0; i < ORIGIN_BUCKETS; i++) {
        while (y < ORIGIN_TABLE && origin->tables[y] < origin->tables[0] + (i << (origin->shift - 1)))
            y++;
        inverse->starts[i] = (uint16_t)y;
    }
}

static inline int origin_first(const vlae_inverse *inverse, int32_t luma) /* the first Y of so much luma, or 256 */
{
    const int32_t *table = inverse->origin->tables;
    int32_t over = luma - table[0];
    if (over <= 0)
        return 0;
    over >>= inverse->origin->shift - 1;
    int y = inverse->starts[over < ORIGIN_BUCKETS ? over : ORIGIN_BUCKETS - 1];
    while (y < ORIGIN_TABLE && table[y] < luma)
        y++;
    return y;
}

/* The range of Y that gives a pixel with this chroma: below 1 the first and the last Y are so many apart, too many. */
typedef struct {
    int first, last;
} vlae_range;

static inline vlae_range origin_range(const vlae_inverse *inverse, const uint8_t *rgb, int cb, int cr)
{
    const int32_t *t = inverse->origin->tables;
    const int shift = inverse->origin->shift;
    const int32_t added[3] = {t[ORIGIN_RED * ORIGIN_TABLE + cr],
                              t[ORIGIN_GREEN_CB * ORIGIN_TABLE + cb] + t[ORIGIN_GREEN_CR * ORIGIN_TABLE + cr],
                              t[ORIGIN_BLUE * ORIGIN_TABLE + cb]};
    vlae_range range = {0, ORIGIN_TABLE - 1};
    for (int k = 0; k < 3; k++) {
        int value = rgb[k];
        if (value > 0) {
            int first = origin_first(inverse, value * (1 << shift) - added[k]);
            range.first = first > range.first ? first : range.first;
        }
        if (value < 255) {
            int last = origin_first(inverse, (value + 1) * (1 << shift) - added[k]) - 1;
            range.last = last < range.last ? last : range.last;
        }
    }
    return range;
}

static inline int origin_beside(int made, int wanted) /* how far a level is from a wanted one; beyond the last ones is as good */
{
    if ((wanted == 255 && made > 255) || (wanted == 0 && made < 0))
        return 0;
    return made < wanted ? wanted - made : made - wanted;
}

/* 0: some Y gives the pixel with this chroma; else how far off it is. A channel that is not clipped has one Y or none, as
 * luma takes a level or more from one Y to the next. */
static inline int origin_gap(const vlae_inverse *inverse, const uint8_t *rgb, int cb, int cr)
{
    const int32_t *t = inverse->origin->tables;
    const int shift = inverse->origin->shift;
    const int32_t added[3] = {t[ORIGIN_RED * ORIGIN_TABLE + cr],
                              t[ORIGIN_GREEN_CB * ORIGIN_TABLE + cb] + t[ORIGIN_GREEN_CR * ORIGIN_TABLE + cr],
                              t[ORIGIN_BLUE * ORIGIN_TABLE + cb]};
    for (int k = 0; k < 3; k++)
        if (rgb[k] > 0 && rgb[k] < 255) {
            int y = origin_first(inverse, rgb[k] * (1 << shift) - added[k]), gap = 0;
            y = y < ORIGIN_TABLE ? y : ORIGIN_TABLE - 1;
            for (int c = 0; c < 3; c++)
                gap += origin_beside((t[y] + added[c]) >> shift, rgb[c]);
            return gap;
        }
    vlae_range range = origin_range(inverse, rgb, cb, cr);
    return range.first > range.last ? range.first - range.last : 0;
}

/* The chroma of a pixel, (cb << 8 | cr), or ORIGIN_NONE: guessed by the inverse matrix, then tried with those around
 * the guess. */
static inline int origin_chroma(const vlae_inverse *inverse, const uint8_t *rgb)
{
    static const int8_t tries[9][2] = {{0, 0}, {0, 1}, {0, -1}, {1, 0}, {-1, 0}, {1, 1}, {1, -1}, {-1, 1}, {-1, -1}};
    const int32_t *m = inverse->origin->matrix;
    int cb = (m[0] * rgb[0] + m[1] * rgb[1] + m[2] * rgb[2] + m[3]) >> 16;
    int cr = (m[4] * rgb[0] + m[5] * rgb[1] + m[6] * rgb[2] + m[7]) >> 16;
    for (int i = 0; i < 9; i++) {
        int u = cb + tries[i][0], v = cr + tries[i][1];
        if (u >= 0 && u < 256 && v >= 0 && v < 256 && origin_gap(inverse, rgb, u, v) == 0)
            return u << 8 | v;
    }
    return ORIGIN_NONE;
}

static inline int origin_clipped(const uint8_t *rgb)
{
    int clipped = 0;
    for (int k = 0; k < 3; k++)
        clipped |= rgb[k] == 0 || rgb[k] == 255;
    return clipped;
}

/* ------------------------------------------------------------------------------------------------------- the smaller grid */

typedef struct {
    const vlae_origin *origin;
    const vlae_inverse *inverse;
    const uint8_t *rgb;
    const int16_t *wanted[2]; /* chroma at full size, or ORIGIN_UNKNOWN */
    int16_t *sums[2];         /* what the samples give there, times 16 */
    uint8_t *planes[2];
    int64_t *budget;         /* how many more misfits may be asked for */
    const int32_t *spans[2]; /* of columns and rows: the first pixel of a sample, and the one behind its last */
} vlae_grid;

static inline int origin_weight(const int32_t *axis, int32_t sample)
{
    return (axis[0] == sample ? 4 - axis[2] : 0) + (axis[1] == sample ? axis[2] : 0);
}

/* How badly a pixel fits if the sums change by so much. */
static inline int origin_misfit(const vlae_grid *grid, int64_t pixel, int change_cb, int change_cr)
{
    int cb = (grid->sums[0][pixel] + change_cb) >> ORIGIN_BITS, cr = (grid->sums[1][pixel] + change_cr) >> ORIGIN_BITS;
    int wanted_cb = grid->wanted[0][pixel], wanted_cr = grid->wanted[1][pixel];
    int misfit;
    if (wanted_cb == ORIGIN_NONE)
        return 0;
    if (wanted_cb == ORIGIN_UNKNOWN) {
        misfit = origin_gap(grid->inverse, grid->rgb + 3 * pixel, cb, cr);
    } else {
        cb -= wanted_cb;
        cr -= wanted_cr;
        misfit = (cb < 0 ? -cb : cb) + (cr < 0 ? -cr : cr);
    }
    return misfit ? misfit + 2 : 0;
}

enum { ORIGIN_MOST_SPAN = 6, ORIGIN_FREE = 0, ORIGIN_GUESSED, ORIGIN_FIXED };

/* The pixels that a sample counts for, those that it counts most for first. */
typedef struct {
    int count;
    int64_t pixels[ORIGIN_MOST_SPAN * ORIGIN_MOST_SPAN];
    int weights[ORIGIN_MOST_SPAN * ORIGIN_MOST_SPAN];
} vlae_support;

static inline void origin_support(const vlae_grid *grid, int64_t i, int64_t j, vlae_support *s)
{
    const vlae_origin *origin = grid->origin;
    const int32_t *column = grid->spans[0] + 2 * i, *row = grid->spans[1] + 2 * j;
    s->count = 0;
    for (int64_t y = row[0]; y < row[1]; y++) {
        int down = origin_weight(origin->rows + ORIGIN_AXIS * y, (int32_t)j);
        for (int64_t x = column[0]; x < column[1]; x++) {
            int weight = down * origin_weight(origin->columns + ORIGIN_AXIS * x, (int32_t)i), at = s->count;
            if (weight == 0)
                continue;
            for (; at > 0 && s->weights[at - 1] < weight; at--) {
                s->weights[at] = s->weights[at - 1];
                s->pixels[at] = s->pixels[at - 1];
            }
            s->weights[at] = weight;
            s->pixels[at] = y * origin->width + x;
            s->count++;
        }
    }
}

static inline int64_t origin_cost(const vlae_grid *grid, const vlae_support *s, int change_cb, int change_cr, int64_t most)
{
    int64_t cost = 0;
    int n = 0;
    for (; n < s->count && cost <= most; n++)
        cost += origin_misfit(grid, s->pixels[n], s->weights[n] * change_cb, s->weights[n] * change_cr);
    *grid->budget -= n;
    return cost;
}

static inline void origin_change(vlae_grid *grid, const vlae_support *s, int channel, int change)
{
    int16_t *sums = grid->sums[channel];
    for (int n = 0; n < s->count; n++)
        sums[s->pixels[n]] = (int16_t)(sums[s->pixels[n]] + s->weights[n] * change);
}

/* First values: of the pixels that a sample counts most for. */
static inline void origin_guess(vlae_grid *grid, uint8_t *states)
{
    const vlae_origin *origin = grid->origin;
    vlae_support s;
    for (int64_t j = 0, at = 0; j < origin->chroma_height; j++)
        for (int64_t i = 0; i < origin->chroma_width; i++, at++) {
            origin_support(grid, i, j, &s);
            int best = 0, count = 0, totals[2] = {0, 0};
            for (int n = 0; n < s.count && s.weights[n] >= best; n++) {
                if (grid->wanted[0][s.pixels[n]] < 0)
                    continue;
                best = s.weights[n];
                count++;
                for (int k = 0; k < 2; k++)
                    totals[k] += grid->wanted[k][s.pixels[n]];
            }
            states[at] = (uint8_t)(best == 16 ? ORIGIN_FIXED : best ? ORIGIN_GUESSED : ORIGIN_FREE);
            for (int k = 0; k < 2; k++)
                grid->planes[k][at] = (uint8_t)(best ? (totals[k] + count / 2) / count : 0);
        }
}

/* Values for samples that no pixel says anything about: means of their neighbours, from all four sides. */
static inline void origin_fill(vlae_grid *grid, const uint8_t *states)
{
    const int64_t width = grid->origin->chroma_width, height = grid->origin->chroma_height;
    for (int sweep = 0; sweep < 6; sweep++)
        for (int k = 0; k < 2; k++)
            for (int64_t n = 0; n < width * height; n++) {
                int64_t at = sweep & 1 ? width * height - 1 - n : n, i = at % width, j = at / width;
                if (states[at] != ORIGIN_FREE)
                    continue;
                const uint8_t *p = grid->planes[k] + at;
                int total = 0, count = 0;
#define ORIGIN_TAKE(inside, step)              \
    if ((inside) && p[step]) {                 \
        total += p[step];                      \
        count++;                               \
    }
                ORIGIN_TAKE(i > 0, -1)
                ORIGIN_TAKE(j > 0, -width)
                ORIGIN_TAKE(i + 1 < width, 1)
                ORIGIN_TAKE(j + 1 < height, width)
#undef ORIGIN_TAKE
                if (count)
                    grid->planes[k][at] = (uint8_t)((total + count / 2) / count);
            }
}

static inline void origin_sum(vlae_grid *grid, int32_t *row)
{
    for (int k = 0; k < 2; k++)
        for (int64_t y = 0; y < grid->origin->height; y++)
            origin_enlarge(grid->origin, grid->planes[k], y, row, grid->sums[k] + y * grid->origin->width);
}

/* Least squares, one sample after another: the sums come near the middle of what is wanted. */
static inline void origin_relax(vlae_grid *grid, const uint8_t *states, int sweeps)
{
    const vlae_origin *origin = grid->origin;
    vlae_support s;
    for (int sweep = 0; sweep < sweeps; sweep++)
        for (int64_t j = 0, at = 0; j < origin->chroma_height; j++)
            for (int64_t i = 0; i < origin->chroma_width; i++, at++) {
                if (states[at] == ORIGIN_FIXED)
                    continue;
                int totals[2] = {0, 0}, squares = 0;
                origin_support(grid, i, j, &s);
                for (int n = 0; n < s.count; n++) {
                    int64_t pixel = s.pixels[n];
                    if (grid->wanted[0][pixel] < 0)
                        continue;
                    squares += s.weights[n] * s.weights[n];
                    for (int k = 0; k < 2; k++)
                        totals[k] += s.weights[n] * (16 * grid->wanted[k][pixel] + 7 - grid->sums[k][pixel]);
                }
                for (int k = 0; k < 2 && squares; k++) {
                    int change = (2 * totals[k] + (totals[k] < 0 ? -squares : squares)) / (2 * squares);
                    int value = origin_clamp(grid->planes[k][at] + change);
                    change = value - grid->planes[k][at];
                    if (change == 0)
                        continue;
                    grid->planes[k][at] = (uint8_t)value;
                    origin_change(grid, &s, k, change);
                }
            }
}

static inline void origin_wake(const vlae_grid *grid, uint8_t *awake, int64_t i, int64_t j)
{
    const int64_t width = grid->origin->chroma_width, height = grid->origin->chroma_height;
    for (int64_t y = j < 2 ? 0 : j - 2; y < height && y <= j + 2; y++)
        for (int64_t x = i < 2 ? 0 : i - 2; x < width && x <= i + 2; x++)
            awake[y * width + x] = 1;
}

/* What lies around a sample, in each channel: the sum of its neighbours, and how many there are. */
typedef struct {
    int total[2], count;
} vlae_around;

static inline vlae_around origin_around(const vlae_grid *grid, int64_t i, int64_t j)
{
    const int64_t width = grid->origin->chroma_width, at = j * width + i;
    const int64_t steps[4] = {-1, 1, -width, width};
    const int inside[4] = {i > 0, i + 1 < width, j > 0, j + 1 < grid->origin->chroma_height};
    vlae_around around = {{0, 0}, 0};
    for (int n = 0; n < 4; n++)
        if (inside[n]) {
            around.count++;
            for (int k = 0; k < 2; k++)
                around.total[k] += grid->planes[k][at + steps[n]];
        }
    return around;
}

static inline int origin_rough(const vlae_around *around, int u, int v) /* in quarters of a level, more or less */
{
    int a = around->count * u - around->total[0], b = around->count * v - around->total[1];
    return (a < 0 ? -a : a) + (b < 0 ? -b : b);
}

/* The best step of one sample in a window around it, in one channel or in both: least misfit, then least roughness. Sets
 * the step, and returns what it changes: below 0 it is better. */
static inline int64_t origin_step(const vlae_grid *grid, int64_t i, int64_t j, const vlae_support *s, const int reach[2],
                                  int scale, int step[2])
{
    const int64_t at = j * grid->origin->chroma_width + i;
    const vlae_around around = origin_around(grid, i, j);
    const int64_t before = scale * origin_cost(grid, s, 0, 0, INT64_MAX) +
                           origin_rough(&around, grid->planes[0][at], grid->planes[1][at]);
    int64_t least = INT64_MAX;
    step[0] = step[1] = 0;
    for (int du = -reach[0]; du <= reach[0]; du++)
        for (int dv = -reach[1]; dv <= reach[1]; dv++) {
            int u = grid->planes[0][at] + du, v = grid->planes[1][at] + dv;
            if ((du == 0 && dv == 0) || u < 0 || u > 255 || v < 0 || v > 255)
                continue;
            int64_t now = origin_rough(&around, u, v);
            if (now >= least)
                continue;
            now += scale * origin_cost(grid, s, du, dv, (least - now) / scale);
            if (now >= least)
                continue;
            least = now;
            step[0] = du;
            step[1] = dv;
        }
    return least == INT64_MAX ? least : least - before;
}

static inline void origin_move(vlae_grid *grid, int64_t at, const vlae_support *s, const int step[2], int sign)
{
    for (int k = 0; k < 2; k++)
        if (step[k]) {
            grid->planes[k][at] = (uint8_t)(grid->planes[k][at] + sign * step[k]);
            origin_change(grid, s, k, sign * step[k]);
        }
}

enum { ORIGIN_CHAIN = 5, /* steps at most */ ORIGIN_CLIPPED_CHAIN = 2, ORIGIN_SWEEPS = 14 };

/* A chain of steps, each of a neighbour of the last one, the first of which makes things worse: kept if all together
 * make them better. */
static inline int origin_chain(vlae_grid *grid, const uint8_t *states, uint8_t *awake, int64_t i, int64_t j, int u, int v,
                               int most)
{
    const int64_t width = grid->origin->chroma_width, height = grid->origin->chroma_height;
    const int reach[2] = {u != 0, v != 0};
    int64_t columns[ORIGIN_CHAIN] = {i}, rows[ORIGIN_CHAIN] = {j}, total = 0;
    int steps[ORIGIN_CHAIN][2] = {{u, v}}, length = 0;
    vlae_support s;
    while (length < most) {
        int64_t x = columns[length], y = rows[length], at = y * width + x;
        vlae_around around = origin_around(grid, x, y);
        int a = grid->planes[0][at], b = grid->planes[1][at];
        if (length == 0 && (a + u < 0 || a + u > 255 || b + v < 0 || b + v > 255))
            return 0;
        origin_support(grid, x, y, &s);
        total -= 16 * origin_cost(grid, &s, 0, 0, INT64_MAX) + origin_rough(&around, a, b);
        origin_move(grid, at, &s, steps[length], 1);
        a = grid->planes[0][at], b = grid->planes[1][at];
        total += 16 * origin_cost(grid, &s, 0, 0, INT64_MAX) + origin_rough(&around, a, b);
        length++;
        if (total < 0) {
            while (length--)
                origin_wake(grid, awake, columns[length], rows[length]);
            return 1;
        }
        if (length == most)
            break;
        int64_t least = INT64_MAX;
        for (int64_t q = y > 0 ? y - 1 : 0; q < height && q <= y + 1; q++)
            for (int64_t p = x > 0 ? x - 1 : 0; p < width && p <= x + 1; p++) {
                int step[2], seen = states[q * width + p] == ORIGIN_FIXED;
                for (int n = 0; n < length; n++)
                    seen |= columns[n] == p && rows[n] == q;
                if (seen)
                    continue;
                origin_support(grid, p, q, &s);
                int64_t change = origin_step(grid, p, q, &s, reach, 16, step);
                if (change >= least)
                    continue;
                least = change;
                columns[length] = p;
                rows[length] = q;
                steps[length][0] = step[0];
                steps[length][1] = step[1];
            }
        if (least >= 0)
            break;
    }
    while (length--) {
        origin_support(grid, columns[length], rows[length], &s);
        origin_move(grid, rows[length] * width + columns[length], &s, steps[length], -1);
    }
    return 0;
}

/* Steps that make the misfits smaller, until there are none: of one sample each, and where none helps chains of them.
 * Returns how many samples still misfit. */
static inline int64_t origin_descend(vlae_grid *grid, const uint8_t *states, uint8_t *awake)
{
    static const int8_t reaches[] = {2, 3, 4, 6, 8};
    static const int8_t scales[] = {2, 4, 8, 16, 16};
    const vlae_origin *origin = grid->origin;
    const int64_t width = origin->chroma_width, height = origin->chroma_height;
    int64_t left = 0;
    vlae_support s;
    memset(awake, 1, (size_t)(width * height));
    for (int sweep = 0; sweep < ORIGIN_SWEEPS; sweep++) {
        int reach = reaches[sweep < 4 ? sweep : 4], scale = scales[sweep < 4 ? sweep : 4];
        left = 0;
        for (int64_t j = 0, at = 0; j < height; j++)
            for (int64_t i = 0; i < width; i++, at++) {
                if (states[at] == ORIGIN_FIXED || !awake[at] || *grid->budget < 0)
                    continue;
                origin_support(grid, i, j, &s);
                int64_t misfit = origin_cost(grid, &s, 0, 0, INT64_MAX);
                awake[at] = 0;
                if (misfit == 0 && states[at] != ORIGIN_FREE)
                    continue;
                left += misfit != 0;
                int joint = 0, moved = 0;
                for (int n = 0; n < s.count; n++)
                    joint |= grid->wanted[0][s.pixels[n]] == ORIGIN_UNKNOWN;
                for (int k = joint ? 2 : 0; k < (joint ? 3 : 2); k++) { /* channels are apart where pixels are known */
                    int range = misfit ? reach : 1, step[2];
                    const int window[2] = {k == 1 ? 0 : range, k == 0 ? 0 : range};
                    if (origin_step(grid, i, j, &s, window, joint ? scale : 16, step) >= 0)
                        continue;
                    origin_move(grid, at, &s, step, 1);
                    moved = 1;
                }
                if (moved)
                    origin_wake(grid, awake, i, j);
                if (moved || misfit == 0 || sweep < 3)
                    continue;
                int chain = joint ? ORIGIN_CLIPPED_CHAIN : ORIGIN_CHAIN;
                for (int n = 0; n < 9; n++) {
                    int u = n % 3 - 1, v = n / 3 - 1;
                    if ((joint ? u || v : !u != !v) && origin_chain(grid, states, awake, i, j, u, v, chain))
                        break;
                }
            }
        if (*grid->budget < 0 || (left == 0 && sweep > 3))
            break;
        if (sweep == 2)
            memset(awake, 1, (size_t)(width * height));
    }
    return left;
}

/* ------------------------------------------------------------------------------------------------------- luma */

/* The Y of a pixel: of those that give it exactly the one nearest to a guess, else the one that comes nearest. */
static inline int origin_luma(const vlae_inverse *inverse, const uint8_t *rgb, int cb, int cr, int guess, int *exact)
{
    vlae_range range = origin_range(inverse, rgb, cb, cr);
    *exact = range.first <= range.last;
    if (*exact)
        return guess < range.first ? range.first : guess > range.last ? range.last : guess;
    int best = 0, least = 1 << 20;
    for (int y = range.last < 0 ? 0 : range.last; y <= range.first && y < ORIGIN_TABLE; y++) {
        uint8_t made[3];
        int error = 0;
        origin_convert(inverse->origin, y, cb, cr, made);
        for (int k = 0; k < 3; k++)
            error += made[k] < rgb[k] ? rgb[k] - made[k] : made[k] - rgb[k];
        if (error < least) {
            least = error;
            best = y;
        }
    }
    return best;
}

static inline int origin_median(int a, int b, int c)
{
    int low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* ------------------------------------------------------------------------------------------------------- whole pictures */

typedef struct {
    int32_t *sums;
    int16_t *cb, *cr;
} vlae_origin_rows;

static inline int64_t origin_padded(int64_t size)
{
    return (size + 63) / 64 * 64;
}

static inline int64_t origin_rows_size(const vlae_origin *origin)
{
    return origin_padded(4 * origin->chroma_width) + 2 * origin_padded(2 * origin->width);
}

static inline vlae_origin_rows origin_rows(const vlae_origin *origin, uint8_t *scratch)
{
    uint8_t *after = scratch + origin_padded(4 * origin->chroma_width);
    return (vlae_origin_rows){(int32_t *)(void *)scratch, (int16_t *)(void *)after,
                              (int16_t *)(void *)(after + origin_padded(2 * origin->width))};
}

static inline void origin_rebuild(const vlae_origin *origin, const uint8_t *luma, const uint8_t *cb, const uint8_t *cr,
                                  uint8_t *rgb, uint8_t *scratch)
{
    vlae_origin_rows rows = origin_rows(origin, scratch);
    for (int64_t y = 0; y < origin->height; y++) {
        origin_enlarge(origin, cb, y, rows.sums, rows.cb);
        origin_enlarge(origin, cr, y, rows.sums, rows.cr);
        for (int64_t x = 0; x < origin->width; x++, luma++, rgb += 3)
            origin_convert(origin, *luma, rows.cb[x] >> ORIGIN_BITS, rows.cr[x] >> ORIGIN_BITS, rgb);
    }
}

static inline int64_t origin_chromas(const vlae_inverse *inverse, const uint8_t *rgb, int64_t n, int16_t *cb, int16_t *cr)
{
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++, rgb += 3) {
        int chroma = origin_clipped(rgb) ? ORIGIN_UNKNOWN : origin_chroma(inverse, rgb);
        cb[i] = (int16_t)(chroma < 0 ? chroma : chroma >> 8);
        cr[i] = (int16_t)(chroma < 0 ? chroma : chroma & 255);
        found += chroma >= 0;
    }
    return found;
}

static inline int origin_spans_ok(const int32_t *spans, int64_t size, int64_t samples)
{
    for (int64_t i = 0; i < samples; i++, spans += 2)
        if (spans[0] < 0 || spans[1] > size || spans[1] < spans[0] || spans[1] - spans[0] > ORIGIN_MOST_SPAN)
            return 0;
    return 1;
}

static inline int64_t origin_halve_size(const vlae_origin *origin)
{
    return origin_padded(4 * origin->chroma_width) + 2 * origin_padded(2 * origin->width * origin->height) +
           2 * origin_padded(origin->chroma_width * origin->chroma_height);
}

static inline int64_t origin_halve(vlae_grid *grid, uint8_t *scratch)
{
    const vlae_origin *origin = grid->origin;
    int64_t pixels = origin_padded(2 * origin->width * origin->height);
    int64_t samples = origin_padded(origin->chroma_width * origin->chroma_height);
    int32_t *row = (int32_t *)(void *)scratch;
    scratch += origin_padded(4 * origin->chroma_width);
    grid->sums[0] = (int16_t *)(void *)scratch;
    grid->sums[1] = (int16_t *)(void *)(scratch + pixels);
    uint8_t *states = scratch + 2 * pixels, *awake = states + samples;
    origin_guess(grid, states);
    origin_fill(grid, states);
    origin_sum(grid, row);
    origin_relax(grid, states, 6);
    return *grid->budget > 0 ? origin_descend(grid, states, awake) : 0;
}

/* The Y of each pixel, guessed from its neighbours where it is free. Returns how many pixels come out exactly. */
static inline int64_t origin_lumas(const vlae_inverse *inverse, const uint8_t *rgb, const uint8_t *cb, const uint8_t *cr,
                                   uint8_t *luma, uint8_t *scratch)
{
    const vlae_origin *origin = inverse->origin;
    vlae_origin_rows rows = origin_rows(origin, scratch);
    int64_t exact = 0;
    for (int64_t y = 0; y < origin->height; y++) {
        origin_enlarge(origin, cb, y, rows.sums, rows.cb);
        origin_enlarge(origin, cr, y, rows.sums, rows.cr);
        for (int64_t x = 0; x < origin->width; x++, luma++, rgb += 3) {
            int left = x ? luma[-1] : y ? luma[-origin->width] : 128, above = y ? luma[-origin->width] : left;
            int corner = x && y ? luma[-origin->width - 1] : above, fits;
            *luma = (uint8_t)origin_luma(inverse, rgb, rows.cb[x] >> ORIGIN_BITS, rows.cr[x] >> ORIGIN_BITS,
                                         origin_median(left, above, left + above - corner), &fits);
            exact += fits;
        }
    }
    return exact;
}

#endif
