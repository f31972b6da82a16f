/* The way back from pixels to a JPEG: what one block's, one sample's or one pixel's worth of searching takes.
 *
 * All of it proposes, in integers; what it proposes is decoded exactly (`dct.h`) before anything is kept.
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

/* The hull of the values from `low` to `high` that component k (0: Cb, 1: Cr) of pixels may have, given the other one: by
 * which some Y gives the pixel. Where none does, the interval stays. */
static inline void chroma_beside(const uint8_t *rgb, const uint8_t *other, int k, int64_t n, uint8_t *low, uint8_t *high)
{
    for (int64_t i = 0; i < n; i++) {
        int first = -1, last = -1;
        for (int c = low[i]; low[i] < high[i] && c <= high[i]; c++) {
            uint8_t cb = (uint8_t)(k ? other[i] : c), cr = (uint8_t)(k ? c : other[i]), from, to;
            luma_range(rgb + 3 * i, &cb, &cr, 1, &from, &to);
            if (from > to)
                continue;
            first = first < 0 ? c : first;
            last = c;
        }
        if (first >= 0) {
            low[i] = (uint8_t)first;
            high[i] = (uint8_t)last;
        }
    }
}

/* ------------------------------------------------------------------------------------------------------- halving */

enum { LINES = 16, MOST_PARTS = 4, FIT_BITS = 8, KNOWN_WEIGHT = 64 }; /* lines that are fitted at once; pixels of a sample */

/* The pixels along one axis that a sample has a part in, from `first` on, and how large a part, in quarters. */
typedef struct {
    int64_t first;
    int count, parts[MOST_PARTS];
} vlae_span;

static inline vlae_span span_of(int64_t sample, int64_t samples, int64_t pixels, int covered, int mixed)
{
    if (covered == 1)
        return (vlae_span){sample, 1, {4}};
    if (mixed && sample > 0 && sample < samples - 1)
        return (vlae_span){2 * sample - 1, 4, {1, 3, 3, 1}};
    vlae_span span = {bounded(sample * covered - mixed, pixels), 0, {0}};
    for (int64_t p = span.first; p < (sample + 1) * covered + mixed && p < pixels; p++) {
        int64_t own = p / covered, beside = bounded(p % 2 ? own + 1 : own - 1, samples);
        span.parts[span.count++] = mixed ? 3 * (own == sample) + (beside == sample) : 4;
    }
    return span;
}

typedef struct {
    const vlae_component *c;
    int64_t rows, width;
    int across, down; /* whether neighbours are mixed along an axis */
} vlae_halving;

static inline vlae_halving halving_of(const vlae_component *c, int64_t rows, int64_t width)
{
    int mixed = is_mixed(c);
    return (vlae_halving){c, rows, width, mixed && c->across == 2, mixed && c->down == 2};
}

static inline void spans_of(const vlae_halving *h, int64_t y, int64_t x, vlae_span *down, vlae_span *across)
{
    *down = span_of(y, h->c->height, h->rows, h->c->down, h->down);
    *across = span_of(x, h->c->width, h->width, h->c->across, h->across);
}

/* What is added to a pixel in 16ths before it is rounded down. */
static inline int bias_of(const vlae_halving *h, int64_t y, int64_t x)
{
    return h->across && h->down ? 8 - (int)(x % 2) : h->across ? 4 + 4 * (int)(x % 2) : h->down ? 4 + 4 * (int)(y % 2) : 0;
}

/* The least squares along one axis: samples whose enlargement is nearest to pixels, for many lines at once. A line's
 * pixels are `pixel_step` apart, lines `pixel_line`. It is a tridiagonal system, the same for all lines, solved by
 * elimination; factors (2 samples) is scratch. Values keep their scale. */
