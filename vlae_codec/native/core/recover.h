/* The way back from pixels to a JPEG: what one block's, one sample's or one pixel's worth of searching takes.
 *
 * All of it proposes; what it proposes is decoded exactly (`dct.h`) before anything is kept. So floats are allowed here.
 * A sample is known as an interval from `low` to `high`, one value where they are equal; 0 stands for anything below it
 * as well, and 255 for anything above it, since samples are clipped to what a byte holds.
 */
#ifndef VLAE_RECOVER_H
#define VLAE_RECOVER_H

#include "dct.h"

/* ------------------------------------------------------------------------------------------------------- colours */

enum { BEYOND = 96 }; /* how far a clipped channel may have been outside */

/* Parts of R, G and B in Y, Cb and Cr, in 2^-16. */
static const int32_t jfif_parts[3][3] = {{19595, 38470, 7471}, {-11058, -21710, 32768}, {32768, -27439, -5329}};

/* The intervals of Cb and Cr of a pixel with clipped channels. */
static inline void chroma_range(const uint8_t *rgb, int y, uint8_t *guess, uint8_t *low, uint8_t *high)
{
    int above = 0, below = 0;
    for (int c = 0; c < 3; c++) {
        above |= rgb[c] == 255;
        below |= rgb[c] == 0;
    }
    for (int k = 0; k < 2; k++) {
        const int32_t *parts = jfif_parts[k + 1];
        int32_t middle = 0, least = 0, most = 0;
        for (int c = 0; c < 3; c++) {
            int32_t room = above ? 255 - y : y, beyond = (room * 65536 + 49152) / jfif_parts[0][c];
            middle += parts[c] * rgb[c];
            if (rgb[c] > 0 && rgb[c] < 255)
                continue;
            if (beyond > BEYOND || (above && below))
                beyond = BEYOND;
            beyond *= rgb[c] ? parts[c] : -parts[c];
            least += beyond < 0 ? beyond : 0;
            most += beyond > 0 ? beyond : 0;
        }
        guess[k] = to_byte(128 + ((middle + 32768) >> 16));
        low[k] = to_byte(128 + ((middle + least - 32768) >> 16));
        high[k] = to_byte(128 + ((middle + most + 98303) >> 16));
    }
}

static inline void jfif_tables(int16_t *reds, int16_t *blues) /* (512,): the chroma that adds i - 256, or -1 */
{
    for (int i = 0; i < 512; i++)
        reds[i] = blues[i] = -1;
    for (int c = 0; c < 256; c++) {
        reds[256 + jfif_red(c - 128)] = (int16_t)c;
        blues[256 + jfif_blue(c - 128)] = (int16_t)c;
    }
}

/* Y of pixels, and the intervals of Cb and Cr (n, 2): one value of a pixel that is not clipped, all of one that no Y, Cb
 * and Cr give. The result is how many pixels have one value. */
static inline int64_t jfif_back(const uint8_t *rgb, int64_t n, uint8_t *luma, uint8_t *chroma, uint8_t *low,
                                uint8_t *high)
{
    int16_t reds[512], blues[512];
    int64_t count = 0;
    jfif_tables(reds, blues);
    for (int64_t i = 0; i < n; i++, rgb += 3) {
        int y = 32768, clipped = 0, found = 0;
        for (int c = 0; c < 3; c++) {
            clipped |= rgb[c] == 0 || rgb[c] == 255;
            y += jfif_parts[0][c] * rgb[c];
        }
        luma[i] = (uint8_t)(y >>= 16);
        chroma[2 * i] = chroma[2 * i + 1] = 128;
        low[2 * i] = low[2 * i + 1] = 0;
        high[2 * i] = high[2 * i + 1] = 255;
        for (int step = 0; step < 3 && !clipped && !found; step++) {
            int at = y + (step == 2 ? -1 : step), red = rgb[0] - at, blue = rgb[2] - at;
            if (at < 0 || at > 255 || red < -256 || red > 255 || blue < -256 || blue > 255)
                continue;
            int cb = blues[256 + blue], cr = reds[256 + red];
            found = cb >= 0 && cr >= 0 && at + jfif_green(cb - 128, cr - 128) == rgb[1];
            if (!found)
                continue;
            luma[i] = (uint8_t)at;
            chroma[2 * i] = low[2 * i] = high[2 * i] = (uint8_t)cb;
            chroma[2 * i + 1] = low[2 * i + 1] = high[2 * i + 1] = (uint8_t)cr;
        }
        if (clipped)
            chroma_range(rgb, y, chroma + 2 * i, low + 2 * i, high + 2 * i);
        count += found;
    }
    return count;
}

