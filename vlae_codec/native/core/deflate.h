/* Deflate streams (RFC 1951) taken apart and put together again, bit for bit; `deflate.py` says what the parts are.
 *
 * A token is a uint32: 0 a literal, distance << 16 | length a match, and a number below 2^16 a stored block of so many
 * bytes. Length 259 is one of 258 in the longer of its two codes. A block is five int64: type, number of tokens, first
 * and last bit of its Huffman codes' description, and the bits of padding of a stored block.
 */
#ifndef VLAE_DEFLATE_H
#define VLAE_DEFLATE_H

#include "vlae.h"

#include <string.h>

enum { STORED, FIXED, DYNAMIC };
enum { LITERALS = 286, DISTANCES = 30, ORDERS = 19, END = 256, LONG_258 = 259, BLOCK_FIELDS = 5, CODES = 320 };

static const uint8_t lengths_order[ORDERS] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

static inline int log2_of(uint32_t x) /* x > 0 */
{
    return 31 - __builtin_clz(x);
}

/* The symbol of a length or a distance, how many bits follow it, and which. */
typedef struct {
    int symbol, extra;
    uint32_t value;
} vlae_part;

static inline vlae_part length_part(uint32_t length)
{
    uint32_t l = length == LONG_258 ? 255 : length - 3;
    if (length == 258)
        return (vlae_part){285, 0, 0};
    if (l < 8)
        return (vlae_part){257 + (int)l, 0, 0};
    int extra = log2_of(l) - 2;
    return (vlae_part){257 + 4 * extra + (int)(l >> extra), extra, l & ((1u << extra) - 1)};
}

static inline vlae_part distance_part(uint32_t distance)
{
    uint32_t d = distance - 1;
    if (d < 4)
        return (vlae_part){(int)d, 0, 0};
    int extra = log2_of(d) - 1;
    return (vlae_part){2 * extra + (int)(d >> extra), extra, d & ((1u << extra) - 1)};
}

static inline uint32_t length_of(uint32_t token) /* bytes that a match or a stored block covers */
{
    uint32_t length = token & 0xffff;
    return token >> 16 && length == LONG_258 ? 258 : length;
}

/* ------------------------------------------------------------------------------------------------------- bits */

typedef struct {
    const uint8_t *data;
    int64_t at, end; /* in bits */
    int failed;      /* more was read than there is */
} vlae_reader;

static inline uint32_t peek(const vlae_reader *reader, int bits) /* zeros behind the end */
{
    int64_t byte = reader->at >> 3, size = (reader->end + 7) >> 3;
    uint32_t word = 0;
    for (int i = 0; i < 4 && byte + i < size; i++)
        word |= (uint32_t)reader->data[byte + i] << 8 * i;
    return word >> (reader->at & 7) & ((1u << bits) - 1);
}

static inline void skip(vlae_reader *reader, int bits)
{
    reader->at += bits;
    if (reader->at > reader->end) {
        reader->at = reader->end;
        reader->failed = 1;
    }
}

static inline uint32_t take(vlae_reader *reader, int bits) /* at most 16 */
{
    uint32_t value = peek(reader, bits);
    skip(reader, bits);
    return value;
}

typedef struct {
    uint8_t *data;  /* NULL: the bits are only counted */
    int64_t at, room; /* in bits */
} vlae_writer;

static inline void put(vlae_writer *writer, uint32_t value, int bits) /* at most 16 */
{
    int64_t byte = writer->at >> 3;
    int shift = (int)(writer->at & 7);
    if (writer->data && writer->at + bits <= writer->room) {
        uint32_t word = (value & ((1u << bits) - 1)) << shift;
        if (shift == 0 && bits)
            writer->data[byte] = 0;
        if (bits)
            writer->data[byte] |= (uint8_t)word;
        if (shift + bits > 8)
            writer->data[byte + 1] = (uint8_t)(word >> 8);
        if (shift + bits > 16)
            writer->data[byte + 2] = (uint8_t)(word >> 16);
    }
    writer->at += bits;
}

/* ------------------------------------------------------------------------------------------------------- Huffman codes */

typedef struct {
    uint16_t counts[16], sorted[CODES]; /* symbols by length, then by number */
    uint16_t firsts[16], offsets[16];
} vlae_decoder;

