/* The quantised DCT coefficients of a JPEG as an adaptive binary code; `jpeg.py` says what the parts are.
 *
 * A block is coded as the number of its values that are not 0 among those of both frequencies, these from low to high
 * frequencies; then, one side after the other, the values of one frequency only, and at last its DC. So the values
 * that the blocks beside determine best, since pixels go on across the border, are coded when all others are known.
 * This order, and what predicts them, are those of Lepton (Horn et al., "The Design, Implementation, and Deployment of
 * a System to Transparently Compress Hundreds of Petabytes of Image Files", NSDI 2017, section 3.3).
 *
 * Each bit is a mix of what counters in several contexts expect. A value is a flag that it is not 0, its sign, the
 * number of its magnitude's bits in unary, and these bits from the second highest on.
 */
#ifndef VLAE_COEFFICIENTS_H
#define VLAE_COEFFICIENTS_H

#include "binary.h"
#include "huffman.h"
#include "vlae.h"

enum { COUNTS, SIDES, VALUES, SIGNS, EDGES, EDGE_SIGNS, DCS, DC_SIGNS, KINDS }; /* of bits */
enum { MOST_CONTEXTS = 12, MOST_INPUTS = 16 /* 13 and zeros */, NODES = 64, PICKS = 64, TAIL = 48, CLASSES = 2,
       SETS = NODES + 8 * PICKS };
enum { LEVELS = 24, FIRST_WEIGHT = 10000, RATE = 90, FINAL_RATE = 12, REFINE_RATE = 6, SEEN_MOST = 200,
       TAIL_SEEN = 250 };

/* How many contexts of each kind there are, and how many values each has. */
static const struct {
    int32_t nodes, count;
    int32_t sizes[MOST_CONTEXTS];
} kinds[KINDS] = {
    [COUNTS] = {64, 6, {50, 169, 13 * 13, 50, 13 * 13, 169}},
    [SIDES] = {8, 6, {2 * 13 * 8, 2 * 64, 2 * 13 * 8, 2 * 8 * 8, 2 * 64, 2 * 8 * 13}},
    [VALUES] = {16, 12,
                {49 * LEVELS, 49 * 13 * 4, 49 * LEVELS, LEVELS * LEVELS * 13, 144 * 13, 49 * LEVELS, 50 * 50, 49 * 16,
                 49 * LEVELS, 49 * 13, 49 * 50, 49 * 13 * 4}},
    [SIGNS] = {1, 5, {49 * 9, 49 * 9, 49 * 9, 49 * 27, 49 * 27}},
    [EDGES] = {32, 10,
               {14 * LEVELS, 14 * LEVELS, 14 * 8 * 12, 14 * LEVELS, 14 * LEVELS, 14 * 13 * 8, 2 * LEVELS * LEVELS,
                14 * 16, 14 * LEVELS, 14 * LEVELS * 4}},
    [EDGE_SIGNS] = {1, 5, {14 * 2 * LEVELS, 14 * 2 * LEVELS, 14 * 9, 14 * 9, 2 * 4 * LEVELS * LEVELS}},
    [DCS] = {16, 6, {LEVELS, LEVELS * LEVELS, LEVELS * LEVELS, 13 * LEVELS, LEVELS * LEVELS, LEVELS}},
    [DC_SIGNS] = {1, 4, {9, 3 * LEVELS, 3, 27}},
};

typedef struct {
    int16_t residue; /* of the DC */
    uint8_t inner, sides[2];
} vlae_coded_block;

typedef struct {
    binary_coder coder;
    binary_tables tables;
    binary_counter *contexts[KINDS][MOST_CONTEXTS], *starts[CLASSES][KINDS][MOST_CONTEXTS], *tails;
    int32_t *weights, *final;
    uint16_t *refined;
    int32_t pick[KINDS]; /* which weights a kind takes, below PICKS */
    int32_t class, basis[64]; /* basis: pixel by frequency, 1/8192 */
} vlae_model;

/* 0, then two levels an octave. */
static inline int level_of(uint32_t x)
{
    if (!x)
        return 0;
    int octave = 31 - __builtin_clz(x), level = 1 + 2 * octave + (octave ? (int)(x >> (octave - 1) & 1) : 0);
    return level < LEVELS ? level : LEVELS - 1;
}