/* The interval of Y of pixels whose chroma is given; from 255 to 0 where no Y gives the pixel. */
static inline void luma_range(const uint8_t *rgb, const uint8_t *cb, const uint8_t *cr, int64_t n, uint8_t *low,
                              uint8_t *high)
{
    for (int64_t i = 0; i < n; i++) {
        int from = 0, to = 255;
        int adds[3] = {jfif_red(cr[i] - 128), jfif_green(cb[i] - 128, cr[i] - 128), jfif_blue(cb[i] - 128)};
        for (int c = 0; c < 3; c++) {
            int value = rgb[3 * i + c], y = value - adds[c];
            if (value > 0 && y > from)
                from = y;
            if (value < 255 && y < to)
                to = y;
        }
        if (from > to)
            from = 255, to = 0;
        low[i] = (uint8_t)from;
        high[i] = (uint8_t)to;
    }
}

/* ------------------------------------------------------------------------------------------------------- halving */

/* The pixels that a sample has a part in along one axis, and how large a part, in quarters. */
static inline int parts_of(int64_t sample, int64_t samples, int64_t pixels, int covered, int mixed, int64_t *at,
                           int *parts)
{
    int count = 0;
    for (int64_t p = sample * covered - mixed; p < (sample + 1) * covered + mixed; p++) {
        if (p < 0 || p >= pixels)
            continue;
        int64_t own = p / covered, beside = bounded(p % 2 ? own + 1 : own - 1, samples);
        at[count] = p;
        parts[count++] = mixed ? 3 * (own == sample) + (beside == sample) : 4;
    }
    return count;
}

/* A step of Gauss and Seidel towards the samples (float) whose enlargement has the least squared distance to the
 * pixels: `left` is what they are short of, by pixel, and `weights` say how much a pixel matters. */
static inline void halve_sweep(const vlae_component *c, int64_t rows, int64_t width, const uint8_t *weights,
                               float *left, float *samples)
{
    int mixed = is_mixed(c), across = mixed && c->across == 2, down = mixed && c->down == 2;
    for (int64_t y = 0; y < c->height; y++) {
        int64_t py[6], px[6];
        int ny[6], nx[6], count_y = parts_of(y, c->height, rows, c->down, down, py, ny);
        for (int64_t x = 0; x < c->width; x++) {
            int count_x = parts_of(x, c->width, width, c->across, across, px, nx);
            float sum = 0, norm = 0;
            for (int j = 0; j < count_y; j++)
                for (int i = 0; i < count_x; i++) {
                    int64_t at = py[j] * width + px[i];
                    float part = (float)(ny[j] * nx[i]), weighted = part * (float)weights[at];
                    sum += weighted * left[at];
                    norm += weighted * part;
                }
            if (norm <= 0)
                continue;
            float step = 16 * sum / norm;
            samples[y * c->width + x] += step;
            for (int j = 0; j < count_y; j++)
                for (int i = 0; i < count_x; i++)
                    left[py[j] * width + px[i]] -= step * (float)(ny[j] * nx[i]) / 16;
        }
    }
}

