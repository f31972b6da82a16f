/* Integer CDFs of discretised mixtures of logistics, SIDE rows side by side; `mixture.py` has the formulas.
 *
 * Means are kept within +-2^29: a position is below 2^22 and an inverse scale at least 1, so beyond that every sigmoid
 * is at its end and stays there, and all products are of two 32-bit numbers. Beyond +-2^24 an inverse scale of 2^17, in
 * place of one up to 2^22, takes it to the same end, and what the table is looked up with stays below 2^31.
 */
#ifndef VLAE_MIXTURE_H
#define VLAE_MIXTURE_H

#include "ans.h"
#include "network.h"

#define SIDE 8
#define FAR (1 << 29)
#define NEAR (1 << 24)
#define STEEP (1 << 17)
#define TOTAL ((int64_t)1 << VLAE_PRECISION)
#define MASS_BITS (VLAE_FACTOR_BITS + VLAE_SIGMOID_BITS)

typedef int32_t ints __attribute__((vector_size(4 * SIDE)));
typedef int64_t longs __attribute__((vector_size(8 * SIDE)));
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
} channel;

/* 20-bit sigmoids at positions in 1/64 level. */
INLINE ints sigmoids(const int32_t *table, ints position, ints mean, ints inverse)
{
    longs product = LONGS(position - mean) * LONGS(inverse);
    ints at = clamp(INTS(product >> 16), -VLAE_SIGMOID_HALF, VLAE_SIGMOID_HALF) + VLAE_SIGMOID_HALF;
#if LANES == 16 || defined TARGET_avxvnni
    return (ints)_mm256_i32gather_epi32(table, (__m256i)at, 4);
#else
    ints found;
    for (int i = 0; i < SIDE; i++)
        found[i] = table[(uint32_t)at[i]];
    return found;
#endif
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
                         const vlae_tables *tables, int k_count, int channels, int c, const state *s, channel *now)
{
    int pairs = rows->coupled ? channels * (channels - 1) / 2 : 0;
    longs scale;
    ints outer;
    for (int64_t i = 0; i < SIDE; i++) {
        int64_t at = (begin + (i < count ? i : count - 1)) * channels + c;
        outer[i] = rows->outers ? rows->outers[at] : VLAE_OUTER_IDENTITY;
        now->offset[i] = rows->offsets[at];
        scale[i] = tables->outer_scale[outer[i]];
        now->back[i] = (int32_t)tables->outer_inverse[outer[i]];
        now->factor[i] = ((TOTAL - rows->levels) << VLAE_FACTOR_BITS) / s->total[i];
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
        longs mean = LONGS(now->offset) + (((LONGS(loc) + (moved >> VLAE_COEF_BITS)) * scale) >> 16);
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
INLINE void observe(state *s, longs *product, int k_count, ints symbol, const channel *now, int c)
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
    s->u[c] = INTS((LONGS((symbol << VLAE_LEVEL_BITS) - now->offset) * LONGS(now->back)) >> 16);
}

INLINE void intervals_of(const vlae_rows *rows, const vlae_tables *tables, const uint8_t *symbols, uint32_t *starts,
                         uint32_t *freqs, int k_count, int channels)
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
            load_channel(rows, params, begin, count, tables, k_count, channels, c, &s, &now);
            ints x;
            for (int64_t i = 0; i < SIDE; i++)
                x[i] = symbols[(begin + (i < count ? i : count - 1)) * channels + c];
            ints edge = (x << VLAE_LEVEL_BITS) - half, first = x == 0, final = x == last;
            longs low = {0}, high = {0}, product[VLAE_MAX_MIXTURES];
            for (int k = 0; k < k_count; k++) {
                ints below = ~first & sigmoids(tables->sigmoid, edge, now.mean[k], now.inverse[k]);
                ints above = sigmoids(tables->sigmoid, edge + 2 * half, now.mean[k], now.inverse[k]);
                above = pick(final, (ints){0} + (1 << VLAE_SIGMOID_BITS), above);
                longs weight = LONGS(s.weight[k]);
                product[k] = weight * LONGS(above - below);
                low += weight * LONGS(below);
                high += weight * LONGS(above);
            }
            longs symbol = LONGS(x);
            longs start = pick_long(LONGS(first), (longs){0}, symbol + ((low * now.factor) >> MASS_BITS));
            longs end = pick_long(LONGS(final), (longs){0} + TOTAL, symbol + 1 + ((high * now.factor) >> MASS_BITS));
            for (int64_t i = 0; i < count; i++) {
                starts[(begin + i) * channels + c] = (uint32_t)start[i];
                freqs[(begin + i) * channels + c] = (uint32_t)(end[i] - start[i]);
            }
            if (c + 1 < rows->coded)
                observe(&s, product, k_count, x, &now, c);
        }
    }
}

