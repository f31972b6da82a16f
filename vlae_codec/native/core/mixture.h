/* Integer CDFs of discretised mixtures of logistics, SIDE rows side by side; `mixture.py` has the formulas.
 *
 * Bounds. A position is 64 x - 32 for x up to 2^16, so at most 2^22. Means are kept within +-2^29, which is part of the
 * formula, so a distance is below 2^30 and all products are of two 32-bit numbers. With |mean| up to 2^24 a distance is
 * at most 5/4 2^24, an inverse scale at most 2^22 and an argument below 5/4 2^30. Beyond, an inverse scale of 2^17 stands
 * in for a larger one: the distance is at least 3/4 2^24, so the argument, shifted right by up to 26, is at least
 * 3/4 2^15 with it, beyond the table's end of 2^12 as it is with the larger one, and below 2^31. Before a mean is clamped
 * it is a 64-bit number. Parameters are in the limits of their layer, to which a network clamps them and `check_rows`
 * holds all others; an offset is at most 2^22 and an outer inverse at most 2^20, so |u| is at most 2^27, 31 channels move
 * a location by less than 2^34, an outer scale is at most 2^24, and a left shift after it at most 10.
 * In the deep form the product of distance and inverse is clamped before it is shifted, by at most 18; it is at least
 * 3/4 2^41 with STEEP, beyond the table's end of 2^38 as it is with the larger one.
 *
 * The code has three forms. In the plain one symbols are bytes, levels a power of 2, and no row has a shift; in the deep one
 * levels are any number up to 2^16, symbols of more than 256 levels are uint16, each row has its shift, and sigmoids are
 * interpolated: a level may be so small a part of a scale that the table alone would not tell one from the next. The
 * restricted one is the plain one for 256 levels and three channels, but for the last channel: there the values of the
 * row's set (`values.h`) share one part of the range, and those outside it another; borders are halfway between neighbours.
 */
#ifndef VLAE_MIXTURE_H
#define VLAE_MIXTURE_H

#include "ans.h"
#include "network.h"
#include "values.h"

#define SIDE 8
#define FAR (1 << 29)
#define NEAR (1 << 24)
#define STEEP (1 << 17)
#define TOTAL ((int64_t)1 << VLAE_PRECISION)
#define MASS_BITS (VLAE_FACTOR_BITS + VLAE_SIGMOID_BITS)
#define FINE_BITS 8 /* of an argument in the deep form, below those that the table has */
#define MORE_BITS 4 /* of a sigmoid in the deep form, and fewer of the factor */

typedef int32_t ints __attribute__((vector_size(4 * SIDE)));
typedef int64_t longs __attribute__((vector_size(8 * SIDE)));
typedef uint64_t bits64 __attribute__((vector_size(8 * SIDE)));
#define LONGS(v) __builtin_convertvector(v, longs)
#define INTS(v) __builtin_convertvector(v, ints)

INLINE ints pick(ints mask, ints a, ints b)
{
    return (mask & a) | (~mask & b);
}

INLINE longs pick_long(longs mask, longs a, longs b)
{
    return (mask & a) | (~mask & b);
}

INLINE ints clamp(ints v, int32_t low, int32_t high)
{
    v = pick(v < low, (ints){0} + low, v);
    return pick(v > high, (ints){0} + high, v);
}

/* SIDE rows on their way through the channels: components' weights, and u of the channels that are known. */
typedef struct {
    ints weight[VLAE_MAX_MIXTURES];
    ints total;
    ints u[VLAE_MAX_CHANNELS];
} state;

/* One channel of SIDE rows. */
typedef struct {
    ints mean[VLAE_MAX_MIXTURES], inverse[VLAE_MAX_MIXTURES];
    longs factor; /* of the masses */
    ints offset, back; /* from a symbol to u */
    longs shift; /* of the rows, if deep */
    longs fine, most; /* if deep: of a product to an argument of FINE_BITS more, and what of it the table's end is */
    longs base, span; /* if restricted: the part of the range that the symbols have */
} channel;

