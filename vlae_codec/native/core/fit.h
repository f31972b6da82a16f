/* Bits of pixels under an adapted local network and their gradient by the adapter's numbers.
 *
 * The forward pass is the codec's own, in integers; the backward pass takes every rounding for the identity. Floats are
 * allowed here: what comes out is a choice of the encoder, which a file says. Sums go over rows in their order, so the
 * same block gives the same numbers on the same target.
 */
#ifndef VLAE_FIT_H
#define VLAE_FIT_H

#include "latents.h"

#define FLOATS (LANES >= 8 ? LANES : 4)
#define FIT_ROWS (ROWS * (96 / ROWS)) /* whose activations and gradients stay in the cache */
#define GEMM_ROWS 6
#define LEAK 5.9604645e-08f /* 2^-24: the frequency that every symbol has at least */

typedef float floats __attribute__((vector_size(4 * FLOATS)));
typedef int32_t float_mask __attribute__((vector_size(4 * FLOATS)));
typedef float side_floats __attribute__((vector_size(4 * SIDE)));

INLINE void gemm_panel(const float *a, size_t a_row, size_t a_step, const float *b, size_t b_row, float *c, size_t c_row,
                       int32_t steps, int rows, int vectors)
{
    floats sums[2 * GEMM_ROWS][4];
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < vectors; j++)
            memcpy(&sums[r][j], c + (size_t)r * c_row + j * FLOATS, sizeof(floats));
    for (int32_t k = 0; k < steps; k++) {
        floats w[4];
        for (int j = 0; j < vectors; j++)
            memcpy(&w[j], b + (size_t)k * b_row + j * FLOATS, sizeof(floats));
        for (int r = 0; r < rows; r++) {
            floats value = a[(size_t)r * a_row + (size_t)k * a_step] - (floats){0}; /* in every lane */
            for (int j = 0; j < vectors; j++)
                sums[r][j] += value * w[j];
        }
    }
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < vectors; j++)
            memcpy(c + (size_t)r * c_row + j * FLOATS, &sums[r][j], sizeof(floats));
}

/* c (rows, columns) += a b; a by strides of rows and steps; columns a multiple of FLOATS. */
static void gemm(const float *a, size_t a_row, size_t a_step, const float *b, size_t b_row, float *c, size_t c_row,
                 int32_t rows, int32_t steps, int32_t columns)
{
    const int wide = LANES == 16 ? 4 : 2;
    for (int32_t j = 0; j < columns;) {
        int vectors = columns - j >= wide * FLOATS ? wide : 1;
        for (int32_t r = 0; r < rows;) {
            const float *from = a + (size_t)r * a_row;
            float *to = c + (size_t)r * c_row + j;
            int count = rows - r >= GEMM_ROWS ? GEMM_ROWS : rows - r >= 3 ? 3 : 1;
            if (vectors == 1)
                count = rows - r >= 2 * GEMM_ROWS ? 2 * GEMM_ROWS : 1;
#define PANEL_OF(m, n)             \
    if (count == m && vectors == n) \
    gemm_panel(from, a_row, a_step, b + j, b_row, to, c_row, steps, m, n)
            PANEL_OF(GEMM_ROWS, wide);
            PANEL_OF(3, wide);
            PANEL_OF(1, wide);
            PANEL_OF(2 * GEMM_ROWS, 1);
            PANEL_OF(1, 1);
#undef PANEL_OF
            r += count;
        }
        j += vectors * FLOATS;
    }
}