static inline int few_of(int count) /* 0 to 49 as 0 to 12 */
{
    static const uint8_t few[50] = {0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9, 9, 9, 10, 10, 10,
                                    10, 10, 10, 10, 10, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 12, 12, 12, 12, 12,
                                    12, 12, 12, 12, 12};
    return few[count < 0 ? 0 : count > 49 ? 49 : count];
}

static inline int magnitude(int32_t x)
{
    return x < 0 ? -x : x;
}

static inline int least(int x, int y)
{
    return x < y ? x : y;
}

static inline int sign_of(int32_t x) /* 0: negative, 1, 2: positive */
{
    return (x > 0) - (x < 0) + 1;
}

static inline int32_t limited(int32_t x, int32_t most)
{
    return x > most ? most : x < -most ? -most : x;
}

static inline void set_context(vlae_model *model, int kind, int i, int32_t value)
{
    int32_t last = kinds[kind].sizes[i] - 1;
    value = value < 0 ? 0 : value > last ? last : value;
    model->contexts[kind][i] = model->starts[model->class][kind][i] + (int64_t)value * kinds[kind].nodes;
    __builtin_prefetch(model->contexts[kind][i], 1);
}

/* A bit of a kind, in the contexts that were set, at a node of its code. */
static inline int model_bit(vlae_model *model, int kind, int node, int bit)
{
    int32_t inputs[MOST_INPUTS] = {0}, count = kinds[kind].count;
    binary_counter *counters[MOST_CONTEXTS];
    for (int i = 0; i < count; i++) {
        counters[i] = model->contexts[kind][i] + node;
        inputs[i] = stretch(&model->tables, *counters[i] >> 16);
    }
    inputs[count] = 256;
    int64_t first = ((int64_t)model->class * KINDS + kind) * SETS;
    int64_t sets[2] = {first + node, first + NODES + least(node, 7) * PICKS + model->pick[kind]};
    int32_t *weights[2] = {model->weights + sets[0] * MOST_INPUTS, model->weights + sets[1] * MOST_INPUTS};
    int32_t logits[2], *final = model->final + 2 * ((model->class * KINDS + kind) * NODES + node);
    for (int i = 0; i < 2; i++)
        logits[i] = limited(mixed(weights[i], inputs, MOST_INPUTS), LOGIT_MOST);
    int32_t logit = limited(mixed(final, logits, 2), LOGIT_MOST);
    uint32_t p = squash(&model->tables, logit);
    uint16_t *refine[2] = {model->refined + sets[0] * REFINED, model->refined + sets[1] * REFINED};
    int nearest[2];
    uint32_t better = refined(refine[0], logit, &nearest[0]) + refined(refine[1], logit, &nearest[1]);
    uint32_t q = (2 * p + better) / 4;
    q = q < 1 ? 1 : q > 65535 ? 65535 : q;
    bit = binary_code(&model->coder, bit, q);
    for (int i = 0; i < 2; i++) {
        int32_t error = (bit << 16) - (int32_t)squash(&model->tables, logits[i]);
        mixed_update(weights[i], inputs, MOST_INPUTS, error, RATE);
        refined_update(refine[i], nearest[i], bit, REFINE_RATE);
    }
    mixed_update(final, logits, 2, (bit << 16) - (int32_t)p, FINAL_RATE);
    for (int i = 0; i < count; i++)
        binary_update(&model->tables, counters[i], bit, SEEN_MOST);
    return bit;
}

/* A number below 2^bits. */
static int model_number(vlae_model *model, int kind, int bits, int value)
{
    int node = 1;
    for (int i = bits - 1; i >= 0; i--)
        node = 2 * node + model_bit(model, kind, node, value >> i & 1);
    return node - (1 << bits);
}

/* A value that is any int16; kind + 1 are its signs. expected: its sign, if there is one. Nodes: 0 whether it is not 0,
 * 1 to 9 whether there are more bits than so many, 10 to 15 the second highest bit; 16 more for unexpected signs. */