INLINE int is_deep(const vlae_rows *rows)
{
    return rows->shifts || rows->levels > 256 || (rows->levels & (rows->levels - 1));
}

/* Symbol i of an array of bytes or, of more than 256 levels, of uint16. */
INLINE int32_t symbol_at(const void *symbols, int64_t i, int32_t levels, const int deep)
{
    return deep && levels > 256 ? ((const uint16_t *)symbols)[i] : ((const uint8_t *)symbols)[i];
}

INLINE ints entries(const int32_t *table, ints at)
{
#if LANES == 16 || defined TARGET_avxvnni
    return (ints)_mm256_i32gather_epi32(table, (__m256i)at, 4);
#else
    ints found;
    for (int i = 0; i < SIDE; i++)
        found[i] = table[(uint32_t)at[i]];
    return found;
#endif
}

/* Sigmoids of component k at positions in 1/64 level: of 20 bits, or of MORE_BITS more if deep. The product is shifted
 * as if it had no sign, which the 32 bits that are taken of it do not show. */
INLINE ints sigmoids(const int32_t *table, ints position, const channel *now, int k, const int deep)
{
    longs product = LONGS(position - now->mean[k]) * LONGS(now->inverse[k]);
    if (!deep)
        return entries(table, clamp(INTS(product >> 16), -VLAE_SIGMOID_HALF, VLAE_SIGMOID_HALF) + VLAE_SIGMOID_HALF);
    product = pick_long(product < -now->most, -now->most, product);
    product = pick_long(product < now->most, product, now->most - 1);
    ints argument = INTS((longs)((bits64)product >> (bits64)now->fine)) + (VLAE_SIGMOID_HALF << FINE_BITS);
    ints at = argument >> FINE_BITS, part = argument & ((1 << FINE_BITS) - 1), low = entries(table, at);
    return (low << MORE_BITS) + (((entries(table, at + 1) - low) * part) >> (FINE_BITS - MORE_BITS));
}

/* The sigmoid of what is above all symbols. */
INLINE ints certain(const int deep)
{
    return (ints){0} + (1 << (VLAE_SIGMOID_BITS + (deep ? MORE_BITS : 0)));
}

/* Row i of SIDE, the last one where there are fewer. */
INLINE void side_rows(const vlae_rows *rows, int64_t begin, int64_t count, const int32_t **params)
{
    for (int64_t i = 0; i < SIDE; i++)
        params[i] = rows->params + (begin + (i < count ? i : count - 1)) * rows->columns;
}

INLINE void load_weights(const int32_t *const *params, const vlae_tables *tables, int k_count, state *s)
{
    ints top, total = {0};
    for (int i = 0; i < SIDE; i++)
        top[i] = params[i][0];
    for (int k = 1; k < k_count; k++)
        for (int i = 0; i < SIDE; i++)
            top[i] = params[i][k] > top[i] ? params[i][k] : top[i];
    for (int k = 0; k < k_count; k++) {
        for (int i = 0; i < SIDE; i++) {
            int64_t below = (int64_t)top[i] - params[i][k];
            s->weight[k][i] = tables->exp[below < VLAE_EXP_ENTRIES ? below : VLAE_EXP_ENTRIES - 1];
        }
        total += s->weight[k];
    }
    s->total = total;
}