/* Returns 0 for lengths that no code has: more than fit. Codes that leave words unused are taken. */
static inline int set_decoder(vlae_decoder *decoder, const uint8_t *lengths, int count)
{
    int left = 1, code = 0, offset = 0;
    memset(decoder, 0, sizeof *decoder);
    for (int i = 0; i < count; i++)
        decoder->counts[lengths[i]]++;
    decoder->counts[0] = 0;
    for (int bits = 1; bits < 16; bits++) {
        left = 2 * left - decoder->counts[bits];
        if (left < 0)
            return 0;
        decoder->firsts[bits] = (uint16_t)code;
        decoder->offsets[bits] = (uint16_t)offset;
        code = (code + decoder->counts[bits]) << 1;
        offset += decoder->counts[bits];
    }
    uint16_t next[16];
    memcpy(next, decoder->offsets, sizeof next);
    for (int i = 0; i < count; i++)
        if (lengths[i])
            decoder->sorted[next[lengths[i]]++] = (uint16_t)i;
    return 1;
}

static inline int take_symbol(vlae_reader *reader, const vlae_decoder *decoder) /* below 0: no symbol has the bits */
{
    uint32_t word = peek(reader, 15);
    int code = 0;
    for (int bits = 1; bits < 16; bits++, word >>= 1) {
        code = code << 1 | (int)(word & 1);
        int rank = code - decoder->firsts[bits];
        if (rank >= 0 && rank < decoder->counts[bits]) {
            skip(reader, bits);
            return reader->failed ? -1 : decoder->sorted[decoder->offsets[bits] + rank];
        }
    }
    return -1;
}

static inline void set_words(uint16_t *words, const uint8_t *lengths, int count) /* their first bit is the lowest one */
{
    int counts[16] = {0}, next[16] = {0};
    for (int i = 0; i < count; i++)
        counts[lengths[i]]++;
    counts[0] = 0;
    for (int bits = 1; bits < 16; bits++)
        next[bits] = (next[bits - 1] + counts[bits - 1]) << 1;
    for (int i = 0; i < count; i++) {
        int word = 0, code = lengths[i] ? next[lengths[i]]++ : 0;
        for (int bit = 0; bit < lengths[i]; bit++)
            word |= (code >> bit & 1) << (lengths[i] - 1 - bit);
        words[i] = (uint16_t)word;
    }
}

typedef struct {
    uint8_t literals[288], distances[32];
} vlae_lengths;

static inline void fixed_lengths(vlae_lengths *lengths)
{
    memset(lengths->literals, 8, 144);
    memset(lengths->literals + 144, 9, 112);
    memset(lengths->literals + 256, 7, 24);
    memset(lengths->literals + 280, 8, 8);
    memset(lengths->distances, 5, 32);
}

/* Reads the description of a block's codes; 0 where it is none. */
static inline int take_lengths(vlae_reader *reader, vlae_lengths *lengths)
{
    vlae_decoder decoder;
    uint8_t orders[ORDERS] = {0}, all[CODES + 138] = {0};
    int literals = 257 + (int)take(reader, 5), distances = 1 + (int)take(reader, 5), count = 4 + (int)take(reader, 4);
    if (literals > LITERALS)
        return 0;
    for (int i = 0; i < count; i++)
        orders[lengths_order[i]] = (uint8_t)take(reader, 3);
    if (reader->failed || !set_decoder(&decoder, orders, ORDERS))
        return 0;
    for (int i = 0; i < literals + distances;) {
        int symbol = take_symbol(reader, &decoder), again;
        if (symbol < 0)
            return 0;
        if (symbol < 16) {
            all[i++] = (uint8_t)symbol;
            continue;
        }
        if (symbol == 16 && i == 0)
            return 0;
        uint8_t value = symbol == 16 ? all[i - 1] : 0;
        again = symbol == 16 ? 3 + (int)take(reader, 2) : symbol == 17 ? 3 + (int)take(reader, 3) : 11 + (int)take(reader, 7);
        if (reader->failed || i + again > literals + distances)
            return 0;
        memset(all + i, value, (size_t)again);
        i += again;
    }
    memset(lengths, 0, sizeof *lengths);
    memcpy(lengths->literals, all, (size_t)literals);
    memcpy(lengths->distances, all + literals, (size_t)distances);
    return 1;
}

/* ------------------------------------------------------------------------------------------------------- zlib's codes */

/* Lengths of a Huffman code as zlib finds them: a binary heap by frequency and, among equals, by depth of the tree. The
 * result is the number of symbols up to the last used one. */
