/* The entropy-coded scans of JPEG files (ITU-T T.81, annexes F and G): Huffman codes <-> coefficients, bit for bit.
 *
 * The writer makes the choices that the Independent JPEG Group's encoder makes, where the standard leaves some: runs of
 * ends of blocks are as long as they can be, but end where more than 937 correction bits wait for them.
 */
#ifndef VLAE_HUFFMAN_H
#define VLAE_HUFFMAN_H

#include "vlae.h"

#include <string.h>

enum { LOOK = 10, LONGEST_RUN = 0x7fff, CORRECTIONS = 1000 };

static const uint8_t zigzag[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                                   12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                                   35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                                   58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

/* ------------------------------------------------------------------------------------------------------- codes */

typedef struct {
    uint16_t quick[1 << LOOK];           /* of the next bits: length << 8 | symbol; 0: a longer code, or none */
    int32_t after[17], offset[17];       /* of each length: the first longer code, in 16 bits; from code to place */
    uint16_t code[256];
    uint8_t length[256], symbols[256];
} jpeg_code;

/* Sets a code from its table: 16 counts by length, then symbols. Returns 0 for a table that no code has. */
static inline int jpeg_code_set(jpeg_code *code, const uint8_t *table)
{
    int next = 0, place = 0;
    memset(code, 0, sizeof *code);
    for (int bits = 1; bits <= 16; bits++) {
        code->offset[bits] = place - next;
        for (int i = 0; i < table[bits - 1]; i++, next++, place++) {
            if (place > 255 || next >= 1 << bits)
                return 0;
            uint8_t symbol = table[16 + place];
            code->symbols[place] = symbol;
            code->code[symbol] = (uint16_t)next;
            code->length[symbol] = (uint8_t)bits;
            for (int j = 0; bits <= LOOK && j < 1 << (LOOK - bits); j++)
                code->quick[(next << (LOOK - bits)) + j] = (uint16_t)(bits << 8 | symbol);
        }
        code->after[bits] = next << (16 - bits);
        next <<= 1;
    }
    return 1;
}

/* ------------------------------------------------------------------------------------------------------- bits */

typedef struct {
    const uint8_t *data;
    int64_t at, size; /* bytes */
    uint64_t bits;    /* those read ahead, the first of them highest */
    int count;
    int failed; /* more bits were taken than there are before the next marker, or they are no code */
} jpeg_reader;

static inline void jpeg_fill(jpeg_reader *reader)
{
    while (reader->count <= 56 && reader->at < reader->size) {
        uint64_t byte = reader->data[reader->at];
        if (byte == 0xff) {
            if (reader->at + 1 >= reader->size || reader->data[reader->at + 1])
                return; /* a marker */
            reader->at++;
        }
        reader->at++;
        reader->bits |= byte << (56 - reader->count);
        reader->count += 8;
    }
}

static inline uint32_t jpeg_take(jpeg_reader *reader, int bits) /* at most 16 */
{
    if (!bits)
        return 0;
    if (reader->count < bits)
        jpeg_fill(reader);
    if (reader->count < bits) {
        reader->failed = 1;
        return 0;
    }
    uint32_t value = (uint32_t)(reader->bits >> (64 - bits));
    reader->bits <<= bits;
    reader->count -= bits;
    return value;
}

static inline int jpeg_symbol(jpeg_reader *reader, const jpeg_code *code)
{
    if (reader->count < 16)
        jpeg_fill(reader);
    int32_t word = (int32_t)(reader->bits >> 48), quick = code->quick[word >> (16 - LOOK)], bits = quick >> 8;
    int symbol = quick & 255;
    if (!bits) {
        bits = LOOK + 1;
        while (bits < 17 && word >= code->after[bits])
            bits++;
        if (bits > 16) {
            reader->failed = 1;
            return 0;
        }
        symbol = code->symbols[((word >> (16 - bits)) + code->offset[bits]) & 255];
    }
    jpeg_take(reader, bits);
    return symbol;
}

static inline int32_t jpeg_value(jpeg_reader *reader, int bits) /* T.81, F.2.2.1: RECEIVE and EXTEND */
{
    int32_t value = (int32_t)jpeg_take(reader, bits);
    return bits && value < 1 << (bits - 1) ? value - (1 << bits) + 1 : value;
}

typedef struct {
    uint8_t *data;
    int64_t at, size; /* bytes; `at` goes on behind the end */
    uint64_t bits;
    int count;
    int failed; /* a symbol has no code */
} jpeg_writer;

static inline void jpeg_byte(jpeg_writer *writer, uint32_t byte)
{
    if (writer->at < writer->size)
        writer->data[writer->at] = (uint8_t)byte;
    writer->at++;
}

static inline void jpeg_put(jpeg_writer *writer, uint32_t value, int bits) /* at most 16 */
{
    writer->bits = writer->bits << bits | (value & ((1u << bits) - 1));
    writer->count += bits;
    while (writer->count >= 8) {
        uint32_t byte = (uint32_t)(writer->bits >> (writer->count -= 8)) & 255;
        jpeg_byte(writer, byte);
        if (byte == 0xff)
            jpeg_byte(writer, 0);
    }
}

static inline void jpeg_put_symbol(jpeg_writer *writer, const jpeg_code *code, int symbol)
{
    if (!code->length[symbol])
        writer->failed = 1;
    jpeg_put(writer, code->code[symbol], code->length[symbol]);
}

static inline int jpeg_size(int32_t value) /* bits of a magnitude */
{
    uint32_t magnitude = (uint32_t)(value < 0 ? -value : value);
    return magnitude ? 32 - __builtin_clz(magnitude) : 0;
}

static inline void jpeg_put_value(jpeg_writer *writer, int32_t value, int bits)
{
    jpeg_put(writer, (uint32_t)(value < 0 ? value - 1 : value), bits);
}

/* ------------------------------------------------------------------------------------------------------- blocks */

typedef struct {
    jpeg_code dc[4], ac[4]; /* of the components of a scan */
    int32_t last[4];        /* DC values before */
    int32_t run;            /* blocks that still end at once; of the writer, that have */
    int32_t waiting;        /* bits of `corrections` */
    const jpeg_code *open;  /* of a run that the writer has not written yet */
    uint8_t corrections[CORRECTIONS];
} jpeg_state;

static void jpeg_read_dc(jpeg_reader *reader, jpeg_state *state, const vlae_scan *scan, int index, int16_t *block)
{
    if (scan->high) {
        block[0] = (int16_t)(block[0] | (int32_t)(jpeg_take(reader, 1) << scan->low));
        return;
    }
    int bits = jpeg_symbol(reader, &state->dc[index]);
    if (bits > 15) {
        reader->failed = 1;
        return;
    }
    state->last[index] = (int16_t)(state->last[index] + jpeg_value(reader, bits));
    block[0] = (int16_t)((uint32_t)state->last[index] << scan->low);
}

static void jpeg_write_dc(jpeg_writer *writer, jpeg_state *state, const vlae_scan *scan, int index,
                          const int16_t *block)
{
    int32_t value = block[0] >> scan->low;
    if (scan->high) {
        jpeg_put(writer, (uint32_t)value & 1, 1);
        return;
    }
    int32_t change = value - state->last[index];
    int bits = jpeg_size(change);
    if (bits > 15) {
        writer->failed = 1;
        return;
    }
    state->last[index] = value;
    jpeg_put_symbol(writer, &state->dc[index], bits);
    jpeg_put_value(writer, change, bits);
}

/* The AC values of a sequential scan, or the first ones of a progressive one (G.1.2.2). */
static void jpeg_read_ac(jpeg_reader *reader, jpeg_state *state, const vlae_scan *scan, int index, int16_t *block)
{
    if (state->run) {
        state->run--;
        return;
    }
    for (int k = scan->begin ? scan->begin : 1; k <= scan->end; k++) {
        int symbol = jpeg_symbol(reader, &state->ac[index]), zeros = symbol >> 4, bits = symbol & 15;
        if (!bits && zeros < 15) {
            state->run = (int32_t)((1u << zeros) + jpeg_take(reader, zeros)) - 1;
            if (state->run && !scan->begin)
                reader->failed = 1; /* a sequential scan has no runs */
            return;
        }
        k += zeros;
        int32_t value = jpeg_value(reader, bits);
        if (k > scan->end || reader->failed) {
            reader->failed = 1;
            return;
        }
        if (bits)
            block[zigzag[k]] = (int16_t)((uint32_t)value << scan->low);
    }
}

static void jpeg_end_run(jpeg_writer *writer, jpeg_state *state)
{
    if (state->run) {
        int bits = jpeg_size(state->run) - 1;
        jpeg_put_symbol(writer, state->open, bits << 4);
        jpeg_put(writer, (uint32_t)state->run, bits);
        for (int i = 0; i < state->waiting; i++)
            jpeg_put(writer, state->corrections[i], 1);
    }
    state->run = state->waiting = 0;
}

static void jpeg_write_ac(jpeg_writer *writer, jpeg_state *state, const vlae_scan *scan, int index,
                          const int16_t *block)
{
    const jpeg_code *code = &state->ac[index];
    int zeros = 0;
    for (int k = scan->begin ? scan->begin : 1; k <= scan->end; k++) {
        int32_t value = block[zigzag[k]], shifted = value < 0 ? -(-value >> scan->low) : value >> scan->low;
        if (!shifted) {
            zeros++;
            continue;
        }
        jpeg_end_run(writer, state);
        for (; zeros > 15; zeros -= 16)
            jpeg_put_symbol(writer, code, 0xf0);
        int bits = jpeg_size(shifted);
        if (bits > 15) {
            writer->failed = 1;
            return;
        }
        jpeg_put_symbol(writer, code, zeros << 4 | bits);
        jpeg_put_value(writer, shifted, bits);
        zeros = 0;
    }
    if (zeros) {
        state->open = code;
        if (++state->run == LONGEST_RUN || !scan->begin)
            jpeg_end_run(writer, state);
    }
}

/* One more bit of AC values (G.1.2.3): of those that are not 0 a correction each, between them new ones. */
static void jpeg_read_refined(jpeg_reader *reader, jpeg_state *state, const vlae_scan *scan, int index, int16_t *block)
{
    int32_t one = 1 << scan->low;
    int k = scan->begin;
    while (k <= scan->end) {
        int zeros = 64, bits = 0, sign = 0;
        if (!state->run) {
            int symbol = jpeg_symbol(reader, &state->ac[index]);
            zeros = symbol >> 4;
            bits = symbol & 15;
            if (bits)
                sign = jpeg_take(reader, 1) ? 1 : -1;
            else if (zeros < 15) {
                state->run = (int32_t)((1u << zeros) + jpeg_take(reader, zeros));
                zeros = 64;
            }
            if (bits > 1)
                reader->failed = 1;
        }
        for (; k <= scan->end; k++) {
            int16_t *value = &block[zigzag[k]];
            if (*value) {
                if (jpeg_take(reader, 1))
                    *value = (int16_t)(*value + (*value < 0 ? -one : one));
            } else if (!zeros--)
                break;
        }
        if (reader->failed || (bits && k > scan->end)) {
            reader->failed = 1;
            return;
        }
        if (bits)
            block[zigzag[k]] = (int16_t)(sign * one);
        k++;
    }
    if (state->run)
        state->run--;
}

static void jpeg_write_refined(jpeg_writer *writer, jpeg_state *state, const vlae_scan *scan, int index,
                               const int16_t *block)
{
    const jpeg_code *code = &state->ac[index];
    int zeros = 0, last = 0, own = 0;
    int32_t magnitudes[64];
    uint8_t bits[64]; /* corrections of this block that are not written yet */
    for (int k = scan->begin; k <= scan->end; k++) {
        int32_t value = block[zigzag[k]];
        magnitudes[k] = (value < 0 ? -value : value) >> scan->low;
        if (magnitudes[k] == 1)
            last = k;
    }
    for (int k = scan->begin; k <= scan->end; k++) {
        int fresh = magnitudes[k] == 1;
        if (!magnitudes[k]) {
            zeros++;
            continue;
        }
        while ((zeros > 15 && k <= last) || fresh) {
            int skipped = zeros > 15;
            jpeg_end_run(writer, state);
            jpeg_put_symbol(writer, code, skipped ? 0xf0 : zeros << 4 | 1);
            if (!skipped)
                jpeg_put(writer, block[zigzag[k]] > 0, 1);
            for (int i = 0; i < own; i++)
                jpeg_put(writer, bits[i], 1);
            own = 0;
            zeros = skipped ? zeros - 16 : 0;
            fresh = fresh && skipped;
        }
        if (magnitudes[k] > 1)
            bits[own++] = magnitudes[k] & 1;
    }
    if (zeros || own) {
        memcpy(state->corrections + state->waiting, bits, (size_t)own);
        state->waiting += own;
        state->open = code;
        if (++state->run == LONGEST_RUN || state->waiting > CORRECTIONS - 63)
            jpeg_end_run(writer, state);
    }
}

/* ------------------------------------------------------------------------------------------------------- scans */

/* The end of an interval of restart: bits of padding, whose byte is 255 for ones, or as before if there are none. */
static void jpeg_end_interval(jpeg_reader *reader, jpeg_writer *writer, jpeg_state *state, uint8_t *padding)
{
    if (writer) {
        jpeg_end_run(writer, state);
        jpeg_put(writer, *padding, (8 - writer->count) & 7);
    } else {
        jpeg_fill(reader);
        int bits = reader->count & 7;
        uint32_t ones = (1u << bits) - 1, value = jpeg_take(reader, bits);
        if (reader->count || state->run)
            reader->failed = 1;
        if (bits)
            *padding = (uint8_t)(value == ones ? 255 : value);
    }
    state->run = 0;
    memset(state->last, 0, sizeof state->last);
}

static void jpeg_block(jpeg_reader *reader, jpeg_writer *writer, jpeg_state *state, const vlae_scan *scan, int index,
                       int16_t *block)
{
    if (!scan->begin) {
        if (writer)
            jpeg_write_dc(writer, state, scan, index, block);
        else
            jpeg_read_dc(reader, state, scan, index, block);
    }
    if (scan->end && writer)
        (scan->high ? jpeg_write_refined : jpeg_write_ac)(writer, state, scan, index, block);
    else if (scan->end)
        (scan->high ? jpeg_read_refined : jpeg_read_ac)(reader, state, scan, index, block);
}

/* Reads or writes all of a scan. padding: a byte of each interval. Returns 0, or VLAE_BOUND where the data, or the
 * coefficients, are no such scan. */
static inline int jpeg_scan(jpeg_reader *reader, jpeg_writer *writer, jpeg_state *state, const vlae_scan *scan,
                     uint8_t *padding)
{
    int64_t left = scan->interval, interval = 0;
    padding[0] = writer ? padding[0] : 255;
    for (int64_t row = 0; row < scan->rows; row++)
        for (int64_t column = 0; column < scan->columns; column++) {
            if (scan->interval && !left--) {
                uint32_t marker = 0xd0 | (interval & 7);
                jpeg_end_interval(reader, writer, state, &padding[interval++]);
                if (writer) {
                    jpeg_byte(writer, 0xff);
                    jpeg_byte(writer, marker);
                } else {
                    padding[interval] = padding[interval - 1];
                    if (reader->at + 2 > reader->size || reader->data[reader->at + 1] != marker)
                        return VLAE_BOUND;
                    reader->at += 2;
                }
                left = scan->interval - 1;
            }
            for (int index = 0; index < scan->count; index++) {
                const vlae_scan_component *component = &scan->components[index];
                for (int i = 0; i < component->h * component->v; i++) {
                    int64_t y = row * component->v + i / component->h, x = column * component->h + i % component->h;
                    int16_t *block = component->blocks + 64 * (y * component->columns + x);
                    jpeg_block(reader, writer, state, scan, index, block);
                }
            }
            if (writer ? writer->failed : reader->failed)
                return VLAE_BOUND;
        }
    jpeg_end_interval(reader, writer, state, &padding[interval]);
    return (writer ? writer->failed : reader->failed) ? VLAE_BOUND : 0;
}

#endif