/* e^x for x in -87 .. 87, to some 2e-7: 2^n by the exponent, the rest by a polynomial. */
INLINE side_floats exponential(side_floats x)
{
    side_floats scaled = x * 1.44269504f;
    ints half = ((ints)scaled & INT32_MIN) | 0x3f000000; /* +-0.5 */
    ints n = INTS(scaled + (side_floats)half);
    side_floats rest = x - __builtin_convertvector(n, side_floats) * 0.693359375f;
    rest += __builtin_convertvector(n, side_floats) * 2.12194440e-4f;
    side_floats sum = 1.9875691e-4f * rest + 1.3981999e-3f;
    sum = sum * rest + 8.3334519e-3f;
    sum = sum * rest + 4.1665795e-2f;
    sum = sum * rest + 1.6666665e-1f;
    sum = sum * rest + 0.5f;
    sum = sum * rest * rest + rest + 1.0f;
    return (side_floats)((ints)sum + n * (1 << 23));
}

/* log2 of positive numbers, to some 1e-6. */
INLINE side_floats logarithm(side_floats x)
{
    ints bits = (ints)x, exponent = (bits - 0x3f3504f3) >> 23; /* mantissa from sqrt(1/2) on */
    side_floats m = (side_floats)(bits - exponent * (1 << 23));
    side_floats t = (m - 1.0f) / (m + 1.0f), t2 = t * t;
    side_floats sum = 0.41219858f * t2 + 0.57707802f;
    sum = (sum * t2 + 0.96179669f) * t2 + 2.88539008f;
    return sum * t + __builtin_convertvector(exponent, side_floats);
}

INLINE side_floats pick_floats(ints mask, side_floats a, side_floats b)
{
    return (side_floats)pick(mask, (ints)a, (ints)b);
}

INLINE side_floats limit(side_floats v, float low, float high)
{
    v = pick_floats(v < low, (side_floats){0} + low, v);
    return pick_floats(v > high, (side_floats){0} + high, v);
}