/* Locations and inverse scales of channel c of the rows from `begin` on. */
INLINE void load_channel(const vlae_rows *rows, const int32_t *const *params, int64_t begin, int64_t count,
                         const vlae_tables *tables, int k_count, int channels, int c, const state *s, channel *now,
                         const int deep)
{
    int pairs = rows->coupled ? channels * (channels - 1) / 2 : 0;
    longs scale;
    ints outer;
    for (int64_t i = 0; i < SIDE; i++) {
        int64_t at = (begin + (i < count ? i : count - 1)) * channels + c;
        outer[i] = rows->outers ? rows->outers[at] : VLAE_OUTER_IDENTITY;
        now->offset[i] = rows->offsets[at];
        if (deep)
            now->shift[i] = rows->shifts ? rows->shifts[begin + (i < count ? i : count - 1)] : 0;
        scale[i] = tables->outer_scale[outer[i]];
        now->back[i] = (int32_t)tables->outer_inverse[outer[i]];
        now->factor[i] = ((TOTAL - rows->levels) << (VLAE_FACTOR_BITS - (deep ? MORE_BITS : 0))) / s->total[i];
    }
    if (deep) {
        now->fine = now->shift + (16 - FINE_BITS);
        now->most = ((longs){0} + (VLAE_SIGMOID_HALF << FINE_BITS)) << now->fine;
    }
    for (int k = 0; k < k_count; k++) {
        ints loc, index, inverse;
        for (int i = 0; i < SIDE; i++) {
            loc[i] = params[i][k_count + k * channels + c];
            index[i] = params[i][k_count * (1 + channels) + k * channels + c];
        }
        longs moved = {0};
        for (int e = 0; e < (pairs ? c : 0); e++) {
            ints coefficient;
            for (int i = 0; i < SIDE; i++)
                coefficient[i] = params[i][k_count * (1 + 2 * channels) + k * pairs + c * (c - 1) / 2 + e];
            moved += LONGS(coefficient) * LONGS(s->u[e]);
        }
        moved = ((LONGS(loc) + (moved >> VLAE_COEF_BITS)) * scale) >> 16;
        longs mean = LONGS(now->offset) + (deep ? (longs)((bits64)moved << (bits64)now->shift) : moved);
        mean = pick_long(mean < -FAR, (longs){0} - FAR, mean);
        now->mean[k] = INTS(pick_long(mean > FAR, (longs){0} + FAR, mean));
        index = clamp(index + outer - VLAE_OUTER_IDENTITY, 0, VLAE_SCALES - 1);
        for (int i = 0; i < SIDE; i++)
            inverse[i] = (int32_t)tables->inverse[index[i]];
        ints far = (now->mean[k] > NEAR) | (now->mean[k] < -NEAR);
        now->inverse[k] = pick(far & (inverse > STEEP), (ints){0} + STEEP, inverse);
    }
}

/* Weights times their components' masses at a known symbol, brought back to 12 bits: the posterior of the components. */
INLINE void observe(state *s, longs *product, int k_count, ints symbol, const channel *now, int c, const int deep)
{
    longs top = {0};
    for (int k = 0; k < k_count; k++)
        top = pick_long(product[k] > top, product[k], top);
    longs shift, any = top > 0;
    for (int i = 0; i < SIDE; i++) {
        int length = 64 - __builtin_clzll((uint64_t)top[i] | 1);
        shift[i] = length > VLAE_WEIGHT_BITS ? length - VLAE_WEIGHT_BITS : 0;
    }
    ints total = {0}, some = INTS(any);
    for (int k = 0; k < k_count; k++) {
        longs weight = product[k] >> shift;
        weight = pick_long(weight < 1, (longs){0} + 1, weight);
        s->weight[k] = pick(some, INTS(weight), s->weight[k]);
        total += s->weight[k];
    }
    s->total = total;
    longs u = (LONGS((symbol << VLAE_LEVEL_BITS) - now->offset) * LONGS(now->back)) >> 16;
    s->u[c] = INTS(deep ? (longs)((bits64)u >> (bits64)now->shift) : u);
}

/* What of the range is for values outside a set: nothing or all of it if only one kind is there. */
INLINE int64_t outside_of(const uint64_t *values, int32_t escape)
{
    return lacks_all(values, 0) ? TOTAL : lacks_all(values, ~(uint64_t)0) ? 0 : TOTAL >> escape;
}

/* Gives row i the part of the range for the values of its set or, flipped, for those outside. */
INLINE void take_part(channel *now, const state *s, int64_t outside, uint64_t flip, int i)
{
    now->base[i] = flip ? 0 : outside;
    now->span[i] = flip ? outside : TOTAL - outside;
    now->factor[i] = ((now->span[i] - (1 << 8)) << VLAE_FACTOR_BITS) / s->total[i];
}