static inline int zlib_lengths(const uint32_t *given, int count, int limit, uint8_t *lengths)
{
    uint64_t weights[2 * LITERALS + 1];
    int heap[LITERALS + 2], parents[2 * LITERALS + 1], merged[2 * LITERALS + 1], counts[17] = {0};
    uint8_t depths[2 * LITERALS + 1] = {0}, bits[2 * LITERALS + 1] = {0};
    int size = 0, last = -1, taken = 0, node = count;
    memset(lengths, 0, (size_t)count);
    for (int i = 0; i < count; i++) {
        weights[i] = given[i];
        if (given[i])
            heap[++size] = last = i;
    }
    while (size < 2) { /* a code has two symbols at least */
        int i = last < 2 ? ++last : 0;
        weights[i] = 1;
        heap[++size] = i;
    }
#define LESS(a, b) (weights[a] < weights[b] || (weights[a] == weights[b] && depths[a] <= depths[b]))
#define SINK(from)                                                 \
    do {                                                           \
        int at = (from), moved = heap[at];                         \
        for (int child = 2 * at; child <= size; child = 2 * at) {  \
            if (child < size && LESS(heap[child + 1], heap[child])) \
                child++;                                           \
            if (LESS(moved, heap[child]))                          \
                break;                                             \
            heap[at] = heap[child];                                \
            at = child;                                            \
        }                                                          \
        heap[at] = moved;                                          \
    } while (0)
    for (int i = size / 2; i >= 1; i--)
        SINK(i);
    do {
        int first = heap[1], second;
        heap[1] = heap[size--];
        SINK(1);
        second = heap[1];
        merged[taken++] = first;
        merged[taken++] = second;
        weights[node] = weights[first] + weights[second];
        depths[node] = (uint8_t)((depths[first] > depths[second] ? depths[first] : depths[second]) + 1);
        parents[first] = parents[second] = node;
        heap[1] = node++;
        SINK(1);
    } while (size >= 2);
#undef SINK
#undef LESS
    int overflow = 0;
    for (int i = taken - 1; i >= 0; i--) { /* from the root down */
        int n = merged[i], depth = bits[parents[n]] + 1;
        if (depth > limit) {
            depth = limit;
            overflow++;
        }
        bits[n] = (uint8_t)depth;
        if (n < count) {
            lengths[n] = (uint8_t)depth;
            counts[depth]++;
        }
    }
    if (overflow == 0)
        return last + 1;
    for (; overflow > 0; overflow -= 2) {
        int depth = limit - 1;
        while (counts[depth] == 0)
            depth--;
        counts[depth]--;
        counts[depth + 1] += 2;
        counts[limit]--;
    }
    for (int depth = limit, i = 0; depth > 0; depth--)
        for (int n = counts[depth]; n > 0 && i < taken; i++)
            if (merged[i] < count) {
                lengths[merged[i]] = (uint8_t)depth;
                n--;
            }
    return last + 1;
}

/* Run lengths of code lengths as zlib writes them: symbols and the numbers behind them. The result is how many. */
static inline int zlib_runs(const uint8_t *lengths, int count, uint8_t *symbols, uint8_t *numbers)
{
    int made = 0;
    for (int i = 0; i < count;) {
        int value = lengths[i], run = 1, changed = i == 0 || lengths[i - 1] != value;
        int most = value == 0 ? 138 : changed ? 7 : 6;
        while (i + run < count && run < most && lengths[i + run] == value)
            run++;
        i += run;
        int plainly = run < (value && changed ? 4 : 3) ? run : value && changed; /* so many without run lengths */
        for (int k = 0; k < plainly; k++) {
            symbols[made] = (uint8_t)value;
            numbers[made++] = 0;
        }
        run -= plainly;
        if (run == 0)
            continue;
        symbols[made] = value ? 16 : run <= 10 ? 17 : 18;
        numbers[made++] = (uint8_t)(run - (value || run <= 10 ? 3 : 11));
    }
    return made;
}

static inline void count_symbols(const uint8_t *plain, const uint32_t *tokens, int64_t count, uint32_t *literals,
                                 uint32_t *distances)
{
    memset(literals, 0, LITERALS * sizeof *literals);
    memset(distances, 0, DISTANCES * sizeof *distances);
    literals[END] = 1;
    for (int64_t i = 0; i < count; i++) {
        if (tokens[i] == 0) {
            literals[*plain++]++;
            continue;
        }
        literals[length_part(tokens[i] & 0xffff).symbol]++;
        distances[distance_part(tokens[i] >> 16).symbol]++;
        plain += length_of(tokens[i]);
    }
}