static inline int enlarged_at(const vlae_component *c, int64_t y, int64_t x)
{
    int64_t row = y / c->down, at = x / c->across;
    const uint8_t *a = c->plane + row * c->stride;
    if (!is_mixed(c))
        return a[at];
    const uint8_t *b = c->plane + bounded(y % 2 ? row + 1 : row - 1, c->height) * c->stride;
    if (c->across == 1)
        return (3 * a[at] + b[at] + 1 + (int)(y % 2)) >> 2;
    int64_t beside = bounded(x % 2 ? at + 1 : at - 1, c->width);
    if (c->down == 1)
        return (3 * a[at] + a[beside] + 1 + (int)(x % 2)) >> 2;
    return (3 * (3 * a[at] + b[at]) + 3 * a[beside] + b[beside] + 8 - (int)(x % 2)) >> 4;
}

/* How far the enlargement is from the pixels around samples (y, x) to (y1, x1). */
static inline int64_t halve_error(const vlae_component *c, int64_t rows, int64_t width, const uint8_t *pixels,
                                  const uint8_t *weights, int64_t y, int64_t x, int64_t y1, int64_t x1)
{
    int64_t sum = 0, top = bounded(y * c->down - 1, rows), bottom = bounded((y1 + 1) * c->down, rows);
    int64_t left = bounded(x * c->across - 1, width), right = bounded((x1 + 1) * c->across, width);
    for (int64_t py = top; py <= bottom; py++)
        for (int64_t px = left; px <= right; px++)
            if (weights[py * width + px] > 1) {
                int d = enlarged_at(c, py, px) - pixels[py * width + px];
                sum += d < 0 ? -d : d;
            }
    return sum;
}

/* Changes samples by 1, alone or with a neighbour, wherever that brings the enlargement nearer to the pixels. The result
 * is how many changes there were. */
static inline int64_t halve_search(const vlae_component *c, uint8_t *samples, int64_t rows, int64_t width,
                                   const uint8_t *pixels, const uint8_t *weights)
{
    static const int beside[5][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {1, -1}};
    int64_t changes = 0;
    for (int64_t y = 0; y < c->height; y++)
        for (int64_t x = 0; x < c->width; x++) {
            if (halve_error(c, rows, width, pixels, weights, y, x, y, x) == 0)
                continue;
            for (int k = 0; k < 5; k++) {
                int64_t y1 = y + beside[k][0], x1 = x + beside[k][1], least = x1 < x ? x1 : x, most = x1 < x ? x : x1;
                if (y1 >= c->height || x1 < 0 || x1 >= c->width)
                    continue;
                int64_t before = halve_error(c, rows, width, pixels, weights, y, least, y1, most);
                for (int way = 0; way < (k ? 4 : 2); way++) {
                    uint8_t *first = samples + y * c->width + x, *second = samples + y1 * c->width + x1;
                    int a = *first + (way & 1 ? -1 : 1), b = k ? *second + (way & 2 ? -1 : 1) : a;
                    int was_a = *first, was_b = *second;
                    if (a < 0 || a > 255 || b < 0 || b > 255)
                        continue;
                    *second = (uint8_t)b;
                    *first = (uint8_t)a;
                    int64_t after = halve_error(c, rows, width, pixels, weights, y, least, y1, most);
                    if (after < before) {
                        before = after;
                        changes++;
                    } else {
                        *second = (uint8_t)was_b;
                        *first = (uint8_t)was_a;
                    }
                }
            }
        }
    return changes;
}

