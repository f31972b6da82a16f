/* Adaptive binary arithmetic coding: a range coder of bits, counters that estimate their probabilities, and a mixer of
 * estimates (logistic mixing: Mahoney, "Adaptive weighing of context models for lossless data compression", 2005).
 *
 * Probabilities are those of a 1, in 1/65536. A logit is ln(p / (1 - p)) in 1/256; `squash` makes probabilities of
 * logits and `stretch` logits of probabilities. All are integers, so encoder and decoder agree everywhere.
 */
#ifndef VLAE_BINARY_H
#define VLAE_BINARY_H

#include <stdint.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------------- range coder */

/* One of the two: `out` is written or `in` is read. Behind its end `in` is zeros, of which it needs only a few. */
typedef struct {
    uint8_t *out;
    const uint8_t *in;
    int64_t at, size; /* bytes used, and bytes there are */
    uint64_t low;     /* of the encoder: 33 bits, the highest of them a carry */
    uint32_t range, code;
    int64_t pending; /* bytes 0xff, and one before them, that a carry may still change */
    uint8_t held;    /* that one */
} binary_coder;

static inline uint32_t binary_byte(binary_coder *coder)
{
    int64_t at = coder->at++;
    return at < coder->size ? coder->in[at] : 0;
}

static inline void binary_begin(binary_coder *coder, uint8_t *out, const uint8_t *in, int64_t size)
{
    *coder = (binary_coder){.out = out, .in = in, .size = size, .range = UINT32_MAX};
    for (int i = 0; in && i < 4; i++)
        coder->code = coder->code << 8 | binary_byte(coder);
}

static inline void binary_emit(binary_coder *coder, uint32_t byte)
{
    if (coder->at < coder->size)
        coder->out[coder->at] = (uint8_t)byte;
    coder->at++;
}

/* Moves the highest byte of `low` out, unless a carry may still change it. */
static inline void binary_shift(binary_coder *coder)
{
    if (coder->low >> 24 != 0xff || !coder->pending) { /* no carry comes, or it does now */
        uint32_t carry = (uint32_t)(coder->low >> 32);
        if (coder->pending)
            binary_emit(coder, coder->held + carry);
        for (; coder->pending > 1; coder->pending--)
            binary_emit(coder, 0xff + carry);
        coder->pending = 0;
        coder->held = (uint8_t)(coder->low >> 24);
    }
    coder->pending++;
    coder->low = (coder->low & 0xffffff) << 8;
}

/* Codes a bit, given when encoding, with p (1 to 65535) of 65536 that it is 1; returns it. */
static inline int binary_code(binary_coder *coder, int bit, uint32_t p)
{
    uint32_t bound = (uint32_t)((uint64_t)coder->range * p >> 16);
    if (coder->in)
        bit = coder->code < bound;
    if (bit)
        coder->range = bound;
    else {
        coder->low += bound;
        coder->code -= bound;
        coder->range -= bound;
    }
    while (coder->range < 1u << 24) {
        coder->range <<= 8;
        if (coder->in) {
            coder->code = coder->code << 8 | binary_byte(coder);
            coder->low = 0;
        } else
            binary_shift(coder);
    }
    return bit;
}

/* Ends a stream: returns its bytes, more than `size` where they had no room, or, reading, how many were read. */
static inline int64_t binary_end(binary_coder *coder)
{
    if (coder->in)
        return coder->at;
    uint64_t last = coder->low + coder->range - 1, keep = 32;
    while (keep && (last >> keep << keep) < coder->low)
        keep--;
    coder->low = last >> keep << keep; /* the number in the interval with the most zeros at its end */
    for (int i = 0; i < 5; i++)
        binary_shift(coder);
    for (int i = 0; i < 4 && coder->at <= coder->size && coder->out[coder->at - 1] == 0; i++)
        coder->at--; /* the decoder reads 4 bytes more than were shifted out before */
    return coder->at;
}

/* Whether a decoder read what no encoder wrote: more than a few bytes behind the end. */
static inline int binary_failed(const binary_coder *coder)
{
    return coder->in && coder->at > coder->size + 4;
}

/* ------------------------------------------------------------------------------------------------------- logits */

enum { LOGIT_MOST = 3071, FINE = 2048, SEEN = 256 };

typedef struct {
    uint16_t squashed[2 * LOGIT_MOST + 1]; /* of logits from -3071 */
    int16_t logits[2 * FINE + 1];           /* of p below FINE, then of 16 p; both up to 1/2 */
    uint16_t rates[SEEN];                 /* 65536 / (n + 1.5) */
} binary_tables;

static inline uint32_t squash(const binary_tables *tables, int32_t logit)
{
    logit = logit > LOGIT_MOST ? LOGIT_MOST : logit < -LOGIT_MOST ? -LOGIT_MOST : logit;
    return tables->squashed[logit + LOGIT_MOST];
}