INLINE void intervals_of(const vlae_rows *rows, const vlae_tables *tables, const void *symbols, uint32_t *starts,
                         uint32_t *freqs, int k_count, int channels, const int deep, const int narrow)
{
    const int32_t half = 1 << (VLAE_LEVEL_BITS - 1), last = rows->levels - 1;
    state s;
    channel now;
    for (int64_t begin = 0; begin < rows->n; begin += SIDE) {
        int64_t count = rows->n - begin < SIDE ? rows->n - begin : SIDE;
        const int32_t *params[SIDE];
        side_rows(rows, begin, count, params);
        load_weights(params, tables, k_count, &s);
        for (int c = 0; c < rows->coded; c++) {
            load_channel(rows, params, begin, count, tables, k_count, channels, c, &s, &now, deep);
            ints x;
            for (int64_t i = 0; i < SIDE; i++)
                x[i] = symbol_at(symbols, (begin + (i < count ? i : count - 1)) * channels + c, rows->levels, deep);
            ints edge = (x << VLAE_LEVEL_BITS) - half, next = edge + 2 * half, first = x == 0, final = x == last;
            ints at = x, end_at = x + 1;
            if (narrow && c == 2) {
                ints before, behind;
                now.base = now.span = (longs){0};
                for (int64_t i = 0; i < SIDE; i++) {
                    int64_t row = begin + (i < count ? i : count - 1);
                    const uint64_t *values = values_of(rows->set, (const uint8_t *)symbols + 3 * row);
                    const uint64_t flip = has_value(values, x[i]) ? 0 : ~(uint64_t)0;
                    take_part(&now, &s, outside_of(values, rows->escapes[row]), flip, (int)i);
                    before[i] = value_below(values, flip, x[i]);
                    behind[i] = value_above(values, flip, x[i]);
                }
                first = before < 0;
                final = behind > last;
                edge = (before + x) * half;
                next = (x + behind) * half;
                at = (before + x + 1) >> 1;
                end_at = (x + behind + 1) >> 1;
            }
            longs low = {0}, high = {0}, product[VLAE_MAX_MIXTURES];
            for (int k = 0; k < k_count; k++) {
                ints below = ~first & sigmoids(tables->sigmoid, edge, &now, k, deep);
                ints above = sigmoids(tables->sigmoid, next, &now, k, deep);
                above = pick(final, certain(deep), above);
                longs weight = LONGS(s.weight[k]);
                product[k] = weight * LONGS(above - below);
                low += weight * LONGS(below);
                high += weight * LONGS(above);
            }
            longs whole = (longs){0} + TOTAL;
            if (narrow && c == 2)
                whole = now.span;
            longs start = pick_long(LONGS(first), (longs){0}, LONGS(at) + ((low * now.factor) >> MASS_BITS));
            longs end = pick_long(LONGS(final), whole, LONGS(end_at) + ((high * now.factor) >> MASS_BITS));
            if (narrow && c == 2) {
                start += now.base;
                end += now.base;
            }
            for (int64_t i = 0; i < count; i++) {
                starts[(begin + i) * channels + c] = (uint32_t)start[i];
                freqs[(begin + i) * channels + c] = (uint32_t)(end[i] - start[i]);
            }
            if (c + 1 < rows->coded)
                observe(&s, product, k_count, x, &now, c, deep);
        }
    }
}