static inline void fit_axis(const int32_t *pixels, int64_t count, int64_t pixel_step, int64_t pixel_line, int32_t *out,
                            int64_t samples, int64_t step, int64_t line, int64_t lines, int covered, int mixed,
                            int32_t *factors)
{
    int64_t last_off = 0, last = 0;
    for (int64_t i = 0; i < samples; i++) {
        vlae_span own = span_of(i, samples, count, covered, mixed);
        int64_t diagonal = 0, off = 0;
        for (int k = 0; k < own.count; k++) {
            int64_t p = own.first + k;
            diagonal += own.parts[k] * own.parts[k];
            if (own.parts[k] < 4 && (p / covered > i || (p / covered == i && p % 2)))
                off += own.parts[k] * (4 - own.parts[k]);
        }
        int64_t rest = (diagonal << 16) - last_off * last; /* in 2^-16 */
        factors[2 * i] = (int32_t)(((int64_t)1 << 36) / rest);     /* in 2^-20 */
        factors[2 * i + 1] = (int32_t)last_off;
        last = (off << 32) / rest;
        last_off = off;
    }
    for (int64_t from = 0; from < lines; from += LINES) {
        int many = (int)(lines - from < LINES ? lines - from : LINES);
        for (int64_t i = 0; i < samples; i++) {
            vlae_span own = span_of(i, samples, count, covered, mixed);
            int64_t sums[LINES] = {0};
            for (int k = 0; k < own.count; k++)
                for (int l = 0; l < many; l++)
                    sums[l] += 4 * own.parts[k] * (int64_t)pixels[(own.first + k) * pixel_step + (from + l) * pixel_line];
            for (int l = 0; l < many; l++) {
                int64_t before = i ? out[(i - 1) * step + (from + l) * line] : 0;
                int64_t value = (sums[l] - factors[2 * i + 1] * before) * factors[2 * i];
                out[i * step + (from + l) * line] = (int32_t)((value + (1 << 19)) >> 20);
            }
        }
        for (int64_t i = samples - 2; i >= 0; i--)
            for (int l = 0; l < many; l++) {
                int64_t after = out[(i + 1) * step + (from + l) * line];
                int64_t value = factors[2 * i + 3] * after * factors[2 * i];
                out[i * step + (from + l) * line] -= (int32_t)((value + (1 << 19)) >> 20);
            }
    }
}

/* Of each pixel how far the enlargement of samples is above it, in 16ths of the samples' units. */
static inline void set_excess(const vlae_halving *h, const int32_t *samples, const uint8_t *pixels, int32_t unit,
                              int32_t *excess)
{
    for (int64_t y = 0; y < h->rows; y++)
        for (int64_t x = 0; x < h->width; x++)
            excess[y * h->width + x] = -16 * unit * pixels[y * h->width + x];
    for (int64_t y = 0; y < h->c->height; y++)
        for (int64_t x = 0; x < h->c->width; x++) {
            vlae_span down, across;
            spans_of(h, y, x, &down, &across);
            for (int j = 0; j < down.count; j++)
                for (int i = 0; i < across.count; i++)
                    excess[(down.first + j) * h->width + across.first + i] +=
                        down.parts[j] * across.parts[i] * samples[y * h->c->width + x];
        }
}

/* Whether all pixels that a sample has a part in are known. */
static inline int is_sure(const vlae_halving *h, const uint8_t *known, int64_t y, int64_t x)
{
    vlae_span down, across;
    int sure = 1;
    spans_of(h, y, x, &down, &across);
    for (int j = 0; j < down.count; j++)
        for (int i = 0; i < across.count; i++)
            sure &= known[(down.first + j) * h->width + across.first + i];
    return sure;
}

/* A step of Gauss and Seidel towards the least squares, in which pixels that are known weigh more, for the samples that
 * have a part in others. */
static inline void weighted_sweep(const vlae_halving *h, const uint8_t *known, const uint8_t *sure, int32_t *samples,
                                  int32_t *excess)
{
    for (int64_t y = 0; y < h->c->height; y++)
        for (int64_t x = 0; x < h->c->width; x++) {
            vlae_span down, across;
            if (sure[y * h->c->width + x])
                continue;
            spans_of(h, y, x, &down, &across);
            int64_t sum = 0, norm = 0;
            for (int j = 0; j < down.count; j++)
                for (int i = 0; i < across.count; i++) {
                    int64_t at = (down.first + j) * h->width + across.first + i, part = down.parts[j] * across.parts[i];
                    int64_t weighted = part * (known[at] ? KNOWN_WEIGHT : 1);
                    sum += weighted * excess[at];
                    norm += weighted * part;
                }
            int32_t by = norm ? (int32_t)(sum / norm) : 0;
            samples[y * h->c->width + x] -= by;
            for (int j = 0; j < down.count; j++)
                for (int i = 0; i < across.count; i++)
                    excess[(down.first + j) * h->width + across.first + i] -= by * down.parts[j] * across.parts[i];
        }
}