static int model_value(vlae_model *model, int kind, int value, int expected)
{
    if (!model_bit(model, kind, 0, value != 0))
        return 0;
    int negative = model_bit(model, kind + 1, 0, value < 0), bits = 1, size = jpeg_size(value), result = 1;
    int surprise = expected && (expected < 0) != negative ? 16 : 0;
    while (bits < 16 && model_bit(model, kind, surprise + least(bits, 9), size > bits))
        bits++;
    for (int i = bits - 2; i >= 0; i--) {
        int bit = magnitude(value) >> i & 1, place = i + (i == bits - 3 ? 16 + 16 * (result & 1) : 0);
        binary_counter *tail = model->tails + ((model->class * KINDS + kind) * 17 + bits) * TAIL + place;
        if (i == bits - 2)
            bit = model_bit(model, kind, surprise + least(8 + bits, 15), bit);
        else
            bit = binary_simple(&model->coder, &model->tables, tail, bit, TAIL_SEEN);
        result = 2 * result + bit;
    }
    return (int16_t)(negative ? -result : result);
}

/* ------------------------------------------------------------------------------------------------------- blocks */

/* What is known of a block when it is coded. Blocks that are not there are zeros. */
typedef struct {
    const int16_t *above, *left, *corner, *right, *above2, *left2, *other; /* other: of another chroma component */
    const vlae_coded_block *a, *l, *c, *r, *o;
    int16_t near[64], luma[64]; /* magnitudes that the blocks around, or of luma, make likely, in 1/32 and 1/4 */
    int16_t signs[64];
    int32_t luma_inner, luma_sides[2], luma_residue, has_luma;
    const int32_t *steps;
    int known[2]; /* whether there are blocks above and left */
    int16_t *above_lines, *left_lines; /* of the blocks above and left: what their last two lines of pixels are */
} vlae_beside;

/* Lines of a block that another one continues: at each of 8 places two pixels, and for each frequency along the border
 * two values, the nearer first; in 1/8. */
enum { LINE = 32 };

static void set_near(vlae_beside *around)
{
    for (int i = 0; i < 64; i++) {
        int32_t sum = 10 * (magnitude(around->above[i]) + magnitude(around->left[i])) +
                      4 * (magnitude(around->corner[i]) + magnitude(around->right[i])) +
                      2 * (magnitude(around->above2[i]) + magnitude(around->left2[i]));
        around->near[i] = (int16_t)least(sum, 32767);
    }
}

/* The values of both frequencies. */
static void code_inner(vlae_model *model, const vlae_beside *around, int16_t *block, vlae_coded_block *own, int decode)
{
    int count = 0, a = around->a->inner, l = around->l->inner, c = around->c->inner, r = around->r->inner;
    for (int i = 0; !decode && i < 64; i++)
        count += i % 8 && i / 8 && block[i];
    set_context(model, COUNTS, 0, (a + l + 1) / 2);
    set_context(model, COUNTS, 1, few_of(a) * 13 + few_of(l));
    set_context(model, COUNTS, 2, few_of(around->luma_inner) * 13 + few_of((a + l + 1) / 2));
    set_context(model, COUNTS, 3, (2 * a + 2 * l + c + r + 3) / 6);
    set_context(model, COUNTS, 4, few_of(around->o->inner) * 13 + few_of((a + l + 1) / 2));
    set_context(model, COUNTS, 5, few_of(c) * 13 + few_of(r));
    model->pick[COUNTS] = few_of((a + l + 1) / 2);
    count = model_number(model, COUNTS, 6, count);
    count = least(count, 49);
    own->inner = (uint8_t)count;
    int average = (2 * a + 2 * l + c + r + 3) / 6, before[2] = {0, 0};
    for (int i = 0, k = 0, left = count; i < 64 && left; i++) {
        int at = zigzag[i], u = at % 8, v = at / 8;
        if (!u || !v)
            continue;
        /* what stands at lower frequencies: 0 on the sides, which are not known yet */
        int up = v > 1 ? block[at - 8] : 0, up2 = v > 2 ? block[at - 16] : 0, back = u > 1 ? block[at - 1] : 0;
        int back2 = u > 2 ? block[at - 2] : 0, aslant = u > 1 && v > 1 ? block[at - 9] : 0;
        int lower = 2 * magnitude(up) + 2 * magnitude(back) + magnitude(aslant) + magnitude(up2) + magnitude(back2);
        int beside = around->near[at - 1] + around->near[at - 8] + (u < 7 ? around->near[at + 1] : 0) +
                     (v < 7 ? around->near[at + 8] : 0);
        int near = level_of((uint32_t)around->near[at]), low = level_of((uint32_t)lower), few = few_of(left);
        int above = sign_of(around->above[at]), aside = sign_of(around->left[at]), corner = sign_of(around->corner[at]);
        int around4 = least(magnitude(around->above[at]), 3) * 4 + least(magnitude(around->left[at]), 3);
        around4 = (around4 * 3 + least(magnitude(around->corner[at]), 2)) * 3;
        around4 += least(magnitude(around->right[at]), 2);
        set_context(model, VALUES, 0, k * LEVELS + near);
        set_context(model, VALUES, 1, (k * 13 + few) * 4 + least(near / 4, 3));
        set_context(model, VALUES, 2, k * LEVELS + low);
        set_context(model, VALUES, 3, (near * LEVELS + low) * 13 + few);
        set_context(model, VALUES, 4, around4 * 13 + u + v - 2);
        set_context(model, VALUES, 5, k * LEVELS + level_of((uint32_t)around->luma[at]));
        set_context(model, VALUES, 6, left * 50 + k);
        set_context(model, VALUES, 7, (k * 4 + least(before[0], 3)) * 4 + least(before[1], 3));
        set_context(model, VALUES, 8, k * LEVELS + level_of((uint32_t)(around->near[at] * 2 + beside + 12 * lower)));
        set_context(model, VALUES, 9, k * 13 + few_of(average));
        set_context(model, VALUES, 10, k * 50 + count);
        set_context(model, VALUES, 11, (k * 13 + least(magnitude(around->other[at]), 12)) * 4 + least(near / 4, 3));
        model->pick[VALUES] = k;
        set_context(model, SIGNS, 0, (k * 3 + above) * 3 + aside);
        set_context(model, SIGNS, 1, (k * 3 + sign_of(around->other[at])) * 3 + sign_of(around->signs[at]));
        set_context(model, SIGNS, 2, (k * 3 + sign_of(up2)) * 3 + sign_of(back2));
        set_context(model, SIGNS, 3, ((k * 3 + sign_of(up)) * 3 + sign_of(back)) * 3 + sign_of(aslant));
        set_context(model, SIGNS, 4, ((k * 3 + corner) * 3 + above) * 3 + aside);
        model->pick[SIGNS] = k;
        int value = model_value(model, VALUES, block[at], 0);
        block[at] = (int16_t)value;
        left -= value != 0;
        before[1] = before[0];
        before[0] = magnitude(value);
        k++;
    }
}