/* The loops of the models of photographs, unrolled, and those of all others. */
#define FORMS(call, ...)                                                            \
    do {                                                                            \
        const int32_t k_count = rows->mixtures, channels = rows->channels;          \
        if (rows->set) {                                                            \
            if (k_count == 5)                                                       \
                call(__VA_ARGS__, 5, 3, 0, 1);                                      \
            else                                                                    \
                call(__VA_ARGS__, k_count, 3, 0, 1);                                \
        } else if (is_deep(rows)) {                                                 \
            if (k_count == 5 && channels == 3)                                      \
                call(__VA_ARGS__, 5, 3, 1, 0);                                      \
            else                                                                    \
                call(__VA_ARGS__, k_count, channels, 1, 0);                         \
        } else if (k_count == 5 && channels == 3)                                   \
            call(__VA_ARGS__, 5, 3, 0, 0);                                          \
        else if (k_count == 5 && channels == 1)                                     \
            call(__VA_ARGS__, 5, 1, 0, 0);                                          \
        else                                                                        \
            call(__VA_ARGS__, k_count, channels, 0, 0);                             \
    } while (0)

static void intervals(const vlae_rows *rows, const vlae_tables *tables, const void *symbols, uint32_t *starts,
                      uint32_t *freqs)
{
    FORMS(intervals_of, rows, tables, symbols, starts, freqs);
}

/* The symbols that own cf and where they begin and end, by bisection of the next power of 2 of levels. */
INLINE ints search(const vlae_tables *tables, const state *s, const channel *now, int k_count, int32_t levels,
                   longs cf, longs *start, longs *end, const int deep)
{
    const int32_t half = 1 << (VLAE_LEVEL_BITS - 1);
    const int32_t whole = deep ? 1 << (32 - __builtin_clz((uint32_t)levels - 1)) : levels;
    ints symbol = {0};
    *start = (longs){0};
    *end = (longs){0} + TOTAL;
    for (int32_t step = whole / 2; step > 0; step /= 2) {
        ints middle = symbol + step, position = (middle << VLAE_LEVEL_BITS) - half;
        longs mass = {0};
        for (int k = 0; k < k_count; k++)
            mass += LONGS(s->weight[k]) * LONGS(sigmoids(tables->sigmoid, position, now, k, deep));
        longs value = LONGS(middle) + ((mass * now->factor) >> MASS_BITS);
        if (deep)
            value = pick_long(LONGS(middle < levels), value, (longs){0} + TOTAL);
        longs below = value <= cf;
        symbol = pick(INTS(below), middle, symbol);
        *start = pick_long(below, value, *start);
        *end = pick_long(below, *end, value);
    }
    return symbol;
}

/* The same for the last channel of the restricted form: by bisection of the values of each row's part of the range. */
INLINE ints search_values(const vlae_rows *rows, const vlae_tables *tables, const void *symbols, int64_t begin,
                          int64_t count, const state *s, channel *now, int k_count, longs cf, longs *start, longs *end)
{
    const int32_t half = 1 << (VLAE_LEVEL_BITS - 1);
    uint8_t lists[SIDE][256] = {{0}};
    ints counts, at = {0}, symbol;
    now->base = now->span = (longs){0};
    for (int64_t i = 0; i < SIDE; i++) {
        int64_t row = begin + (i < count ? i : count - 1);
        const uint64_t *values = values_of(rows->set, (const uint8_t *)symbols + 3 * row);
        int64_t outside = outside_of(values, rows->escapes[row]);
        const uint64_t flip = cf[i] < outside ? ~(uint64_t)0 : 0;
        take_part(now, s, outside, flip, (int)i);
        counts[i] = list_values(values, flip, lists[i]);
    }
    *start = now->base;
    *end = now->base + now->span;
    for (int32_t step = 128; step > 0; step /= 2) {
        ints middle = at + step, twice; /* twice the border */
        for (int i = 0; i < SIDE; i++)
            twice[i] = lists[i][middle[i] - 1] + lists[i][middle[i]];
        longs mass = {0};
        for (int k = 0; k < k_count; k++)
            mass += LONGS(s->weight[k]) * LONGS(sigmoids(tables->sigmoid, twice * half, now, k, 0));
        longs value = now->base + LONGS((twice + 1) >> 1) + ((mass * now->factor) >> MASS_BITS);
        value = pick_long(LONGS(middle < counts), value, now->base + now->span);
        longs below = value <= cf;
        at = pick(INTS(below), middle, at);
        *start = pick_long(below, value, *start);
        *end = pick_long(below, *end, value);
    }
    for (int i = 0; i < SIDE; i++)
        symbol[i] = lists[i][at[i]];
    return symbol;
}

