/* Exceptions: the pixels of a tile, given pixels that the decoder has already, the base, and that they mostly are.
 *
 * The tile (height, width, 3) is cut into blocks of 16x16 pixels. Each row of blocks is the kinds of its blocks, from the
 * left, and then its pixels row by row. All pixels of a block are those of the base (EXACT), or some are not (NEAR), or
 * the base tells little, since something else was laid over it (OTHER). A pixel of the last two kinds begins with a bit
 * for each of the colours that it may have: the base's and, of OTHER, those of the pixels to the left, above, above to the
 * left and above to the right; equal ones are asked for once, and a 1 ends the pixel. If it has none of them, then for
 * green, red and blue comes the difference from a prediction: whether there is one; its sign; a bit for each step up to
 * STEPS whether it is larger; beyond, what it has more as a number of 8 bits, the highest first. What only one value is
 * possible for is not coded. NEAR predicts the base, OTHER the median of left, above and left + above - above left
 * (LOCO-I), to which it adds the difference of green.
 *
 * Each bit of a pixel has the mix of the estimates of CONTEXTS counters, which hashes of what is known around the pixel
 * name; a bit of a kind has one counter (binary.h).
 */
#ifndef VLAE_RESIDUAL_H
#define VLAE_RESIDUAL_H

#include "binary.h"
#include "vlae.h"

enum {
    RESIDUAL_BLOCK = 16,
    RESIDUAL_CONTEXTS = 7,
    RESIDUAL_HASH_BITS = 18,
    RESIDUAL_LIMIT = 255, /* of counters */
    RESIDUAL_WEIGHT = 14000,
    RESIDUAL_RATE = 150,
    RESIDUAL_STEPS = 12,
    RESIDUAL_NODES = RESIDUAL_STEPS + 2, /* of a difference: whether there is one, its sign, the steps; then the number */
    RESIDUAL_COLOURS = 5,
    RESIDUAL_FLAG_SETS = 2 * 28 + RESIDUAL_COLOURS, /* of weights: of the base's colour, and of the others */
    RESIDUAL_SETS = RESIDUAL_FLAG_SETS + 2 * 3 * RESIDUAL_NODES
};

enum { RESIDUAL_EXACT, RESIDUAL_NEAR, RESIDUAL_OTHER, RESIDUAL_KINDS };

typedef struct {
    binary_coder coder;
    binary_tables tables;
    binary_counter kinds[2][RESIDUAL_KINDS * RESIDUAL_KINDS];
    binary_counter counters[RESIDUAL_CONTEXTS][1 << RESIDUAL_HASH_BITS];
    int32_t weights[RESIDUAL_SETS][RESIDUAL_CONTEXTS];
    int32_t height, width;
    const uint8_t *base, *pixels;
    uint8_t *out;        /* the pixels, while they are decoded, or NULL */
    int8_t *differences; /* (height, width, 3), at most 127; 0 of pixels without one */
    uint8_t *blocks;     /* kinds of a row of blocks and, of those not coded yet, of the row above */
} vlae_residual;

/* A pixel: what lies around it, each (3,), and of pixels that there are not something near. */
typedef struct {
    const uint8_t *base, *w, *n, *nw, *ne, *ww, *nn;
    const int8_t *dw, *dn; /* differences of w and n */
    int guess[3];
    int unlike; /* bits: w, n, nw, ne, ww, nn are not their base's */
    int parity, slope;
} residual_place;

static inline int residual_size(int x)
{
    return x < 0 ? -x : x;
}

/* x as an index below 2 * most + 1. */
static inline uint32_t residual_index(int x, int most)
{
    return (uint32_t)((x < -most ? -most : x > most ? most : x) + most);
}

static inline uint32_t residual_bits(int x)
{
    uint32_t bits = 0;
    for (x = residual_size(x); x; x >>= 1)
        bits++;
    return bits;
}

static inline uint32_t residual_colour(const uint8_t *pixel)
{
    return pixel[0] | (uint32_t)pixel[1] << 8 | (uint32_t)pixel[2] << 16;
}