/* The values of one frequency only: side 0 along a row (u = 1 .. 7), 1 along a column. */
static void code_side(vlae_model *model, const vlae_beside *around, int16_t *block, vlae_coded_block *own, int side,
                      int decode)
{
    int step = side ? 8 : 1, across = side ? 1 : 8, count = 0, likely = 0;
    const int16_t *lines = side ? around->left_lines : around->above_lines;
    int32_t smooth[8] = {0}, equal[8] = {0};
    for (int j = 1; j < 8; j++) {
        int32_t first = 0, second = 0; /* values at the two pixels next to the border, but for that of frequency 0 */
        for (int i = 1; i < 8; i++) {
            int at = j * step + i * across;
            int32_t value = limited(limited(block[at], 2047) * around->steps[at], 16383);
            first += model->basis[i] * value;
            second += model->basis[8 + i] * value;
        }
        first >>= 10;
        second >>= 10;
        int32_t near = lines[16 + 2 * j], far = lines[17 + 2 * j], width = around->steps[j * step];
        /* in 1/4 of a step: lines are in 1/8, and a value of frequency 0 counts 1/sqrt(8) */
        int64_t flat = (int64_t)(near - first) * 5793 / 4096;
        int64_t bent = (int64_t)(near - far - (first - second)) * 5793 / 4096;
        equal[j] = limited((int32_t)(flat / width), 32767);
        smooth[j] = limited((int32_t)((flat + bent / 2) / width), 32767);
        if (!around->known[side])
            equal[j] = smooth[j] = 0;
        likely += magnitude(smooth[j]) >= 3;
        if (!decode)
            count += block[j * step] != 0;
    }
    int a = around->a->sides[side], l = around->l->sides[side];
    set_context(model, SIDES, 0, (side * 13 + few_of(own->inner)) * 8 + (a + l + 1) / 2);
    set_context(model, SIDES, 1, (side * 8 + a) * 8 + l);
    set_context(model, SIDES, 2, (side * 13 + few_of(around->luma_inner)) * 8 + around->luma_sides[side]);
    set_context(model, SIDES, 3, (side * 8 + (side ? own->sides[0] : 0)) * 8 + (a + l + 1) / 2);
    set_context(model, SIDES, 4, (side * 8 + around->o->sides[side]) * 8 + (a + l + 1) / 2);
    set_context(model, SIDES, 5, (side * 8 + likely) * 13 + few_of(own->inner));
    model->pick[SIDES] = side * 13 + few_of(own->inner);
    count = model_number(model, SIDES, 3, count);
    own->sides[side] = (uint8_t)count;
    int before[2] = {0, 0};
    for (int j = 1, left = count; j < 8 && left; j++) {
        int at = j * step, k = side * 7 + j - 1;
        int32_t inner = 4 * magnitude(block[at + across]) + 2 * magnitude(block[at + 2 * across]) +
                        magnitude(block[at + 3 * across]);
        inner += j < 7 ? 2 * magnitude(block[at + across + step]) : 0;
        inner += j > 1 ? 2 * magnitude(block[at + across - step]) : 0;
        int expected = level_of((uint32_t)magnitude(smooth[j])), same = level_of((uint32_t)magnitude(equal[j]));
        int near = level_of((uint32_t)around->near[at]), other = level_of(2 * (uint32_t)magnitude(around->other[at]));
        set_context(model, EDGES, 0, k * LEVELS + expected);
        set_context(model, EDGES, 1, k * LEVELS + near);
        set_context(model, EDGES, 2, (k * 8 + left) * 12 + least(near / 2, 11));
        set_context(model, EDGES, 3, k * LEVELS + level_of((uint32_t)inner));
        set_context(model, EDGES, 4, k * LEVELS + level_of((uint32_t)around->luma[at]));
        set_context(model, EDGES, 5, (k * 13 + few_of(own->inner)) * 8 + left);
        set_context(model, EDGES, 6, (side * LEVELS + expected) * LEVELS + near);
        set_context(model, EDGES, 7, (k * 4 + least(before[0], 3)) * 4 + least(before[1], 3));
        set_context(model, EDGES, 8, k * LEVELS + same);
        set_context(model, EDGES, 9, (k * LEVELS + other) * 4 + least(expected / 3, 3));
        model->pick[EDGES] = k;
        set_context(model, EDGE_SIGNS, 0, (k * 2 + (smooth[j] < 0)) * LEVELS + expected);
        set_context(model, EDGE_SIGNS, 1, (k * 2 + (equal[j] < 0)) * LEVELS + same);
        set_context(model, EDGE_SIGNS, 2, (k * 3 + sign_of(around->above[at])) * 3 + sign_of(around->left[at]));
        set_context(model, EDGE_SIGNS, 3, (k * 3 + sign_of(around->other[at])) * 3 + sign_of(around->signs[at]));
        set_context(model, EDGE_SIGNS, 4,
                    (((side * 2 + (equal[j] < 0)) * 2 + (smooth[j] < 0)) * LEVELS + same) * LEVELS + expected);
        model->pick[EDGE_SIGNS] = k;
        int value = model_value(model, EDGES, block[at], smooth[j]);
        block[at] = (int16_t)value;
        left -= value != 0;
        before[1] = before[0];
        before[0] = magnitude(value);
    }
}