/* Bits of n rows of integer parameters, and weights times their derivatives by the parameters: gradient (n, stride). */
INLINE void mixture_gradient(const vlae_fit *fit, const int32_t *params, size_t columns, const float *values,
                             const int8_t *edges, const float *weights, int64_t n, float *spent, float *gradient,
                             size_t stride, int k_count, int channels)
{
    const float nat = 1.44269504f, logit_unit = 1.0f / 32, loc_unit = 1.0f / (1 << VLAE_LEVEL_BITS);
    const float scale_unit = 0.69314718f / 16, coef_unit = 1.0f / (1 << VLAE_COEF_BITS);
    const int pairs = channels * (channels - 1) / 2, coded = fit->coded;
    const int locs = k_count, scales = k_count * (1 + channels), coefs = k_count * (1 + 2 * channels);
    for (int64_t begin = 0; begin < n; begin += SIDE) {
        const int32_t *row[SIDE];
        int64_t count = n - begin < SIDE ? n - begin : SIDE;
        side_floats share[VLAE_MAX_MIXTURES], mass[VLAE_MAX_MIXTURES], value[VLAE_MAX_CHANNELS];
        side_floats by_mean[VLAE_MAX_MIXTURES][3], by_scale[VLAE_MAX_MIXTURES][3];
        side_floats half; /* of a level, in coarse levels */
        ints first[3], last[3];
        for (int64_t i = 0; i < SIDE; i++)
            row[i] = params + (size_t)(begin + (i < count ? i : count - 1)) * columns;
        for (int c = 0; c < channels; c++)
            for (int64_t i = 0; i < SIDE; i++) {
                int64_t at = (begin + (i < count ? i : count - 1)) * channels + c;
                value[c][i] = values[at];
                first[c][i] = -((edges[at] & 3) == 1);
                last[c][i] = -((edges[at] & 3) == 2);
                half[i] = 0.5f / (float)(1 << (edges[at] >> 2 & 15));
            }
        ints top;
        for (int i = 0; i < SIDE; i++) {
            top[i] = row[i][0];
            for (int k = 1; k < k_count; k++)
                top[i] = row[i][k] > top[i] ? row[i][k] : top[i];
        }
        side_floats total = {0}, density = {0};
        for (int k = 0; k < k_count; k++) {
            ints logit;
            for (int i = 0; i < SIDE; i++)
                logit[i] = row[i][k];
            side_floats below = __builtin_convertvector(logit - top, side_floats) * logit_unit;
            share[k] = exponential(limit(below, -60, 0));
            total += share[k];
        }
        for (int k = 0; k < k_count; k++) {
            share[k] /= total;
            side_floats m = share[k];
            for (int c = 0; c < coded; c++) {
                ints loc, scale;
                for (int i = 0; i < SIDE; i++) {
                    loc[i] = row[i][locs + k * channels + c];
                    scale[i] = 64 - row[i][scales + k * channels + c];
                }
                side_floats mean = __builtin_convertvector(loc, side_floats) * loc_unit;
                for (int e = 0; e < c; e++) {
                    ints coefficient;
                    for (int i = 0; i < SIDE; i++)
                        coefficient[i] = row[i][coefs + k * pairs + c * (c - 1) / 2 + e];
                    mean += __builtin_convertvector(coefficient, side_floats) * coef_unit * value[e];
                }
                side_floats inverse = exponential(__builtin_convertvector(scale, side_floats) * scale_unit);
                side_floats distance = (value[c] - mean) * inverse;
                /* The logistic is symmetric: on the left of its mean the difference of sigmoids does not cancel. */
                ints mirror = distance > 0;
                distance = pick_floats(mirror, -distance, distance);
                ints lowest = pick(mirror, last[c], first[c]), highest = pick(mirror, first[c], last[c]);
                side_floats lower = limit(distance - half * inverse, -60, 60);
                side_floats upper = limit(distance + half * inverse, -60, 60);
                side_floats e = exponential(lower), below = e / (1.0f + e);
                e = exponential(upper);
                side_floats above = e / (1.0f + e);
                side_floats slope_below = below * (1.0f - below), slope_above = above * (1.0f - above);
                below = pick_floats(lowest, (side_floats){0}, below);
                slope_below = pick_floats(lowest, (side_floats){0}, slope_below);
                above = pick_floats(highest, (side_floats){0} + 1.0f, above);
                slope_above = pick_floats(highest, (side_floats){0}, slope_above);
                side_floats part = above - below + LEAK;
                side_floats slope = (slope_above - slope_below) * inverse / part;
                by_mean[k][c] = pick_floats(mirror, slope, -slope);
                by_scale[k][c] = (slope_below * lower - slope_above * upper) / part;
                m *= part;
            }
            mass[k] = m;
            density += m;
        }
        density = limit(density, 1e-30f, 1e30f);
        side_floats bits = -logarithm(density), weight;
        for (int64_t i = 0; i < SIDE; i++)
            weight[i] = weights[begin + (i < count ? i : count - 1)] * nat;
        for (int64_t i = 0; i < count; i++)
            spent[begin + i] = bits[i];
        for (int k = 0; k < k_count; k++) {
            side_floats posterior = mass[k] / density, by = weight * (share[k] - posterior) * logit_unit;
            for (int64_t i = 0; i < count; i++)
                gradient[(size_t)(begin + i) * stride + k] = by[i];
            for (int c = 0; c < coded; c++) {
                side_floats moved = -weight * posterior * by_mean[k][c];
                side_floats scaled = -weight * posterior * by_scale[k][c] * scale_unit;
                for (int64_t i = 0; i < count; i++) {
                    float *to = gradient + (size_t)(begin + i) * stride;
                    to[locs + k * channels + c] = moved[i] * loc_unit;
                    to[scales + k * channels + c] = scaled[i];
                    for (int e = 0; e < c; e++)
                        to[coefs + k * pairs + c * (c - 1) / 2 + e] = moved[i] * value[e][i] * coef_unit;
                }
            }
        }
    }
}

typedef struct {
    activation *activations, *hidden[VLAE_MAX_LAYERS];
    int32_t *params;
    float *x, *factors, *gradient, *back, *left, *right;
    size_t width, ranks; /* floats of a row of x, gradient and back; of factors */
} fit_memory;