/* Samples (uint8) and their unrounded values whose enlargement is nearest to the pixels (rows, width). */
static inline void halve(const vlae_component *c, uint8_t *samples, const uint8_t *pixels, const uint8_t *weights,
                         int64_t rows, int64_t width, int sweeps, float *left, float *halved)
{
    for (int64_t y = 0; y < c->height; y++)
        for (int64_t x = 0; x < c->width; x++)
            samples[y * c->width + x] = pixels[y * c->down * width + x * c->across];
    for (int64_t i = 0; i < c->height * c->width; i++)
        halved[i] = samples[i];
    for (int64_t y = 0; y < rows; y++)
        for (int64_t x = 0; x < width; x++)
            left[y * width + x] = (float)(pixels[y * width + x] - enlarged_at(c, y, x));
    for (int i = 0; i < sweeps; i++)
        halve_sweep(c, rows, width, weights, left, halved);
    for (int64_t i = 0; i < c->height * c->width; i++) {
        float value = halved[i] + 0.5f;
        samples[i] = value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
    }
    for (int i = 0; i < sweeps && halve_search(c, samples, rows, width, pixels, weights); i++)
        ;
}

/* ------------------------------------------------------------------------------------------------------- blocks */

enum { PROJECTIONS = 16, RESTED = 6 }; /* at most; steps of a search for which a changed value stays as it is */

typedef struct {
    float low[64], high[64]; /* what a sample may be before it is rounded */
    float basis[64][64];     /* of each sample, what a step of each frequency adds to it */
    int32_t table[64];
    float middle[64], pull;  /* what an open sample is guessed to be, and how much that counts */
    uint8_t from[64], to[64], open[64];
} vlae_block;

static inline int is_allowed(int value)
{
    return value >= -2047 && value <= 2047;
}

/* Decodes a block: samples before they are rounded, and how many are wrong then. */
static inline int decode_block(const vlae_block *b, const int16_t *values, float *samples)
{
    int32_t out[64];
    int wrong = 0;
    idct_block(values, b->table, out);
    for (int i = 0; i < 64; i++) {
        int value = sample_of(out[i]);
        samples[i] = 128 + (float)out[i] / (1 << LAST_BITS);
        wrong += value < b->from[i] || value > b->to[i];
    }
    return wrong;
}

/* How far a value is outside of an interval, with its sign. */
static inline float outside(float value, float low, float high)
{
    float below = value - low, above = value - high;
    return (below < 0 ? below : 0) + (above > 0 ? above : 0);
}

/* Takes the values whose samples are nearest to the intervals, again and again, until they stay. */
static inline void project_block(const vlae_block *b, int16_t *values, int rounds)
{
    float samples[64];
    for (int round = 0; round < rounds && decode_block(b, values, samples); round++) {
        float sums[64] = {0};
        int changes = 0;
        for (int i = 0; i < 64; i++) {
            float least = b->from[i] ? (float)b->from[i] : -1e6f, most = b->to[i] < 255 ? (float)b->to[i] : 1e6f;
            float value = outside(samples[i], least, most);
            for (int k = 0; k < 64; k++)
                sums[k] -= value * b->basis[i][k];
        }
        for (int k = 0; k < 64; k++) {
            float change = sums[k] / (float)(b->table[k] * b->table[k]) + 0.5f;
            int by = (int)change - (change < 0);
            if (by && is_allowed(values[k] + by)) {
                values[k] = (int16_t)(values[k] + by);
                changes++;
            }
        }
        if (!changes)
            return;
    }
}

/* Searches for values of a block that decode to samples within the intervals, by changes of 1. Each step takes the
 * change after which the samples are least outside, even where that is more than before; a changed value then rests for
 * some steps, unless that gives the best cost so far (a tabu search). The result is how many samples of the best values are wrong. */