/* Pixels of a block in 1/8, and the values of each frequency that remain of it along either way. */
static void set_pixels(const vlae_model *model, const int16_t *block, const int32_t *steps, int32_t *pixels,
                       int32_t *rows, int32_t *columns)
{
    int32_t values[64];
    for (int i = 0; i < 64; i++)
        values[i] = limited(limited(block[i], 2047) * steps[i], 16383);
    for (int v = 0; v < 8; v++)
        for (int x = 0; x < 8; x++) {
            int32_t sum = 0, other = 0;
            for (int u = 0; u < 8; u++) {
                sum += model->basis[8 * x + u] * values[8 * v + u];
                other += model->basis[8 * x + u] * values[8 * u + v];
            }
            rows[8 * v + x] = limited(sum >> 10, 32767);      /* of vertical frequency v, at column x */
            columns[8 * v + x] = limited(other >> 10, 32767); /* of horizontal frequency v, at row x */
        }
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 8; x++) {
            int32_t sum = 0;
            for (int v = 0; v < 8; v++)
                sum += model->basis[8 * y + v] * rows[8 * v + x];
            pixels[8 * y + x] = limited(sum >> 13, 32767);
        }
}

static void code_dc(vlae_model *model, const vlae_beside *around, int16_t *block, vlae_coded_block *own, int16_t *below,
                    int16_t *beside)
{
    int has_above = around->known[0], has_left = around->known[1];
    int32_t pixels[64], rows[64], columns[64], step = around->steps[0];
    int16_t dc = block[0];
    block[0] = 0;
    set_pixels(model, block, around->steps, pixels, rows, columns);
    int32_t means[2] = {0, 0}, spreads[2] = {0, 0};
    for (int side = 0; side < 2; side++) {
        const int16_t *lines = side ? around->left_lines : around->above_lines;
        int32_t guesses[8], sum = 0, spread = 0;
        for (int i = 0; i < 8; i++) {
            int32_t first = side ? pixels[8 * i] : pixels[i], second = side ? pixels[8 * i + 1] : pixels[8 + i];
            guesses[i] = lines[2 * i] - first + (lines[2 * i] - lines[2 * i + 1] - first + second) / 2;
            sum += guesses[i];
        }
        for (int i = 0; i < 8; i++)
            spread += magnitude(guesses[i] - sum / 8);
        means[side] = sum; /* the DC in orthonormal units is 8 times that of pixels, which are in 1/8 */
        spreads[side] = spread;
    }
    int64_t guess = 0;
    int32_t spread = 0;
    if (has_above && has_left) {
        int64_t one = spreads[0] + 8, two = spreads[1] + 8;
        guess = (means[0] * two + means[1] * one) / (one + two);
        spread = least(spreads[0], spreads[1]);
    } else if (has_above || has_left) {
        guess = means[has_left];
        spread = spreads[has_left];
    }
    int32_t differ = has_above && has_left ? magnitude(means[0] - means[1]) : 0;
    guess /= 8;
    int32_t predicted = limited((int32_t)((guess + (guess < 0 ? -step : step) / 2) / step), 32767);
    int residues = magnitude(around->a->residue) + magnitude(around->l->residue);
    int luma = level_of((uint32_t)magnitude(around->luma_residue));
    int other = level_of((uint32_t)magnitude(around->o->residue));
    int scaled = level_of((uint32_t)(spread / step)), apart = level_of((uint32_t)(differ / step));
    set_context(model, DCS, 0, scaled);
    set_context(model, DCS, 1, scaled * LEVELS + apart);
    set_context(model, DCS, 2, scaled * LEVELS + level_of((uint32_t)residues));
    set_context(model, DCS, 3, few_of(own->inner) * LEVELS + level_of((uint32_t)residues));
    set_context(model, DCS, 4, luma * LEVELS + other);
    set_context(model, DCS, 5, apart);
    model->pick[DCS] = scaled;
    set_context(model, DC_SIGNS, 0, sign_of(around->a->residue) * 3 + sign_of(around->l->residue));
    set_context(model, DC_SIGNS, 1, sign_of(means[0] - means[1]) * LEVELS + apart);
    set_context(model, DC_SIGNS, 2, sign_of(around->o->residue));
    set_context(model, DC_SIGNS, 3,
                (sign_of(around->o->residue) * 3 + sign_of(around->luma_residue)) * 3 + sign_of(around->l->residue));
    model->pick[DC_SIGNS] = 0;
    int residue = model_value(model, DCS, (int16_t)(dc - predicted), 0);
    own->residue = (int16_t)residue;
    block[0] = (int16_t)(predicted + residue);
    int32_t whole = limited(limited(block[0], 2047) * step, 16383); /* in pixels 8 times less, which are in 1/8 */
    for (int i = 0; i < 8; i++) {
        below[2 * i] = (int16_t)limited(pixels[56 + i] + whole, 32767);
        below[2 * i + 1] = (int16_t)limited(pixels[48 + i] + whole, 32767);
        beside[2 * i] = (int16_t)limited(pixels[8 * i + 7] + whole, 32767);
        beside[2 * i + 1] = (int16_t)limited(pixels[8 * i + 6] + whole, 32767);
        below[16 + 2 * i] = (int16_t)columns[8 * i + 7];
        below[17 + 2 * i] = (int16_t)columns[8 * i + 6];
        beside[16 + 2 * i] = (int16_t)rows[8 * i + 7];
        beside[17 + 2 * i] = (int16_t)rows[8 * i + 6];
    }
}