static inline int residual_same(const uint8_t *a, const uint8_t *b)
{
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

static inline int residual_guess(int w, int n, int nw)
{
    int low = w < n ? w : n, high = w < n ? n : w;
    return nw >= high ? low : nw <= low ? high : w + n - nw;
}

/* 0 to 4: 0, close to it, between, close to 255, 255. */
static inline uint32_t residual_state(int value)
{
    return value == 0 ? 0 : value < 4 ? 1 : value < 252 ? 2 : value < 255 ? 3 : 4;
}

static inline uint32_t residual_hash(uint32_t a, uint32_t b)
{
    uint32_t x = (a ^ b * 0x85ebca6b) * 0x9e3779b1;
    return x ^ x >> 15;
}

static inline residual_place residual_around(const vlae_residual *r, int y, int x)
{
    static const int8_t none[3] = {0};
    int64_t row = 3 * (int64_t)r->width, at = y * row + 3 * x;
    const uint8_t *pixel = r->pixels + at, *base = r->base + at;
    const uint8_t *left = x ? base - 3 : base, *right = x + 1 < r->width ? base + 3 : base;
    const uint8_t *above = y ? base - row : base, *below = y + 1 < r->height ? base + row : base;
    residual_place p = {.base = base, .parity = (y & 1) * 2 + (x & 1)};
    p.w = x ? pixel - 3 : y ? pixel - row : base;
    p.n = y ? pixel - row : p.w;
    p.nw = x && y ? pixel - row - 3 : p.n;
    p.ne = y && x + 1 < r->width ? pixel - row + 3 : p.n;
    p.ww = x > 1 ? pixel - 6 : p.w;
    p.nn = y > 1 ? pixel - 2 * row : p.n;
    p.dw = x ? r->differences + at - 3 : none;
    p.dn = y ? r->differences + at - row : none;
    const uint8_t *around[6] = {p.w, p.n, p.nw, p.ne, p.ww, p.nn};
    for (int i = 0; i < 6 && (x || y); i++)
        p.unlike |= !residual_same(around[i], r->base + (around[i] - r->pixels)) << i;
    for (int c = 0; c < 3; c++) {
        int slope = residual_size(right[c] - left[c]) + residual_size(below[c] - above[c]);
        p.slope = slope > p.slope ? slope : p.slope;
        p.guess[c] = residual_guess(p.w[c], p.n[c], p.nw[c]);
    }
    return p;
}

static inline int residual_bit(vlae_residual *r, const uint32_t *contexts, uint32_t node, int set, int bit)
{
    binary_counter *used[RESIDUAL_CONTEXTS];
    int32_t logits[RESIDUAL_CONTEXTS], *weights = r->weights[set];
    for (int i = 0; i < RESIDUAL_CONTEXTS; i++) {
        used[i] = &r->counters[i][(contexts[i] + node * 0x9e3779b1) * 0x2c1b3c6d >> (32 - RESIDUAL_HASH_BITS)];
        logits[i] = stretch(&r->tables, *used[i] >> 16);
    }
    uint32_t p = squash(&r->tables, mixed(weights, logits, RESIDUAL_CONTEXTS));
    bit = binary_code(&r->coder, bit, p);
    mixed_update(weights, logits, RESIDUAL_CONTEXTS, (bit << 16) - (int32_t)p, RESIDUAL_RATE);
    for (int i = 0; i < RESIDUAL_CONTEXTS; i++)
        binary_update(&r->tables, used[i], bit, RESIDUAL_LIMIT);
    return bit;
}

/* Contexts of whether a pixel is the base's. Returns a number below 28: of which weights. */
static inline int residual_base_contexts(const residual_place *p, uint32_t *contexts)
{
    uint32_t unlike = (uint32_t)p->unlike, parity = (uint32_t)p->parity, colour = residual_colour(p->base);
    uint32_t states = 0, extreme = 0, towards = 0, apart = 0, near = 0, slope = residual_bits(p->slope);
    int size = 0;
    for (int c = 0; c < 3; c++) {
        uint32_t state = residual_state(p->base[c]), kind = state == 2 ? 0 : state % 4 ? 1 : 2;
        states = 5 * states + state;
        extreme = kind > extreme ? kind : extreme;
        towards = 3 * towards + residual_index(p->guess[c] - p->base[c], 1);
        apart = residual_hash((uint32_t)(p->guess[c] - p->base[c]), apart);
        size += residual_size(p->dw[c]) + residual_size(p->dn[c]);
    }
    for (int i = 0; i < 6; i++)
        near += unlike >> i & 1;
    contexts[0] = (unlike * 4 + parity) * 3 + extreme;
    contexts[1] = states * 4 + (unlike & 3);
    contexts[2] = (near * 16 + slope) * 16 + residual_bits(size);
    contexts[3] = residual_hash(colour, unlike & 3);
    contexts[4] = (towards * 16 + (unlike & 15)) * 3 + extreme;
    contexts[5] = (states * 4 + parity) * 16 + slope;
    contexts[6] = apart;
    return (int)(near * 4 + parity);
}

/* Contexts of whether a pixel is a neighbour's. */
static inline void residual_colour_contexts(const residual_place *p, uint32_t *contexts)
{
    uint32_t turn = 1 << 20, unlike = (uint32_t)p->unlike;
    int same = residual_same(p->w, p->n) | residual_same(p->nw, p->w) << 1 | residual_same(p->n, p->nw) << 2 |
               residual_same(p->n, p->ne) << 3 | residual_same(p->w, p->ww) << 4 | residual_same(p->n, p->nn) << 5;
    contexts[0] = turn | (uint32_t)same;
    contexts[1] = turn | ((uint32_t)same * 64 + unlike);
    contexts[2] = turn | unlike;
    contexts[3] = residual_hash(residual_colour(p->w), turn);
    contexts[4] = residual_hash(residual_colour(p->n), contexts[3]);
    contexts[5] = residual_hash(residual_colour(p->ne), residual_hash(residual_colour(p->nw), contexts[4]));
    contexts[6] = residual_hash(residual_colour(p->ww), residual_hash(residual_colour(p->nn), contexts[5]));
}

/* Contexts of the difference of channel c from what NEAR predicts. first, last: differences of the channel coded first
 * and of that before this one, 0 of the first. */
static inline void residual_near_contexts(const residual_place *p, uint32_t turn, int c, int first, int last,
                                          uint32_t *contexts)
{
    uint32_t before = turn | (residual_index(first, 4) * 9 + residual_index(last, 4)), states = 0;
    int base = p->base[c], moved = turn >> 20 ? p->base[1] + first : 0; /* the value of green, if it is coded */
    int w = p->w[c] - base, n = p->n[c] - base, guess = p->guess[c] - base; /* with the steps of green they become */
    for (int i = 0; i < 3; i++)
        states = 5 * states + residual_state(p->base[i]);
    contexts[0] = before;
    contexts[1] = turn | (residual_index(p->dw[c], 4) * 9 + residual_index(p->dn[c], 4));
    contexts[2] = turn | (states * 4 + (uint32_t)p->parity);
    contexts[3] = residual_hash(residual_colour(p->base), before);
    contexts[4] = turn | (residual_index(guess, 16) * 3 + residual_index(last, 1));
    if (turn >> 20) {
        w += moved - p->w[1];
        n += moved - p->n[1];
        guess += moved - p->guess[1];
    }
    contexts[5] = turn | (residual_index(w, 24) * 49 + residual_index(n, 24));
    contexts[6] = residual_hash(turn | residual_index(guess, 24), (uint32_t)base);
}

/* The same of OTHER, of values[0] and values[1], those of green and red as far as they are coded, and 0 else. */
static inline void residual_other_contexts(const residual_place *p, uint32_t turn, int c, int predicted,
                                           const int *values, int last, uint32_t *contexts)
{
    uint32_t known = residual_hash((uint32_t)(predicted << 16 | values[0] << 8 | values[1]), turn);
    int step = turn >> 20 == 3 ? p->w[c] - p->guess[c] : last;
    contexts[0] = known;
    contexts[1] = turn | (residual_index(p->dw[c], 4) * 9 + residual_index(p->dn[c], 4));
    contexts[2] = turn | ((residual_bits(p->dw[c]) * 8 + residual_bits(p->dn[c])) * 16 + residual_bits(last));
    contexts[3] = residual_hash(residual_colour(p->w), residual_hash(residual_colour(p->n), known));
    contexts[4] = turn | (residual_index(step, 16) * 3 + residual_index(last, 1));
    contexts[5] = residual_hash(residual_colour(p->nw), residual_hash(residual_colour(p->ne), contexts[3]));
    contexts[6] = residual_hash(residual_colour(p->ww), residual_hash(residual_colour(p->nn), contexts[5]));
}

/* Codes a difference; `certain`: there is one. What is `wanted` means nothing while it is decoded. */
static inline int residual_difference(vlae_residual *r, const uint32_t *contexts, int set, int predicted, int certain,
                                      int wanted)
{
    int size = 1, less, most;
    if (!certain && !residual_bit(r, contexts, 0, set, wanted != 0))
        return 0;
    less = predicted == 0 ? 0 : predicted == 255 ? 1 : residual_bit(r, contexts, 1, set + 1, wanted < 0);
    most = less ? predicted : 255 - predicted;
    wanted = residual_size(wanted);
    while (size < most && size <= RESIDUAL_STEPS &&
           residual_bit(r, contexts, (uint32_t)size + 1, set + (size < RESIDUAL_STEPS ? size + 1 : size), wanted > size))
        size++;
    if (size < most && size > RESIDUAL_STEPS) {
        uint32_t more = 1;
        for (int i = 7; i >= 0; i--) {
            int bit = (wanted - size) >> i & 1;
            more = more << 1 | (uint32_t)residual_bit(r, contexts, RESIDUAL_NODES + more, set + RESIDUAL_NODES - 1, bit);
        }
        size += (int)(more & 255);
    }
    return less ? -size : size;
}

/* Codes a pixel. */
static inline int residual_pixel(vlae_residual *r, int y, int x, int other)
{
    static const int order[3] = {1, 0, 2};
    int64_t at = 3 * ((int64_t)y * r->width + x);
    residual_place p = residual_around(r, y, x);
    const uint8_t *wanted = r->pixels + at, *colours[RESIDUAL_COLOURS] = {p.base, p.w, p.n, p.nw, p.ne};
    uint32_t contexts[RESIDUAL_CONTEXTS];
    int d[3], values[2] = {0, 0}, first = 0, last = 0, set = residual_base_contexts(&p, contexts) + 28 * other;
    for (int i = 0; i < (other ? RESIDUAL_COLOURS : 1); i++) {
        int asked = 0;
        for (int j = 0; j < i; j++)
            asked |= residual_same(colours[i], colours[j]);
        if (asked)
            continue;
        if (i)
            set = 2 * 28 + i;
        if (residual_bit(r, contexts, (uint32_t)(2 * i + other), set, residual_same(wanted, colours[i]))) {
            if (r->out)
                memcpy(r->out + at, colours[i], 3);
            return VLAE_OK;
        }
        if (i == 0 && other)
            residual_colour_contexts(&p, contexts);
    }
    for (int k = 0; k < 3; k++) {
        int c = order[k], turn = 3 * other + k, predicted = p.base[c];
        if (other) {
            predicted = p.guess[c] + first;
            predicted = predicted < 0 ? 0 : predicted > 255 ? 255 : predicted;
            residual_other_contexts(&p, (uint32_t)turn << 20, c, predicted, values, last, contexts);
        } else
            residual_near_contexts(&p, (uint32_t)turn << 20, c, first, last, contexts);
        last = residual_difference(r, contexts, RESIDUAL_FLAG_SETS + turn * RESIDUAL_NODES, predicted,
                                   !other && k == 2 && !first && !last, wanted[c] - predicted);
        if (predicted + last < 0 || predicted + last > 255)
            return VLAE_BOUND;
        if (r->out)
            r->out[at + c] = (uint8_t)(predicted + last);
        d[c] = last;
        if (k == 0)
            first = last;
        if (k < 2)
            values[k] = predicted + last;
    }
    for (int c = 0; c < 3; c++)
        r->differences[at + c] = (int8_t)((int)residual_index(d[c], 127) - 127);
    return VLAE_OK;
}

/* The kind of a block: NEAR or OTHER is what has the smaller sum of rough costs. */
static inline int residual_kind(const vlae_residual *r, int top, int left)
{
    int64_t row = 3 * (int64_t)r->width, near = 0, other = 0;
    int differs = 0;
    for (int y = top; y < top + RESIDUAL_BLOCK && y < r->height; y++)
        for (int x = left; x < left + RESIDUAL_BLOCK && x < r->width; x++) {
            const uint8_t *pixel = r->pixels + y * row + 3 * x, *base = r->base + y * row + 3 * x;
            const uint8_t *w = x ? pixel - 3 : y ? pixel - row : base, *n = y ? pixel - row : w;
            const uint8_t *nw = x && y ? pixel - row - 3 : n;
            if (residual_same(pixel, base))
                continue;
            differs = 1;
            other += 3;
            for (int c = 0; c < 3; c++) {
                near += residual_bits(pixel[c] - base[c]);
                if (!residual_same(pixel, w) && !residual_same(pixel, n))
                    other += residual_bits(pixel[c] - residual_guess(w[c], n[c], nw[c]));
            }
        }
    return !differs ? RESIDUAL_EXACT : near <= other ? RESIDUAL_NEAR : RESIDUAL_OTHER;
}

static inline int residual_blocks(int width)
{
    return (width + RESIDUAL_BLOCK - 1) / RESIDUAL_BLOCK;
}

static inline int64_t residual_scratch(int height, int width)
{
    return (int64_t)sizeof(vlae_residual) + 3 * (int64_t)height * width + residual_blocks(width);
}

/* Codes the kinds of a row of blocks. */
static inline void residual_row(vlae_residual *r, int y)
{
    for (int b = 0; b < residual_blocks(r->width); b++) {
        int kind = r->out ? RESIDUAL_EXACT : residual_kind(r, y, b * RESIDUAL_BLOCK);
        int context = RESIDUAL_KINDS * r->blocks[b] + (b ? r->blocks[b - 1] : RESIDUAL_EXACT);
        int more = binary_simple(&r->coder, &r->tables, &r->kinds[0][context], kind > RESIDUAL_EXACT, RESIDUAL_LIMIT);
        if (more)
            more += binary_simple(&r->coder, &r->tables, &r->kinds[1][context], kind > RESIDUAL_NEAR, RESIDUAL_LIMIT);
        r->blocks[b] = (uint8_t)more;
    }
}

/* Codes a tile: from `pixels` to data, or back to `out`, which is then the pixels. Returns the bytes of the data. */
static inline int64_t residual_tile(vlae_residual *r, const uint8_t *base, const uint8_t *pixels, uint8_t *out,
                                    int height, int width)
{
    int64_t row = 3 * (int64_t)width, area = row * height;
    binary_tables_set(&r->tables);
    for (int i = 0; i < RESIDUAL_KINDS * RESIDUAL_KINDS; i++)
        r->kinds[0][i] = r->kinds[1][i] = BINARY_UNSEEN;
    for (int i = 0; i < RESIDUAL_CONTEXTS; i++) {
        for (int j = 0; j < 1 << RESIDUAL_HASH_BITS; j++)
            r->counters[i][j] = BINARY_UNSEEN;
        for (int j = 0; j < RESIDUAL_SETS; j++)
            r->weights[j][i] = RESIDUAL_WEIGHT;
    }
    r->height = height;
    r->width = width;
    r->base = base;
    r->pixels = pixels;
    r->out = out;
    r->differences = (int8_t *)(r + 1);
    r->blocks = (uint8_t *)r->differences + area;
    memset(r->differences, 0, (size_t)(area + residual_blocks(width)));
    for (int y = 0; y < height; y++) {
        if (y % RESIDUAL_BLOCK == 0)
            residual_row(r, y);
        for (int x = 0; x < width; x++) {
            int kind = r->blocks[x / RESIDUAL_BLOCK], coded = VLAE_OK;
            if (kind != RESIDUAL_EXACT)
                coded = residual_pixel(r, y, x, kind == RESIDUAL_OTHER);
            else if (out)
                memcpy(out + y * row + 3 * x, base + y * row + 3 * x, 3);
            if (coded < 0)
                return coded;
        }
        if (binary_failed(&r->coder))
            return VLAE_EMPTY;
    }
    return binary_end(&r->coder);
}

#endif
