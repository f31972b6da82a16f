/* Pixels of a JPEG, as libjpeg-turbo's decoder computes them with its default settings; all in integers.
 *
 * The inverse DCT is the "accurate" one: the factors of Loeffler, Ligtenberg and Moschytz (1989) in 13 bits of fraction,
 * columns first, 2 more bits kept between the passes. Sums before a rounding are linear, so they stand here as products
 * by a matrix. Sums wrap and lines saturate at 16 bits where the coefficients are those of no picture.
 */
#ifndef VLAE_DCT_H
#define VLAE_DCT_H

#include "vlae.h"

#include <string.h>

enum { DCT_BITS = 13, BETWEEN_BITS = 2, FIRST_BITS = DCT_BITS - BETWEEN_BITS, LAST_BITS = DCT_BITS + BETWEEN_BITS + 3 };

static const int32_t dct_odd[4][4] = {{11363, 9633, 6437, 2260},
                                      {9633, -2259, -11362, -6436},
                                      {6437, -11362, 2261, 9633},
                                      {2260, -6436, 9633, -11363}};

static inline int32_t saturated(int32_t value)
{
    return value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value;
}

/* The transform of the columns of 8 rows of 8, in `DCT_BITS` more bits of fraction; out is transposed. */
static inline void idct_columns(const int32_t *in, int32_t *out)
{
    for (int c = 0; c < 8; c++) {
        uint32_t x[8], even[4];
        for (int k = 0; k < 8; k++)
            x[k] = (uint32_t)in[8 * k + c];
        uint32_t sum = (x[0] + x[4]) << DCT_BITS, difference = (x[0] - x[4]) << DCT_BITS;
        uint32_t near = 10703 * x[2] + 4433 * x[6], far = 4433 * x[2] - 10704 * x[6];
        even[0] = sum + near;
        even[1] = difference + far;
        even[2] = difference - far;
        even[3] = sum - near;
        for (int k = 0; k < 4; k++) {
            uint32_t odd = 0;
            for (int i = 0; i < 4; i++)
                odd += (uint32_t)dct_odd[k][i] * x[2 * i + 1];
            out[8 * c + k] = (int32_t)(even[k] + odd);
            out[8 * c + 7 - k] = (int32_t)(even[k] - odd);
        }
    }
}

/* Samples of a block without the 128 of their middle, in `LAST_BITS` bits of fraction. */
static inline void idct_block(const int16_t *block, const int32_t *table, int32_t *out)
{
    int32_t values[64], between[64];
    for (int k = 0; k < 64; k++)
        values[k] = saturated(block[k] * table[k]);
    idct_columns(values, between);
    for (int k = 0; k < 64; k++)
        between[k] = saturated((int32_t)((uint32_t)between[k] + (1u << (FIRST_BITS - 1))) >> FIRST_BITS);
    idct_columns(between, out);
}

static inline uint8_t to_byte(int32_t value)
{
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

static inline uint8_t sample_of(int32_t value)
{
    return to_byte(((int32_t)((uint32_t)value + (1u << (LAST_BITS - 1))) >> LAST_BITS) + 128);
}

static inline void idct_plane(const int16_t *blocks, int64_t rows, int64_t columns, const int32_t *table, uint8_t *plane)
{
    for (int64_t row = 0; row < rows; row++)
        for (int64_t column = 0; column < columns; column++) {
            int32_t out[64];
            uint8_t *at = plane + 64 * row * columns + 8 * column;
            idct_block(blocks + 64 * (row * columns + column), table, out);
            for (int i = 0; i < 64; i++)
                at[(i >> 3) * 8 * columns + (i & 7)] = sample_of(out[i]);
        }
}

/* ------------------------------------------------------------------------------------------------------- enlarging */

/* Where a component stands: `plane` has its rows from `first` on, and `height` rows in all. */
typedef struct {
    const uint8_t *plane;
    int64_t stride, first, width, height;
    int across, down; /* pixels that a sample covers */
} vlae_component;

static inline int64_t bounded(int64_t at, int64_t size)
{
    return at < 0 ? 0 : at >= size ? size - 1 : at;
}

/* Whether neighbours are mixed, 3 parts of the nearer one: only where a sample covers 2 pixels; else samples are repeated. */
static inline int is_mixed(const vlae_component *c)
{
    if (c->across == 2)
        return c->down <= 2 && c->width > 2;
    return c->across == 1 && c->down == 2;
}

static inline void enlarge_row(const vlae_component *c, int64_t y, int64_t width, uint8_t *out)
{
    int64_t row = y / c->down, other = bounded(y % 2 ? row + 1 : row - 1, c->height);
    const uint8_t *a = c->plane + (row - c->first) * c->stride, *b = c->plane + (other - c->first) * c->stride;
    if (!is_mixed(c)) {
        for (int64_t x = 0; x < width; x++)
            out[x] = a[x / c->across];
    } else if (c->across == 1) {
        for (int64_t x = 0; x < width; x++)
            out[x] = (uint8_t)((3 * a[x] + b[x] + 1 + y % 2) >> 2);
    } else {
        int deep = c->down == 2, shift = deep ? 4 : 2, even = deep ? 8 : 1, odd = deep ? 7 : 2;
        for (int64_t x = 0; x < width; x++) {
            int64_t at = x / 2, beside = bounded(x % 2 ? at + 1 : at - 1, c->width);
            int here = deep ? 3 * a[at] + b[at] : a[at], there = deep ? 3 * a[beside] + b[beside] : a[beside];
            out[x] = (uint8_t)((3 * here + there + (x % 2 ? odd : even)) >> shift);
        }
    }
}

/* ------------------------------------------------------------------------------------------------------- colours */

/* What JFIF adds to Y, for Cb - 128 and Cr - 128; shifts of negative numbers round down. */
static inline int32_t jfif_red(int32_t cr)
{
    return (91881 * cr + 32768) >> 16;
}

static inline int32_t jfif_green(int32_t cb, int32_t cr)
{
    return (-22554 * cb - 46802 * cr + 32768) >> 16;
}

static inline int32_t jfif_blue(int32_t cb)
{
    return (116130 * cb + 32768) >> 16;
}

static inline void jfif_pixels(const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int64_t n, uint8_t *out)
{
    for (int64_t i = 0; i < n; i++) {
        out[3 * i] = to_byte(y[i] + jfif_red(cr[i] - 128));
        out[3 * i + 1] = to_byte(y[i] + jfif_green(cb[i] - 128, cr[i] - 128));
        out[3 * i + 2] = to_byte(y[i] + jfif_blue(cb[i] - 128));
    }
}

#endif