/* Adds to a sample. The result is by how much that brings the enlargement away from the pixels that are known. */
static inline int32_t add_to(const vlae_halving *h, const uint8_t *known, int32_t *samples, int32_t *excess, int64_t y,
                             int64_t x, int by)
{
    vlae_span down, across;
    int32_t sum = 0;
    spans_of(h, y, x, &down, &across);
    samples[y * h->c->width + x] += by;
    for (int j = 0; j < down.count; j++)
        for (int i = 0; i < across.count; i++) {
            int64_t at = (down.first + j) * h->width + across.first + i;
            int32_t bias = bias_of(h, down.first + j, across.first + i), was = (excess[at] + bias) >> 4;
            excess[at] += by * down.parts[j] * across.parts[i];
            int32_t is = (excess[at] + bias) >> 4;
            if (known[at])
                sum += (is < 0 ? -is : is) - (was < 0 ? -was : was);
        }
    return sum;
}

/* Whether the enlargement gives all known pixels that a sample has a part in. */
static inline int sample_fits(const vlae_halving *h, const uint8_t *known, const int32_t *excess, int64_t y, int64_t x)
{
    vlae_span down, across;
    spans_of(h, y, x, &down, &across);
    for (int j = 0; j < down.count; j++)
        for (int i = 0; i < across.count; i++) {
            int64_t row = down.first + j, column = across.first + i, at = row * h->width + column;
            if (known[at] && (excess[at] + bias_of(h, row, column)) >> 4)
                return 0;
        }
    return 1;
}

/* Changes samples by 1, alone or with a neighbour, wherever that brings the enlargement nearer to the pixels. The result
 * is how many changes there were. */
static inline int64_t halve_search(const vlae_halving *h, const uint8_t *known, int32_t *samples, int32_t *excess)
{
    static const int beside[4][2] = {{0, 1}, {1, 0}, {1, 1}, {1, -1}};
    int64_t changes = 0, height = h->c->height, width = h->c->width;
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int way = -1; way <= 1 && !sample_fits(h, known, excess, y, x); way += 2) {
                if (samples[y * width + x] + way < 0 || samples[y * width + x] + way > 255)
                    continue;
                int32_t first = add_to(h, known, samples, excess, y, x, way);
                int better = first < 0;
                for (int k = 0; k < 8 && !better; k++) {
                    int64_t y1 = y + beside[k / 2][0], x1 = x + beside[k / 2][1];
                    int other = k % 2 ? 1 : -1;
                    if (y1 >= height || x1 < 0 || x1 >= width || samples[y1 * width + x1] + other < 0 ||
                        samples[y1 * width + x1] + other > 255)
                        continue;
                    better = first + add_to(h, known, samples, excess, y1, x1, other) < 0;
                    if (!better)
                        add_to(h, known, samples, excess, y1, x1, -other);
                }
                if (better)
                    changes++;
                else
                    add_to(h, known, samples, excess, y, x, -way);
            }
    return changes;
}

enum { DOUBTFUL, SURE, OPEN }; /* what is known of a sample: it is next to its value; it is this; some pixels are not known */

/* Samples whose enlargement is nearest to the pixels (rows, width), above all to those that are known. state: of each what
 * is known of it. Scratch: excess (rows, width), fitted (height, width of samples), factors 2 max(height, width). */