/* ------------------------------------------------------------------------------------------------------- stripes */

static void set_luma(vlae_beside *around, const vlae_plane *first, const vlae_coded_block *blocks, const vlae_plane *plane,
                     int64_t y, int64_t x)
{
    int down = first->v >= 2 * plane->v ? 2 : 1, over = first->h >= 2 * plane->h ? 2 : 1, count = 0;
    int32_t sums[64] = {0}, inner = 0, sides[2] = {0, 0}, residue = 0;
    for (int i = 0; i < down * over; i++) {
        int64_t row = y * first->v / plane->v + i / over, column = x * first->h / plane->h + i % over;
        if (row < first->first || row >= first->last || column >= first->columns)
            continue;
        const int16_t *block = first->blocks + 64 * (row * first->columns + column);
        const vlae_coded_block *other = blocks + (row - first->first) * first->columns + column;
        for (int at = 0; at < 64; at++) {
            int u = at % 8, v = at / 8; /* half the frequency where luma has two samples for one */
            int from = (down == 2 ? (v + 1) / 2 : v) * 8 + (over == 2 ? (u + 1) / 2 : u);
            sums[at] += magnitude(block[from]);
        }
        if (down * over == 1)
            memcpy(around->signs, block, sizeof around->signs);
        inner += other->inner;
        sides[0] += other->sides[0];
        sides[1] += other->sides[1];
        residue += other->residue;
        count++;
    }
    if (!count)
        return;
    for (int at = 0; at < 64; at++)
        around->luma[at] = (int16_t)least(4 * sums[at] / count, 32767);
    around->luma_inner = inner / count;
    around->luma_sides[0] = sides[0] / count;
    around->luma_sides[1] = sides[1] / count;
    around->luma_residue = residue / count;
}