static inline int search_block(const vlae_block *b, int16_t *values, int steps)
{
    float samples[64];
    float lowest = 1e30f;
    int16_t now[64];
    int rests[64] = {0}, best = decode_block(b, values, samples);
    memcpy(now, values, sizeof now);
    for (int step = 1; best && step <= steps; step++) {
        float slopes[64] = {0}, costs[64] = {0}, least = 1e30f;
        int changed = -1;
        for (int i = 0; i < 64; i++) {
            float out = outside(samples[i], b->low[i], b->high[i]);
            if (b->open[i])
                out += b->pull * (samples[i] - b->middle[i]);
            for (int k = 0; k < 64; k++)
                slopes[k] += out * b->basis[i][k];
        }
        for (int k = 0; k < 64; k++)
            slopes[k] = slopes[k] > 0 ? -1.0f : 1.0f;
        for (int i = 0; i < 64; i++)
            for (int k = 0; k < 64; k++) {
                float value = samples[i] + slopes[k] * b->basis[i][k], out = outside(value, b->low[i], b->high[i]);
                costs[k] += out * out;
                if (b->open[i])
                    costs[k] += b->pull * (value - b->middle[i]) * (value - b->middle[i]);
            }
        for (int k = 0; k < 64; k++)
            if (costs[k] < least && (rests[k] <= step || costs[k] < lowest) && is_allowed(now[k] + (int)slopes[k])) {
                least = costs[k];
                changed = k;
            }
        if (changed < 0)
            break;
        lowest = least < lowest ? least : lowest;
        now[changed] = (int16_t)(now[changed] + (int)slopes[changed]);
        rests[changed] = step + RESTED + step % 5;
        int wrong = decode_block(b, now, samples);
        if (wrong < best) {
            best = wrong;
            memcpy(values, now, sizeof now);
        }
    }
    return best;
}

/* Values of n blocks that decode as near as can be to the intervals of their samples (n, 64), from the values given on. */
static inline void search_blocks(const uint8_t *low, const uint8_t *high, int64_t n, const int32_t *table,
                                 const float *basis, int steps, int16_t *blocks, uint8_t *wrong)
{
    vlae_block b;
    for (int k = 0; k < 64; k++) {
        b.table[k] = table[k];
        for (int i = 0; i < 64; i++)
            b.basis[i][k] = (float)table[k] * basis[64 * k + i];
    }
    b.pull = 0.05f / (float)(table[1] * table[8]);
    for (int64_t at = 0; at < n; at++) {
        float samples[64];
        for (int i = 0; i < 64; i++) {
            b.from[i] = low[64 * at + i];
            b.to[i] = high[64 * at + i];
            b.low[i] = b.from[i] ? (float)b.from[i] - 0.5f : -1e6f;
            b.high[i] = b.to[i] < 255 ? (float)b.to[i] + 0.5f : 1e6f;
        }
        project_block(&b, blocks + 64 * at, PROJECTIONS);
        decode_block(&b, blocks + 64 * at, samples);
        for (int i = 0; i < 64; i++) {
            b.open[i] = b.to[i] - b.from[i] > 3 || b.from[i] == 0 || b.to[i] == 255;
            b.middle[i] = samples[i] < b.low[i] ? b.low[i] : samples[i] > b.high[i] ? b.high[i] : samples[i];
        }
        wrong[at] = (uint8_t)search_block(&b, blocks + 64 * at, steps);
    }
}

/* ------------------------------------------------------------------------------------------------------- steps */

enum { STEPS = 255, SCORES = 128, SCORE_PARTS = 32 };

/* What values (64, n) of each frequency say for each step, (255, 64): sums of scores (2, 255, 128), by how far a value
 * is from a multiple of the step, in 32nds; first those of the multiple 0, then those of all others. */
static inline void score_steps(const float *values, int64_t n, const float *scores, float *sums)
{
    for (int k = 0; k < 64; k++)
        for (int step = 1; step <= STEPS; step++) {
            const float *zero = scores + SCORES * (step - 1), *others = zero + SCORES * STEPS;
            float sum = 0, parts = 1 / (float)step;
            for (int64_t i = 0; i < n; i++) {
                float value = values[k * n + i] < 0 ? -values[k * n + i] : values[k * n + i];
                int times = (int)(value * parts + 0.5f);
                float off = value - (float)(times * step);
                int at = (int)((off < 0 ? -off : off) * SCORE_PARTS);
                sum += (times ? others : zero)[at < SCORES ? at : SCORES - 1];
            }
            sums[64 * (step - 1) + k] = sum;
        }
}

#endif