static inline void halve(const vlae_component *c, uint8_t *samples, const uint8_t *pixels, const uint8_t *known,
                         int64_t rows, int64_t width, int sweeps, int32_t *excess, int32_t *fitted, int32_t *factors,
                         uint8_t *state)
{
    vlae_halving h = halving_of(c, rows, width);
    int64_t count = c->height * c->width, open = 0;
    for (int64_t i = 0; i < rows * width; i++)
        excess[i] = pixels[i] << FIT_BITS;
    int32_t *between = excess; /* a row of the fit stands where a row of pixels was that is not needed any more */
    fit_axis(excess, rows, width, 1, between, c->height, width, 1, width, c->down, h.down, factors);
    fit_axis(between, width, 1, width, fitted, c->width, 1, c->width, c->height, c->across, h.across, factors);
    for (int64_t y = 0; y < c->height; y++)
        for (int64_t x = 0; x < c->width; x++) {
            state[y * c->width + x] = (uint8_t)is_sure(&h, known, y, x);
            open += !state[y * c->width + x];
        }
    if (open) {
        set_excess(&h, fitted, pixels, 1 << FIT_BITS, excess);
        for (int i = 0; i < sweeps; i++)
            weighted_sweep(&h, known, state, fitted, excess);
    }
    for (int64_t i = 0; i < count; i++)
        fitted[i] = to_byte((fitted[i] + (1 << (FIT_BITS - 1))) >> FIT_BITS);
    set_excess(&h, fitted, pixels, 1, excess);
    for (int i = 0; i < sweeps && halve_search(&h, known, fitted, excess); i++)
        ;
    for (int64_t y = 0; y < c->height; y++)
        for (int64_t x = 0; x < c->width; x++) {
            int64_t at = y * c->width + x;
            state[at] = !state[at] ? OPEN : sample_fits(&h, known, excess, y, x) ? SURE : DOUBTFUL;
            samples[at] = (uint8_t)fitted[at];
        }
}

/* Narrows the intervals of samples to what the intervals of the pixels leave; an interval of which nothing is left
 * becomes 0 to 255. */
static inline void narrow(const vlae_component *c, const uint8_t *low, const uint8_t *high, int64_t rows, int64_t width,
                          int rounds, uint8_t *from, uint8_t *to)
{
    vlae_halving h = halving_of(c, rows, width);
    for (int round = 0; round < rounds; round++)
        for (int64_t y = 0; y < c->height; y++)
            for (int64_t x = 0; x < c->width; x++) {
                vlae_span down, across;
                int64_t at = y * c->width + x;
                if (from[at] >= to[at])
                    continue;
                spans_of(&h, y, x, &down, &across);
                int least = from[at], most = to[at];
                for (int j = 0; j < down.count; j++)
                    for (int i = 0; i < across.count; i++) {
                        int64_t py = down.first + j, px = across.first + i, pixel = py * width + px;
                        int part = down.parts[j] * across.parts[i], least_others = 0, most_others = 0;
                        int64_t row = py / c->down, column = px / c->across;
                        int64_t row1 = h.down ? bounded(py % 2 ? row + 1 : row - 1, c->height) : row;
                        int64_t column1 = h.across ? bounded(px % 2 ? column + 1 : column - 1, c->width) : column;
                        for (int k = 0; k < 4; k++) {
                            int64_t other = (k & 2 ? row1 : row) * c->width + (k & 1 ? column1 : column);
                            int own = (h.down ? (k & 2 ? 1 : 3) : k & 2 ? 0 : 4) * (h.across ? (k & 1 ? 1 : 3) : k & 1 ? 0 : 4);
                            if (other == at)
                                continue;
                            least_others += own * from[other];
                            most_others += own * to[other];
                        }
                        int bias = bias_of(&h, py, px), above = 16 * low[pixel] - bias - most_others;
                        int below = 16 * high[pixel] + 15 - bias - least_others;
                        above = above <= 0 ? 0 : (above + part - 1) / part;
                        below = below < 0 ? -1 : below / part;
                        least = above > least ? above : least;
                        most = below < most ? below : most;
                    }
                from[at] = least <= most ? (uint8_t)least : 0;
                to[at] = least <= most ? (uint8_t)most : 255;
            }
}

/* ------------------------------------------------------------------------------------------------------- blocks */

enum { PROJECTIONS = 16, RESTED = 6 }; /* at most; steps of a search for which a changed value stays as it is */
enum { UNIT_BITS = 6, BASIS_BITS = 13, BASIS_MOST = 1 << 11, OUTSIDE_MOST = 4095 }; /* of a search's samples, which are less 128, and of the basis; the most
                                                        that a sample counts as outside, and a step adds to one */

typedef struct {
    int16_t low[64], high[64]; /* what a sample may be before it is rounded */
    int16_t basis[64][64];     /* of each frequency, what a step of it adds to each sample */
    int16_t middle[64];        /* what an open sample is guessed to be */
    int16_t open[64];          /* -1, or 0 */
    int32_t table[64], any_open;
    uint8_t from[64], to[64];
} vlae_block;