static void intervals(const vlae_rows *rows, const vlae_tables *tables, const uint8_t *symbols, uint32_t *starts,
                      uint32_t *freqs)
{
    if (rows->mixtures == 5 && rows->channels == 3) /* the loops of the models of photographs, unrolled */
        intervals_of(rows, tables, symbols, starts, freqs, 5, 3);
    else if (rows->mixtures == 5 && rows->channels == 1)
        intervals_of(rows, tables, symbols, starts, freqs, 5, 1);
    else
        intervals_of(rows, tables, symbols, starts, freqs, rows->mixtures, rows->channels);
}

/* The symbols that own cf and where they begin and end, by bisection: levels is a power of 2. */
INLINE ints search(const vlae_tables *tables, const state *s, const channel *now, int k_count, int32_t levels,
                   longs cf, longs *start, longs *end)
{
    const int32_t half = 1 << (VLAE_LEVEL_BITS - 1);
    ints symbol = {0};
    *start = (longs){0};
    *end = (longs){0} + TOTAL;
    for (int32_t step = levels / 2; step > 0; step /= 2) {
        ints middle = symbol + step, position = (middle << VLAE_LEVEL_BITS) - half;
        longs mass = {0};
        for (int k = 0; k < k_count; k++)
            mass += LONGS(s->weight[k]) * LONGS(sigmoids(tables->sigmoid, position, now->mean[k], now->inverse[k]));
        longs value = LONGS(middle) + ((mass * now->factor) >> MASS_BITS), below = value <= cf;
        symbol = pick(INTS(below), middle, symbol);
        *start = pick_long(below, value, *start);
        *end = pick_long(below, *end, value);
    }
    return symbol;
}

INLINE int pop_rows_of(const vlae_rows *rows, const vlae_tables *tables, vlae_stack *stack, int64_t phase,
                       uint8_t *symbols, state *states, int k_count, int channels)
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
                load_channel(rows, params, begin, count, tables, k_count, channels, c, s, &now);
                longs cf = {0}, start, end;
                for (int64_t i = 0; i < count; i++) {
                    cf[i] = (int64_t)(stack->heads[ahead] & (uint64_t)(TOTAL - 1));
                    ahead = ahead + 1 < lanes ? ahead + 1 : 0;
                }
                ints x = search(tables, s, &now, k_count, rows->levels, cf, &start, &end);
                longs freq = end - start;
                for (int64_t i = 0; i < count; i++) {
                    if (pop_symbol(stack, lane, (uint64_t)start[i], (uint64_t)freq[i], VLAE_PRECISION) < 0)
                        return VLAE_EMPTY;
                    lane = lane + 1 < lanes ? lane + 1 : 0;
                    symbols[(begin + i) * channels + c] = (uint8_t)x[i];
                }
                if (c + 1 < rows->coded) {
                    ints edge = (x << VLAE_LEVEL_BITS) - half, first = x == 0, final = x == last;
                    longs product[VLAE_MAX_MIXTURES];
                    for (int k = 0; k < k_count; k++) {
                        ints below = ~first & sigmoids(tables->sigmoid, edge, now.mean[k], now.inverse[k]);
                        ints above = sigmoids(tables->sigmoid, edge + 2 * half, now.mean[k], now.inverse[k]);
                        above = pick(final, (ints){0} + (1 << VLAE_SIGMOID_BITS), above);
                        product[k] = LONGS(s->weight[k]) * LONGS(above - below);
                    }
                    observe(s, product, k_count, x, &now, c);
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
static int pop_rows(const vlae_rows *rows, const vlae_tables *tables, vlae_stack *stack, int64_t phase,
                    uint8_t *symbols, void *scratch)
{
    if (rows->mixtures == 5 && rows->channels == 3)
        return pop_rows_of(rows, tables, stack, phase, symbols, scratch, 5, 3);
    if (rows->mixtures == 5 && rows->channels == 1)
        return pop_rows_of(rows, tables, stack, phase, symbols, scratch, 5, 1);
    return pop_rows_of(rows, tables, stack, phase, symbols, scratch, rows->mixtures, rows->channels);
}

#endif
