/* Which values the last of three channels may have. An RGB picture that was converted from YCbCr has only those triples
 * that some (Y, Cb, Cr) of 0 .. 255 each gives, and the first two of them leave a few values to the third.
 *
 * A set of triples is a table of 2^24 bits: for each pair of the first two, VALUE_WORDS words with a bit a value.
 */
#ifndef VLAE_VALUES_H
#define VLAE_VALUES_H

#include "vlae.h"

#define VALUE_WORDS 4 /* of 64 bits */
#define SET_WORDS (65536 * VALUE_WORDS)

static inline uint8_t clamped(int64_t v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
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

/* How far v is from the nearest value of the set; -1 and 256 count as values. */
static inline int32_t value_distance(const uint64_t *values, int32_t v)
{
    if (has_value(values, v))
        return 0;
    int32_t down = v - value_below(values, 0, v), up = value_above(values, 0, v) - v;
    return down < up ? down : up;
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