/* Writes the description of a block's codes as zlib chooses them. The tokens are literals and matches. */
static inline void put_zlib_lengths(vlae_writer *writer, const uint8_t *plain, const uint32_t *tokens, int64_t count)
{
    static const uint8_t extra[ORDERS] = {[16] = 2, [17] = 3, [18] = 7};
    uint32_t literals[LITERALS], distances[DISTANCES], orders[ORDERS] = {0};
    uint8_t lengths[2][LITERALS], order_lengths[ORDERS], symbols[CODES], numbers[CODES];
    uint16_t words[ORDERS];
    count_symbols(plain, tokens, count, literals, distances);
    int first = zlib_lengths(literals, LITERALS, 15, lengths[0]), made;
    int second = zlib_lengths(distances, DISTANCES, 15, lengths[1]), last = ORDERS - 1;
    made = zlib_runs(lengths[0], first, symbols, numbers);
    made += zlib_runs(lengths[1], second, symbols + made, numbers + made);
    for (int i = 0; i < made; i++)
        orders[symbols[i]]++;
    zlib_lengths(orders, ORDERS, 7, order_lengths);
    set_words(words, order_lengths, ORDERS);
    while (last > 3 && order_lengths[lengths_order[last]] == 0)
        last--;
    put(writer, (uint32_t)first - 257, 5);
    put(writer, (uint32_t)second - 1, 5);
    put(writer, (uint32_t)last - 3, 4);
    for (int i = 0; i <= last; i++)
        put(writer, order_lengths[lengths_order[i]], 3);
    for (int i = 0; i < made; i++) {
        put(writer, words[symbols[i]], order_lengths[symbols[i]]);
        put(writer, numbers[i], extra[symbols[i]]);
    }
}

/* ------------------------------------------------------------------------------------------------------- streams */

/* What a stream holds. The bits of padding behind the last block are its last field. */
typedef struct {
    int64_t size, plain, tokens, blocks, padding;
} vlae_extent;

static inline int inflate_tokens(const uint8_t *data, int64_t size, uint8_t *plain, int64_t plain_room, uint32_t *tokens,
                                 int64_t token_room, int64_t *blocks, int64_t block_room, vlae_extent *extent)
{
    vlae_reader reader = {data, 0, 8 * size, 0};
    vlae_lengths lengths;
    vlae_decoder literals, distances;
    int64_t p = 0, n = 0, b = 0;
    for (uint32_t final = 0; !final; b++) {
        int64_t *block = blocks + BLOCK_FIELDS * b, before = n;
        if (b >= block_room)
            return VLAE_ARGUMENT;
        final = take(&reader, 1);
        block[0] = take(&reader, 2);
        block[1] = block[2] = block[3] = block[4] = 0;
        if (reader.failed)
            return VLAE_EMPTY;
        if (block[0] == STORED) {
            block[4] = take(&reader, (int)(-reader.at & 7));
            uint32_t length = take(&reader, 16), inverse = take(&reader, 16);
            if (reader.failed || length > (uint64_t)(reader.end - reader.at) / 8)
                return VLAE_EMPTY;
            if ((length ^ inverse) != 0xffff)
                return VLAE_BOUND;
            if (length > plain_room - p || (length && n >= token_room))
                return VLAE_ARGUMENT;
            if (length) {
                memcpy(plain + p, data + reader.at / 8, length);
                tokens[n++] = length;
                block[1] = 1;
            }
            p += length;
            reader.at += 8 * (int64_t)length;
            continue;
        }
        if (block[0] > DYNAMIC)
            return VLAE_BOUND;
        fixed_lengths(&lengths);
        block[2] = reader.at;
        if (block[0] == DYNAMIC && !take_lengths(&reader, &lengths))
            return reader.failed ? VLAE_EMPTY : VLAE_BOUND;
        block[3] = reader.at;
        if (!set_decoder(&literals, lengths.literals, 288) || !set_decoder(&distances, lengths.distances, 32))
            return VLAE_BOUND;
        for (;;) {
            int symbol = take_symbol(&reader, &literals);
            if (symbol == END)
                break;
            if (symbol < 0 || symbol > 285)
                return reader.failed ? VLAE_EMPTY : VLAE_BOUND;
            if (n >= token_room || p >= plain_room)
                return VLAE_ARGUMENT;
            if (symbol < END) {
                plain[p++] = (uint8_t)symbol;
                tokens[n++] = 0;
                continue;
            }
            int i = symbol - 257, extra = i < 8 || i == 28 ? 0 : (i - 4) / 4;
            uint32_t length = i < 8 ? 3 + (uint32_t)i : 3 + ((4 + (uint32_t)i % 4) << extra) + take(&reader, extra);
            length = i == 28 ? 258 : i == 27 && length == 258 ? LONG_258 : length;
            int d = take_symbol(&reader, &distances);
            if (d < 0 || d >= DISTANCES)
                return reader.failed ? VLAE_EMPTY : VLAE_BOUND;
            extra = d < 4 ? 0 : (d - 2) / 2;
            uint32_t distance = d < 4 ? 1 + (uint32_t)d : 1 + ((2 + (uint32_t)d % 2) << extra) + take(&reader, extra);
            uint32_t token = distance << 16 | length, covered = length_of(token);
            if (reader.failed)
                return VLAE_EMPTY;
            if (distance > p)
                return VLAE_BOUND;
            if (covered > plain_room - p)
                return VLAE_ARGUMENT;
            for (uint32_t k = 0; k < covered; k++, p++)
                plain[p] = plain[p - distance];
            tokens[n++] = token;
        }
        block[1] = n - before;
    }
    extent->padding = take(&reader, (int)(-reader.at & 7));
    *extent = (vlae_extent){reader.at / 8, p, n, b, extent->padding};
    return VLAE_OK;
}