static const int16_t no_block[64];
static const vlae_coded_block no_info;

static void code_plane(vlae_model *model, const vlae_coefficients *picture, int index, vlae_coded_block **infos,
                       int16_t *lines, int decode)
{
    const vlae_plane *plane = &picture->planes[index], *last = index > 1 ? &picture->planes[index - 1] : NULL;
    int64_t columns = plane->columns;
    int alike = last && last->h == plane->h && last->v == plane->v && last->columns == columns &&
                last->first == plane->first && last->last == plane->last;
    model->class = index && !(picture->count == 4 && index == 3);
    memset(lines, 0, (size_t)columns * LINE * sizeof *lines);
    for (int64_t y = plane->first; y < plane->last; y++) {
        int16_t left_lines[LINE] = {0};
        for (int64_t x = 0; x < columns; x++) {
            int64_t row = y - plane->first, at = row * columns + x;
            int16_t *block = plane->blocks + 64 * (y * columns + x);
            vlae_coded_block *own = infos[index] + at;
            vlae_beside around = {.above = no_block, .left = no_block, .corner = no_block, .right = no_block,
                                  .above2 = no_block, .left2 = no_block, .other = no_block, .a = &no_info,
                                  .l = &no_info, .c = &no_info, .r = &no_info, .o = &no_info,
                                  .steps = plane->table, .known = {row > 0, x > 0},
                                  .above_lines = lines + x * LINE, .left_lines = left_lines};
            if (row) {
                around.above = block - 64 * columns, around.a = own - columns;
                around.right = x + 1 < columns ? around.above + 64 : around.above;
                around.r = x + 1 < columns ? around.a + 1 : around.a;
            }
            if (x)
                around.left = block - 64, around.l = own - 1;
            if (!row)
                around.above = around.right = around.left, around.a = around.r = around.l;
            if (!x)
                around.left = around.above, around.l = around.a;
            around.corner = row && x ? block - 64 * columns - 64 : around.above;
            around.c = row && x ? own - columns - 1 : around.a;
            around.above2 = row > 1 ? block - 128 * columns : around.above;
            around.left2 = x > 1 ? block - 128 : around.left;
            if (alike)
                around.other = last->blocks + 64 * (y * columns + x), around.o = infos[index - 1] + at;
            set_near(&around);
            if (index)
                set_luma(&around, &picture->planes[0], infos[0], plane, y, x);
            if (decode)
                memset(block, 0, 64 * sizeof *block);
            code_inner(model, &around, block, own, decode);
            int16_t below[LINE], beside[LINE];
            code_side(model, &around, block, own, 0, decode);
            code_side(model, &around, block, own, 1, decode);
            code_dc(model, &around, block, own, below, beside);
            memcpy(lines + x * LINE, below, sizeof below);
            memcpy(left_lines, beside, sizeof beside);
        }
        if (binary_failed(&model->coder))
            return;
    }
}