INLINE int pop_rows_of(const vlae_rows *rows, const vlae_tables *tables, vlae_stack *stack, int64_t phase,
                       void *symbols, state *states, int k_count, int channels, const int deep, const int narrow)
{
    const int32_t half = 1 << (VLAE_LEVEL_BITS - 1), last = rows->levels - 1;
    int64_t lanes = stack->lanes;
    channel now;
    for (int64_t group = 0; group < rows->n; group += lanes) {
        int64_t in_group = rows->n - group < lanes ? rows->n - group : lanes;
        for (int c = 0; c < rows->coded; c++) {
            int64_t lane = (phase + group) % lanes;
            for (int64_t at = 0; at < in_group; at += SIDE) {
                int64_t begin = group + at, count = in_group - at < SIDE ? in_group - at : SIDE, ahead = lane;
                state *s = &states[at / SIDE];
                const int32_t *params[SIDE];
                side_rows(rows, begin, count, params);
                if (c == 0)
                    load_weights(params, tables, k_count, s);
                load_channel(rows, params, begin, count, tables, k_count, channels, c, s, &now, deep);
                longs cf = {0}, start, end;
                for (int64_t i = 0; i < count; i++) {
                    cf[i] = (int64_t)(stack->heads[ahead] & (uint64_t)(TOTAL - 1));
                    ahead = ahead + 1 < lanes ? ahead + 1 : 0;
                }
                ints x;
                if (narrow && c == 2)
                    x = search_values(rows, tables, symbols, begin, count, s, &now, k_count, cf, &start, &end);
                else
                    x = search(tables, s, &now, k_count, rows->levels, cf, &start, &end, deep);
                longs freq = end - start;
                for (int64_t i = 0; i < count; i++) {
                    if (pop_symbol(stack, lane, (uint64_t)start[i], (uint64_t)freq[i], VLAE_PRECISION) < 0)
                        return VLAE_EMPTY;
                    lane = lane + 1 < lanes ? lane + 1 : 0;
                    if (deep && rows->levels > 256)
                        ((uint16_t *)symbols)[(begin + i) * channels + c] = (uint16_t)x[i];
                    else
                        ((uint8_t *)symbols)[(begin + i) * channels + c] = (uint8_t)x[i];
                }
                if (c + 1 < rows->coded) {
                    ints edge = (x << VLAE_LEVEL_BITS) - half, first = x == 0, final = x == last;
                    longs product[VLAE_MAX_MIXTURES];
                    for (int k = 0; k < k_count; k++) {
                        ints below = ~first & sigmoids(tables->sigmoid, edge, &now, k, deep);
                        ints above = sigmoids(tables->sigmoid, edge + 2 * half, &now, k, deep);
                        above = pick(final, certain(deep), above);
                        product[k] = LONGS(s->weight[k]) * LONGS(above - below);
                    }
                    observe(s, product, k_count, x, &now, c, deep);
                }
            }
        }
    }
    return VLAE_OK;
}

/* Memory of `pop_rows` of so many rows. */
static size_t states_size(int64_t rows, int64_t lanes)
{
    int64_t most = rows < lanes ? rows : lanes;
    return (size_t)(ROUND_UP(most, SIDE) / SIDE) * ROUND_UP(sizeof(state), ALIGN);
}

/* Groups of `lanes` rows; in a group channel by channel; in a channel the rows in turn, row i on lane phase + i. */
static int pop_rows(const vlae_rows *rows, const vlae_tables *tables, vlae_stack *stack, int64_t phase, void *symbols,
                    void *scratch)
{
    FORMS(return pop_rows_of, rows, tables, stack, phase, symbols, scratch);
}

#endif