static inline int32_t limited_to(int32_t value, int32_t most)
{
    return value > most ? most : value < -most ? -most : value;
}

static inline int is_allowed(int value)
{
    return value >= -2047 && value <= 2047;
}

/* Decodes a block: samples before they are rounded, and how many are wrong then. */
static inline int decode_block(const vlae_block *b, const int16_t *values, int16_t *samples)
{
    int32_t out[64];
    int wrong = 0;
    idct_block(values, b->table, out);
    for (int i = 0; i < 64; i++) {
        int32_t fine = (out[i] + (1 << (LAST_BITS - UNIT_BITS - 1))) >> (LAST_BITS - UNIT_BITS);
        int value = sample_of(out[i]);
        samples[i] = (int16_t)limited_to(fine, 16000);
        wrong += (value < b->from[i]) | (value > b->to[i]);
    }
    return wrong;
}

/* How far samples are outside of their intervals, with the sign. */
static inline void set_outside(const vlae_block *b, const int16_t *samples, int16_t *out)
{
    for (int i = 0; i < 64; i++) {
        int16_t value = samples[i], inside = value < b->low[i] ? b->low[i] : value;
        inside = inside > b->high[i] ? b->high[i] : inside;
        value = (int16_t)(value - inside);
        value = value > OUTSIDE_MOST ? OUTSIDE_MOST : value;
        out[i] = value < -OUTSIDE_MOST ? -OUTSIDE_MOST : value;
    }
}