static int64_t counters_of(void)
{
    int64_t sum = 0;
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; i < kinds[kind].count; i++)
            sum += (int64_t)kinds[kind].sizes[i] * kinds[kind].nodes;
    return CLASSES * sum;
}

enum {
    WEIGHTS = CLASSES * KINDS * SETS * MOST_INPUTS,
    FINALS = CLASSES * KINDS * NODES * 2,
    TAILS = CLASSES * KINDS * 17 * TAIL,
    REFINES = CLASSES * KINDS * SETS * REFINED
};

/* Bytes of scratch; the blocks and columns are those of a stripe. */
static inline int64_t coefficients_scratch(const vlae_coefficients *picture)
{
    int64_t blocks = 0, columns = 0;
    for (int i = 0; i < picture->count; i++) {
        const vlae_plane *plane = &picture->planes[i];
        blocks += (int64_t)(plane->last - plane->first) * plane->columns;
        columns = plane->columns > columns ? plane->columns : columns;
    }
    return (int64_t)sizeof(vlae_model) + 4 * (counters_of() + TAILS + WEIGHTS + FINALS) + 2 * REFINES +
           (int64_t)sizeof(vlae_coded_block) * blocks + 2 * LINE * columns;
}

static inline int64_t code_coefficients(const vlae_coefficients *picture, uint8_t *out, const uint8_t *in, int64_t size,
                                        void *scratch)
{
    vlae_model *model = scratch;
    memset(model, 0, sizeof *model);
    binary_begin(&model->coder, out, in, size);
    binary_tables_set(&model->tables);
    static const int32_t cosines[9] = {4096, 4017, 3784, 3406, 2896, 2276, 1567, 799, 0}; /* 4096 cos(i pi / 16) */
    for (int x = 0; x < 8; x++)
        for (int u = 0; u < 8; u++) {
            int angle = (2 * x + 1) * u % 32;
            angle = angle > 16 ? 32 - angle : angle;
            model->basis[8 * x + u] = !u ? 2896 : angle > 8 ? -cosines[16 - angle] : cosines[angle];
        }
    binary_counter *counters = (binary_counter *)(model + 1);
    int64_t count = counters_of() + TAILS;
    for (int64_t i = 0; i < count; i++)
        counters[i] = BINARY_UNSEEN;
    for (int class = 0; class < CLASSES; class++)
        for (int kind = 0; kind < KINDS; kind++)
            for (int i = 0; i < kinds[kind].count; i++) {
                model->starts[class][kind][i] = counters;
                counters += (int64_t)kinds[kind].sizes[i] * kinds[kind].nodes;
            }
    model->tails = counters;
    model->weights = (int32_t *)(counters + TAILS);
    model->final = model->weights + WEIGHTS;
    for (int i = 0; i < WEIGHTS; i++) {
        int n = kinds[i / (SETS * MOST_INPUTS) % KINDS].count;
        model->weights[i] = i % MOST_INPUTS < n ? FIRST_WEIGHT : 0;
    }
    for (int i = 0; i < FINALS; i++)
        model->final[i] = 32768;
    model->refined = (uint16_t *)(model->final + FINALS);
    for (int i = 0; i < REFINES; i += REFINED)
        refined_set(&model->tables, model->refined + i);
    vlae_coded_block *infos[4];
    vlae_coded_block *next = (vlae_coded_block *)(model->refined + REFINES);
    int64_t blocks = 0;
    for (int i = 0; i < picture->count; i++) {
        infos[i] = next + blocks;
        blocks += (int64_t)(picture->planes[i].last - picture->planes[i].first) * picture->planes[i].columns;
    }
    memset(next, 0, (size_t)blocks * sizeof *next);
    for (int i = 0; i < picture->count; i++)
        code_plane(model, picture, i, infos, (int16_t *)(next + blocks), in != NULL);
    return binary_failed(&model->coder) ? VLAE_EMPTY : binary_end(&model->coder);
}

#endif