static int64_t fit_parts(const vlae_fit *fit, fit_memory *memory, uint8_t *base)
{
    const packed_net *net = fit->net;
    size_t width = (size_t)net->width, ranks = 0;
    for (int i = 0; i < fit->count; i++) {
        width = (size_t)fit->layers[i].back_columns > width ? (size_t)fit->layers[i].back_columns : width;
        ranks = (size_t)fit->layers[i].rank_columns > ranks ? (size_t)fit->layers[i].rank_columns : ranks;
    }
    width = ROUND_UP(width + (size_t)net->columns, 64);
    ranks = ROUND_UP(ranks + 1, 16);
    const size_t count = (size_t)net->count, sums = 4 * ranks * width * count;
    const size_t sizes[9] = {forward_size(net), sizeof(activation) * FIT_ROWS * (size_t)net->width * count,
                             4 * FIT_ROWS * (size_t)net->columns, 4 * FIT_ROWS * width, 4 * FIT_ROWS * ranks,
                             4 * FIT_ROWS * width, 4 * FIT_ROWS * width, sums, sums};
    void *parts[9];
    int64_t size = carve(base, sizes, 9, parts);
    if (memory)
        *memory = (fit_memory){parts[0], {parts[1]}, parts[2], parts[3], parts[4], parts[5],
                               parts[6], parts[7],   parts[8], width,    ranks};
    for (size_t i = 1; memory && i < count; i++)
        memory->hidden[i] = memory->hidden[0] + i * FIT_ROWS * (size_t)net->width;
    return size;
}

/* Bytes of scratch, and how many numbers a gradient has; VLAE_ARGUMENT where the layers are not the network's. */
static int64_t fit_scratch(const vlae_fit *fit, int64_t *numbers)
{
    const packed_net *net = fit->net;
    *numbers = 0;
    if (fit->count != net->count)
        return VLAE_ARGUMENT;
    for (int i = 0; i < fit->count; i++) {
        const packed_layer *packed = &net->layers[i];
        if (fit->layers[i].rectified != (i ? net->layers[i - 1].outputs : 0))
            return VLAE_ARGUMENT;
        *numbers += (int64_t)fit->layers[i].rank * (packed->inputs + packed->outputs) + packed->outputs;
    }
    return fit_parts(fit, NULL, NULL);
}