/* Where block descriptions are not zlib's, the bits of `described` from block[2] to block[3] are; block[2] < 0 else. */
static inline int64_t write_blocks(const uint8_t *plain, int64_t size, const uint32_t *tokens, int64_t count,
                                   const int64_t *blocks, int64_t block_count, const uint8_t *described,
                                   int64_t described_size, uint32_t padding, vlae_writer *writer)
{
    const uint8_t *end = plain + size;
    vlae_lengths lengths;
    uint16_t words[288], distance_words[32];
    for (int64_t b = 0; b < block_count; b++) {
        const int64_t *block = blocks + BLOCK_FIELDS * b;
        int64_t n = block[1], covered = 0;
        if (block[0] < STORED || block[0] > DYNAMIC || n < 0 || n > count || (block[0] == STORED && n > 1))
            return VLAE_EMPTY;
        for (int64_t i = 0; i < n; i++) {
            int match = tokens[i] >> 16 != 0;
            uint32_t length = tokens[i] & 0xffff;
            if (block[0] == STORED ? match || length == 0 : match ? length < 3 || length > LONG_258 : length != 0)
                return VLAE_EMPTY;
            if (match && tokens[i] >> 16 > 32768)
                return VLAE_EMPTY;
            covered += match || length ? length_of(tokens[i]) : 1;
        }
        if (covered > end - plain)
            return VLAE_EMPTY;
        put(writer, b + 1 == block_count, 1);
        put(writer, (uint32_t)block[0], 2);
        if (block[0] == STORED) {
            put(writer, (uint32_t)block[4], (int)(-writer->at & 7));
            put(writer, (uint32_t)covered, 16);
            put(writer, (uint32_t)covered ^ 0xffff, 16);
            if (writer->data && covered <= (writer->room - writer->at) / 8)
                memcpy(writer->data + writer->at / 8, plain, (size_t)covered);
            writer->at += 8 * covered;
            plain += covered;
            tokens += n;
            count -= n;
            continue;
        }
        fixed_lengths(&lengths);
        if (block[0] == DYNAMIC) {
            uint8_t made[1024] = {0}; /* 14 + 19 * 3 + 316 * 14 bits at most */
            vlae_writer own = {made, 0, 8 * sizeof made};
            vlae_reader reader = {described, block[2], block[3], 0};
            if (block[2] < 0) {
                put_zlib_lengths(&own, plain, tokens, n);
                reader = (vlae_reader){made, 0, own.at, 0};
            } else if (block[3] < block[2] || block[3] > 8 * described_size)
                return VLAE_EMPTY;
            vlae_reader copied = reader;
            if (!take_lengths(&reader, &lengths) || reader.at != reader.end)
                return VLAE_EMPTY;
            while (copied.at < copied.end) {
                int bits = copied.end - copied.at < 16 ? (int)(copied.end - copied.at) : 16;
                put(writer, take(&copied, bits), bits);
            }
        }
        set_words(words, lengths.literals, 288);
        set_words(distance_words, lengths.distances, 32);
        for (int64_t i = 0; i < n; i++) {
            if (tokens[i] == 0) {
                put(writer, words[*plain], lengths.literals[*plain]);
                plain++;
                continue;
            }
            vlae_part length = length_part(tokens[i] & 0xffff), distance = distance_part(tokens[i] >> 16);
            put(writer, words[length.symbol], lengths.literals[length.symbol]);
            put(writer, length.value, length.extra);
            put(writer, distance_words[distance.symbol], lengths.distances[distance.symbol]);
            put(writer, distance.value, distance.extra);
            plain += length_of(tokens[i]);
        }
        put(writer, words[END], lengths.literals[END]);
        tokens += n;
        count -= n;
    }
    put(writer, padding, (int)(-writer->at & 7));
    return plain == end && count == 0 ? writer->at / 8 : VLAE_EMPTY;
}

#endif
