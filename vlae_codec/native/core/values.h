/* Which values the last of three channels may have: an RGB picture that was converted from YCbCr has only those triples
 * that some (Y, Cb, Cr) of 0 .. 255 each gives, and the first two of them leave a few values to the third.
 *
 * A set of triples is a table of 2^24 bits: for each pair of the first two, VALUE_WORDS words with a bit a value. The
 * conversions are the exact integers of those who made such pictures:
 *
 *     JFIF       libjpeg's, in 2^-16 (ITU-T T.871 with 1.402, 1.772, 0.344136, 0.714136)
 *     PhotoCD    found by fitting the Kodak pictures: L = 1.3584 Y, u = 2.2179 (C1 - 156), v = 1.8215 (C2 - 137)
 *     WebP       libwebp's BT.601 of limited range, in 2^-6
 */
#ifndef VLAE_VALUES_H
#define VLAE_VALUES_H

#include "vlae.h"

#include <string.h>

#define VALUE_WORDS 4 /* of 64 bits */
#define SET_WORDS (65536 * VALUE_WORDS)

static inline uint8_t clamped(int32_t v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* floor(v / 2^bits) and floor(v / d); shifts of negative numbers are arithmetic. */
static inline int32_t floored(int32_t v, int32_t d)
{
    return v >= 0 ? v / d : -((d - 1 - v) / d);
}

/* The RGB of one YCbCr. Returns VLAE_ARGUMENT for a conversion that there is not. */
static inline int convert(int32_t conversion, int32_t y, int32_t cb, int32_t cr, uint8_t *rgb)
{
    if (conversion == VLAE_JFIF) {
        int32_t u = cb - 128, v = cr - 128;
        rgb[0] = clamped(y + floored(91881 * v + 32768, 65536));
        rgb[1] = clamped(y + floored(-22554 * u - 46802 * v + 32768, 65536));
        rgb[2] = clamped(y + floored(116130 * u + 32768, 65536));
    } else if (conversion == VLAE_PHOTOCD) {
        int32_t light = 13584 * y, u = 22179 * (cb - 156), v = 18215 * (cr - 137);
        rgb[0] = clamped(floored(light + v, 10000));
        rgb[1] = clamped(floored(light - 1940 * floored(u, 10000) - 5090 * floored(v, 10000), 10000));
        rgb[2] = clamped(floored(light + u, 10000));
    } else if (conversion == VLAE_WEBP) {
        int32_t light = y * 19077 >> 8;
        rgb[0] = clamped(floored(light + (cr * 26149 >> 8) - 14234, 64));
        rgb[1] = clamped(floored(light - (cb * 6419 >> 8) - (cr * 13320 >> 8) + 8708, 64));
        rgb[2] = clamped(floored(light + (cb * 33050 >> 8) - 17685, 64));
    } else
        return VLAE_ARGUMENT;
    return VLAE_OK;
}

/* Fills a set with all triples of a conversion. */
static inline int fill_set(int32_t conversion, uint64_t *set)
{
    memset(set, 0, sizeof *set * SET_WORDS);
    for (int32_t i = 0; i < 1 << 24; i++) {
        uint8_t rgb[3];
        if (convert(conversion, i & 255, i >> 8 & 255, i >> 16, rgb) < 0)
            return VLAE_ARGUMENT;
        set[(rgb[0] << 8 | rgb[1]) * VALUE_WORDS + (rgb[2] >> 6)] |= (uint64_t)1 << (rgb[2] & 63);
    }
    return VLAE_OK;
}

/* The words of the values that the first two channels of a pixel leave. */
static inline const uint64_t *values_of(const uint64_t *set, const uint8_t *pixel)
{
    return set + (pixel[0] << 8 | pixel[1]) * VALUE_WORDS;
}

static inline int has_value(const uint64_t *values, int32_t v)
{
    return values[v >> 6] >> (v & 63) & 1;
}

/* Here and below each word is flipped first: with ~0, "values" are those that are not in the set. */
static inline int lacks_all(const uint64_t *values, uint64_t flip)
{
    return !((values[0] ^ flip) | (values[1] ^ flip) | (values[2] ^ flip) | (values[3] ^ flip));
}

/* The largest value below v, or -1. */
static inline int32_t value_below(const uint64_t *values, uint64_t flip, int32_t v)
{
    int32_t at = v >> 6;
    uint64_t word = (values[at] ^ flip) & (((uint64_t)1 << (v & 63)) - 1);
    while (!word && at > 0)
        word = values[--at] ^ flip;
    return word ? at * 64 + 63 - __builtin_clzll(word) : -1;
}

/* The least value above v, or 256. */
static inline int32_t value_above(const uint64_t *values, uint64_t flip, int32_t v)
{
    int32_t at = v >> 6;
    uint64_t word = (values[at] ^ flip) & ~(uint64_t)1 << (v & 63);
    while (!word && at + 1 < VALUE_WORDS)
        word = values[++at] ^ flip;
    return word ? at * 64 + __builtin_ctzll(word) : 256;
}

/* All values in order; how many there are. */
static inline int32_t list_values(const uint64_t *values, uint64_t flip, uint8_t *list)
{
    int32_t count = 0;
    for (int32_t at = 0; at < VALUE_WORDS; at++)
        for (uint64_t word = values[at] ^ flip; word; word &= word - 1)
            list[count++] = (uint8_t)(at * 64 + __builtin_ctzll(word));
    return count;
}

#endif