static inline int32_t stretch(const binary_tables *tables, uint32_t p) /* p below 65536 */
{
    uint32_t flip = 0 - (p >> 15), less = ((p ^ flip) - flip) & 0xffff; /* p or 65536 - p, by no branch */
    int32_t logit = tables->logits[less < FINE ? less : FINE + (less >> 4)];
    return (int32_t)(((uint32_t)logit ^ flip) - flip);
}

static inline void binary_tables_set(binary_tables *tables)
{
    uint64_t power = (uint64_t)1 << 32; /* e^(-x / 256) in 1/2^32 */
    for (int x = 0; x <= LOGIT_MOST; x++) {
        uint64_t one = (uint64_t)1 << 32;
        uint32_t p = (uint32_t)((power << 16) / (one + power)); /* of logit -x */
        p = p < 1 ? 1 : p;
        tables->squashed[LOGIT_MOST - x] = (uint16_t)p;
        tables->squashed[LOGIT_MOST + x] = (uint16_t)(65536 - p);
        power = power * 4278222805u >> 32; /* 2^32 e^(-1 / 256) */
    }
    tables->squashed[LOGIT_MOST] = 32768;
    for (uint32_t p = 0, x = 0; p <= 32768; p++) { /* the lowest logit whose probability is at least p */
        while (tables->squashed[x] < p)
            x++;
        int logit = (int)x - LOGIT_MOST;
        if (p < FINE)
            tables->logits[p] = (int16_t)logit;
        if (p % 16 == 0)
            tables->logits[FINE + p / 16] = (int16_t)logit;
    }
    for (uint32_t n = 0; n < SEEN; n++)
        tables->rates[n] = (uint16_t)(131072 / (2 * n + 3));
}

/* ------------------------------------------------------------------------------------------------------- counters */

typedef uint32_t binary_counter; /* 22 bits of a probability, then 10 of how many bits were seen, up to a limit */

#define BINARY_UNSEEN ((binary_counter)1 << 31)

static inline void binary_update(const binary_tables *tables, binary_counter *counter, int bit, uint32_t limit)
{
    uint32_t n = *counter & 1023;
    int32_t p = (int32_t)(*counter >> 10), target = bit ? (1 << 22) - 1 : 0;
    p += (int32_t)((int64_t)(target - p) * tables->rates[n] >> 16);
    *counter = (uint32_t)p << 10 | (n < limit ? n + 1 : n);
}

/* Codes a bit by one counter. limit: below 256, how many bits a probability is an average of. */
static inline int binary_simple(binary_coder *coder, const binary_tables *tables, binary_counter *counter, int bit,
                                uint32_t limit)
{
    uint32_t p = *counter >> 16;
    bit = binary_code(coder, bit, p < 1 ? 1 : p);
    binary_update(tables, counter, bit, limit);
    return bit;
}

/* ------------------------------------------------------------------------------------------------------- mixing */

enum { MIXED_MOST = 1 << 19, REFINED = 33 };

/* Weights are in 1/65536, of 8 at most; inputs are logits. */
static inline int32_t mixed(const int32_t *weights, const int32_t *inputs, int count)
{
    int32_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += weights[i] * inputs[i] >> 8;
    return sum >> 8;
}

/* One step down the gradient of the cost; error: of the probability, 65536 * bit - p; rate: in 1/16384, up to 2048. */
static inline void mixed_update(int32_t *weights, const int32_t *inputs, int count, int32_t error, int32_t rate)
{
    int32_t step = error * rate / 256;
    for (int i = 0; i < count; i++) {
        int32_t weight = weights[i] + ((inputs[i] * step + (1 << 13)) >> 14);
        weights[i] = weight > MIXED_MOST ? MIXED_MOST : weight < -MIXED_MOST ? -MIXED_MOST : weight;
    }
}

/* A table (33,) of what probabilities turn out to be, at logits a step of 192 apart; it begins as the identity. */
static inline void refined_set(const binary_tables *tables, uint16_t *table)
{
    for (int i = 0; i < REFINED; i++)
        table[i] = (uint16_t)squash(tables, (i - 16) * 192);
}

static inline uint32_t refined(uint16_t *table, int32_t logit, int *nearest)
{
    logit = logit > LOGIT_MOST ? LOGIT_MOST : logit < -LOGIT_MOST ? -LOGIT_MOST : logit;
    uint32_t place = (uint32_t)(logit + 16 * 192), low = place / 192, part = place % 192;
    *nearest = (int)(low + (part >= 96));
    return (table[low] * (192 - part) + table[low + 1] * part) / 192;
}

static inline void refined_update(uint16_t *table, int nearest, int bit, int rate)
{
    table[nearest] = (uint16_t)(table[nearest] + (((bit ? 65535 : 0) - table[nearest]) >> rate));
}

#endif