static inline int32_t product(const int16_t *a, const int16_t *b)
{
    int32_t sum = 0;
    for (int i = 0; i < 64; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Takes the values whose samples are nearest to the intervals, again and again, until they stay. */
static inline void project_block(const vlae_block *b, const int16_t *basis, int16_t *values, int rounds)
{
    int16_t samples[64], out[64];
    for (int round = 0; round < rounds && decode_block(b, values, samples); round++) {
        int changes = 0;
        for (int i = 0; i < 64; i++) {
            int least = b->from[i] ? (b->from[i] - 128) << UNIT_BITS : -32767;
            int most = b->to[i] < 255 ? (b->to[i] - 128) << UNIT_BITS : 32767, value = samples[i];
            value -= value < least ? least : value > most ? most : value;
            out[i] = (int16_t)limited_to(value, OUTSIDE_MOST);
        }
        for (int k = 0; k < 64; k++) {
            int64_t sum = -product(out, basis + 64 * k), one = (int64_t)b->table[k] << (UNIT_BITS + BASIS_BITS);
            int by = (int)((2 * sum + (sum < 0 ? -one : one)) / (2 * one));
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
 * some steps, unless that gives the best cost so far (a tabu search). Samples that are open are held near their guesses
 * by a small weight, 1 / pull. The result is how many samples of the best values are wrong. */
static inline int search_block(const vlae_block *b, int16_t *values, int steps, int patience)
{
    int64_t pull = 20 * (int64_t)b->table[1] * b->table[8], lowest = INT64_MAX;
    int16_t samples[64], out[64], away[64], now[64];
    int rests[64] = {0}, best = decode_block(b, values, samples), found = 0;
    memcpy(now, values, sizeof now);
    for (int step = 1; best && step <= steps && step - found <= patience; step++) {
        int64_t least = INT64_MAX;
        int changed = -1, change = 0;
        set_outside(b, samples, out);
        for (int i = 0; i < 64; i++)
            away[i] = (int16_t)(limited_to(samples[i] - b->middle[i], OUTSIDE_MOST) & b->open[i]);
        for (int k = 0; k < 64; k++) {
            int16_t next[64], beyond[64];
            int64_t slope = product(out, b->basis[k]), pulled = b->any_open ? product(away, b->basis[k]) : 0;
            int sign = slope * pull + pulled > 0 ? -1 : 1;
            if (!is_allowed(now[k] + sign))
                continue;
            for (int i = 0; i < 64; i++)
                next[i] = (int16_t)(samples[i] + sign * b->basis[k][i]);
            set_outside(b, next, beyond);
            int64_t cost = product(beyond, beyond) * pull;
            if (b->any_open) {
                for (int i = 0; i < 64; i++)
                    beyond[i] = b->basis[k][i] & b->open[i];
                cost += 2 * sign * pulled + product(beyond, beyond);
            }
            if (cost < least && (rests[k] <= step || cost < lowest)) {
                least = cost;
                changed = k;
                change = sign;
            }
        }
        if (changed < 0)
            break;
        lowest = least < lowest ? least : lowest;
        now[changed] = (int16_t)(now[changed] + change);
        rests[changed] = step + RESTED + step % 5;
        int wrong = decode_block(b, now, samples);
        if (wrong < best) {
            best = wrong;
            found = step;
            memcpy(values, now, sizeof now);
        }
    }
    return best;
}

/* Values of n blocks that decode as near as can be to the intervals of their samples (n, 64), from the values given on.
 * basis (64, 64): what a frequency adds to each sample, in 2^-13. */
static inline void search_blocks(const uint8_t *low, const uint8_t *high, int64_t n, const int32_t *table,
                                 const int16_t *basis, int steps, int patience, int16_t *blocks, uint8_t *wrong)
{
    vlae_block b;
    for (int k = 0; k < 64; k++) {
        b.table[k] = table[k];
        for (int i = 0; i < 64; i++) {
            int32_t part = (table[k] * basis[64 * k + i] + (1 << (BASIS_BITS - UNIT_BITS - 1))) >>
                           (BASIS_BITS - UNIT_BITS);
            b.basis[k][i] = (int16_t)limited_to(part, OUTSIDE_MOST);
        }
    }
    for (int64_t at = 0; at < n; at++) {
        int16_t samples[64];
        memcpy(b.from, low + 64 * at, 64);
        memcpy(b.to, high + 64 * at, 64);
        project_block(&b, basis, blocks + 64 * at, PROJECTIONS);
        if (!decode_block(&b, blocks + 64 * at, samples)) {
            wrong[at] = 0;
            continue;
        }
        b.any_open = 0;
        for (int i = 0; i < 64; i++) {
            int half = 1 << (UNIT_BITS - 1), least = ((b.from[i] - 128) << UNIT_BITS) - half;
            int most = ((b.to[i] - 128) << UNIT_BITS) + half - 1;
            b.low[i] = (int16_t)(b.from[i] ? least : -32767);
            b.high[i] = (int16_t)(b.to[i] < 255 ? most : 32767);
            b.open[i] = b.to[i] - b.from[i] > 3 || b.from[i] == 0 || b.to[i] == 255 ? -1 : 0;
            b.any_open |= b.open[i];
            b.middle[i] = samples[i] < b.low[i] ? b.low[i] : samples[i] > b.high[i] ? b.high[i] : samples[i];
        }
        wrong[at] = (uint8_t)search_block(&b, blocks + 64 * at, steps, patience);
    }
}

/* ------------------------------------------------------------------------------------------------------- steps */

enum { STEPS = 255, SCORES = 128, SCORE_PARTS = 32 };

/* What values (64, n) of each frequency, in 32nds, say for each step, (255, 64): sums of scores (2, 255, 128), by how far
 * a value is from a multiple of the step, in 32nds; first those of the multiple 0, then those of all others. */
static inline void score_steps(const int32_t *values, int64_t n, const int16_t *scores, int32_t *sums)
{
    for (int k = 0; k < 64; k++)
        for (int step = 1; step <= STEPS; step++) {
            const int16_t *zero = scores + SCORES * (step - 1), *others = zero + SCORES * STEPS;
            int32_t sum = 0;
            uint32_t whole = (uint32_t)(SCORE_PARTS * step), parts = (uint32_t)(((uint64_t)1 << 32) / whole) + 1;
            for (int64_t i = 0; i < n; i++) {
                uint32_t value = (uint32_t)(values[k * n + i] < 0 ? -values[k * n + i] : values[k * n + i]);
                uint32_t times = (uint32_t)((uint64_t)(value + whole / 2) * parts >> 32);
                int32_t off = (int32_t)(value - times * whole), at = off < 0 ? -off : off;
                sum += (times ? others : zero)[at < SCORES ? at : SCORES - 1];
            }
            sums[64 * (step - 1) + k] = sum;
        }
}

#endif