/* Integers of some rows forward, their bits, and what they add to the sums of gradients. */
INLINE void fit_rows(const vlae_fit *fit, fit_memory *m, const int8_t *rows, const float *values, const int8_t *edges,
                     const float *weights, int64_t n, float *spent)
{
    const packed_net *net = fit->net;
    const size_t width = m->width, stride = (size_t)net->width;
    for (int64_t begin = 0; begin < n; begin += ROWS) {
        activation *kept[VLAE_MAX_LAYERS];
        for (int i = 0; i < net->count; i++)
            kept[i] = m->hidden[i] + (size_t)begin * stride;
        for (int64_t r = 0; r < ROWS && begin + r < n; r++)
            for (int32_t j = 0; j < net->inputs; j++)
                m->activations[(size_t)r * stride + (size_t)j] =
                    ACTIVATION((uint8_t)(rows[(begin + r) * net->inputs + j] + 128));
        forward(net, m->activations, m->params + (size_t)begin * (size_t)net->columns, kept);
    }
    float *g = m->gradient, *back = m->back;
    memset(g, 0, 4 * width * (size_t)n);
    if (fit->mixtures == 5 && fit->channels == 3)
        mixture_gradient(fit, m->params, (size_t)net->columns, values, edges, weights, n, spent, g, width, 5, 3);
    else
        mixture_gradient(fit, m->params, (size_t)net->columns, values, edges, weights, n, spent, g, width,
                         fit->mixtures, fit->channels);
    for (int i = net->count - 1; i >= 0; i--) {
        const vlae_fit_layer *layer = &fit->layers[i];
        const packed_layer *packed = &net->layers[i];
        const int32_t hidden = layer->rectified, inputs = packed->inputs, out = ROUND_UP(packed->outputs, FLOATS);
        float *x = m->x, *left = m->left + (size_t)i * m->ranks * width, *right = m->right + (size_t)i * m->ranks * width;
        memset(back, 0, 4 * width * (size_t)n);
        gemm(g, width, 1, layer->back, (size_t)layer->back_columns, back, width, (int32_t)n, packed->outputs,
             layer->back_columns);
        for (int64_t r = 0; r < n; r++) {
            float *to = x + (size_t)r * width;
            const activation *from = i ? m->hidden[i - 1] + (size_t)r * stride : NULL;
            for (int32_t j = 0; j < hidden; j++)
                to[j] = (float)(from[j] - ACTIVATION(0));
            for (int32_t j = hidden; j < inputs; j++)
                to[j] = (float)rows[r * net->inputs + j - hidden];
            memset(to + inputs, 0, 4 * (ROUND_UP((size_t)inputs, FLOATS) - (size_t)inputs));
        }
        memset(m->factors, 0, 4 * m->ranks * (size_t)n);
        if (layer->rank) {
            gemm(x, width, 1, layer->left, (size_t)layer->rank_columns, m->factors, m->ranks, (int32_t)n, inputs,
                 layer->rank_columns);
            gemm(back + ROUND_UP(hidden, 16), 1, width, x, width, left, width, layer->rank, (int32_t)n,
                 ROUND_UP(inputs, FLOATS));
        }
        for (int64_t r = 0; r < n; r++)
            m->factors[(size_t)r * m->ranks + (size_t)layer->rank] = 1;
        gemm(m->factors, 1, m->ranks, g, width, right, width, layer->rank + 1, (int32_t)n, out);
        if (i) { /* where an activation is at a limit of its range nothing goes on */
            float *next = back;
            for (int64_t r = 0; r < n; r++) {
                const activation *at = m->hidden[i - 1] + (size_t)r * stride;
                for (int32_t j = 0; j < hidden; j++)
                    next[(size_t)r * width + (size_t)j] *= at[j] != ACTIVATION(0) && at[j] != ACTIVATION(255);
                memset(next + (size_t)r * width + hidden, 0, 4 * (ROUND_UP((size_t)hidden, 64) - (size_t)hidden));
            }
            back = g;
            g = next;
        }
    }
}

static void fit_block(const vlae_fit *fit, const int8_t *rows, const float *values, const int8_t *edges,
                      const float *weights, int64_t n, float *spent, float *gradient, void *scratch)
{
    const packed_net *net = fit->net;
    fit_memory memory;
    fit_parts(fit, &memory, scratch);
    for (int64_t begin = 0; begin < n; begin += FIT_ROWS) {
        int64_t count = n - begin < FIT_ROWS ? n - begin : FIT_ROWS;
        fit_rows(fit, &memory, rows + begin * net->inputs, values + begin * fit->channels, edges + begin * fit->channels,
                 weights + begin, count, spent + begin);
    }
    for (int i = 0; i < net->count; i++) {
        const vlae_fit_layer *layer = &fit->layers[i];
        const packed_layer *packed = &net->layers[i];
        const float *left = memory.left + (size_t)i * memory.ranks * memory.width;
        const float *right = memory.right + (size_t)i * memory.ranks * memory.width;
        for (int32_t j = 0; j < packed->inputs; j++)
            for (int32_t r = 0; r < layer->rank; r++)
                *gradient++ = left[(size_t)r * memory.width + (size_t)j];
        for (int32_t r = 0; r < layer->rank; r++)
            for (int32_t o = 0; o < packed->outputs; o++)
                *gradient++ = right[(size_t)r * memory.width + (size_t)o] * layer->slope[o] * layer->product;
        for (int32_t o = 0; o < packed->outputs; o++)
            *gradient++ = right[(size_t)layer->rank * memory.width + (size_t)o] * layer->bias;
    }
}

#endif
