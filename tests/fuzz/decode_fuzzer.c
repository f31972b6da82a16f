/* A libFuzzer harness: it drives the core through the whole life of a tile, as tile.py, pixels.py and latents.py do.
 *
 *     python tests/fuzz/harness.py --minutes 5        builds it with clang and runs it
 *
 * The input's bytes choose a target, a scenario, a small model, a tile and a stack of words; a generator that they seed
 * goes on where they end. Tables are valid ones, since Python checks them. Weights are arbitrary: the core has to prove
 * its bounds or refuse. Every buffer is on the heap and exactly as long as the core is told.
 *
 * Beside what the sanitizers see, the harness aborts when a law does not hold: a network gives what its formula says,
 * whatever is popped can be pushed back to the very same stack, every interval is one, two targets give the same
 * integers, and a function that is given impossible numbers refuses them.
 */
#define _POSIX_C_SOURCE 200112L

#include "vlae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAW(condition)                                                              \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: a law does not hold: %s (target %s)\n", __FILE__, __LINE__, #condition, \
                    vlae_target());                                                 \
            abort();                                                                \
        }                                                                           \
    } while (0)

enum { STRIDE = 4, TOTAL = 1 << VLAE_PRECISION, TARGETS_MOST = 16 };

static char names[256];
static const char *targets[TARGETS_MOST];
static uint32_t target_count;

/* ---------------------------------------------------------------------------------------------------- the input */

static const uint8_t *input;
static size_t input_left;
static uint64_t generator;

static uint32_t next_random(void)
{
    generator ^= generator << 13;
    generator ^= generator >> 7;
    generator ^= generator << 17;
    return (uint32_t)(generator * 0x2545f4914f6cdd1du >> 32);
}

static uint32_t take_byte(void)
{
    if (!input_left)
        return next_random() & 255;
    input_left--;
    return *input++;
}

static uint32_t take_word(void)
{
    uint32_t word = take_byte();
    return word << 24 | take_byte() << 16 | take_byte() << 8 | take_byte();
}

static int32_t take_between(int32_t low, int32_t high)
{
    return low + (int32_t)(take_byte() % (uint32_t)(high - low + 1));
}

/* True once in so many times. */
static int is_rare(uint32_t times)
{
    return take_byte() % times == times - 1;
}

/* A number that checks may forget. */
static int64_t take_odd(void)
{
    int64_t near = take_between(-2, 2);
    switch (take_byte() % 4) {
    case 0:
        return near;
    case 1:
        return (int64_t)(((uint64_t)1 << take_between(0, 63)) + (uint64_t)near);
    case 2:
        return near < 0 ? INT64_MIN - near : INT64_MAX - near;
    default:
        return -((int64_t)1 << take_between(0, 62));
    }
}

static int32_t take_odd32(void)
{
    int64_t value = take_odd();
    return take_byte() % 8 ? (int32_t)(value < INT32_MIN ? INT32_MIN : value > INT32_MAX ? INT32_MAX : value)
                           : (int32_t)(uint32_t)take_word();
}

/* ---------------------------------------------------------------------------------------------------- memory */

static void *held[512];
static int held_count;

static void *hold(int64_t size, size_t alignment)
{
    void *memory = NULL;
    LAW(size >= 0 && size < 1 << 26 && held_count < (int)(sizeof held / sizeof *held));
    if (alignment)
        LAW(posix_memalign(&memory, alignment, (size_t)size) == 0);
    else
        memory = malloc((size_t)size);
    LAW(memory);
    held[held_count++] = memory;
    return memory;
}

static void *hold_zeros(int64_t size)
{
    return memset(hold(size, 0), 0, (size_t)size);
}

static void *hold_bytes(int64_t size)
{
    uint8_t *memory = hold(size, 0);
    for (int64_t i = 0; i < size; i++)
        memory[i] = (uint8_t)next_random();
    return memory;
}

static void *hold_copy(const void *from, int64_t size)
{
    return memcpy(hold(size, 0), from, (size_t)size);
}

static void release_all(void)
{
    while (held_count)
        free(held[--held_count]);
}

static uint64_t digest;

static void note(const void *data, int64_t size)
{
    for (int64_t i = 0; i < size; i++)
        digest = (digest ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
}

static void note_number(int64_t number)
{
    note(&number, sizeof number);
}

/* ---------------------------------------------------------------------------------------------------- tables */

static vlae_tables tables[3]; /* of an exported model; of jumps; of ends of all ranges that Python accepts */

static void make_tables(void)
{
    for (int t = 0; t < 3; t++) {
        int32_t *sigmoid = malloc(4 * (2 * VLAE_SIGMOID_HALF + 1)), *exponential = malloc(4 * VLAE_EXP_ENTRIES);
        int64_t *inverse = malloc(8 * VLAE_SCALES), *scale = malloc(8 * VLAE_OUTER_SCALES);
        int64_t *outer_inverse = malloc(8 * VLAE_OUTER_SCALES);
        for (int i = -VLAE_SIGMOID_HALF; i <= VLAE_SIGMOID_HALF; i++) {
            double exact = 1 / (1 + exp(-i / 256.0));
            if (i == -VLAE_SIGMOID_HALF || i == VLAE_SIGMOID_HALF)
                exact = i > 0;
            sigmoid[i + VLAE_SIGMOID_HALF] = (int32_t)lrint((1 << VLAE_SIGMOID_BITS) * (t == 1 ? i >= 0 : exact));
        }
        for (int i = 0; i < VLAE_EXP_ENTRIES; i++)
            exponential[i] = (int32_t)fmax(1, rint((1 << VLAE_WEIGHT_BITS) * (t == 1 ? i % 2 : exp(-i / 32.0))));
        for (int i = 0; i < VLAE_OUTER_SCALES; i++) {
            double exact = pow(2, i / 16.0 - 4);
            if (i < VLAE_SCALES)
                inverse[i] = t == 2 ? i % 3 ? 1 << 22 : 1 : lrint((1 << 18) / exact);
            scale[i] = t == 2 ? i % 2 || i == VLAE_OUTER_IDENTITY ? 1 << 24 : 1 : lrint((1 << 16) * exact);
            outer_inverse[i] = t == 2 ? i % 5 ? 1 << 20 : 1 : lrint((1 << 16) / exact);
        }
        tables[t] = (vlae_tables){sigmoid, exponential, inverse, scale, outer_inverse};
    }
}

/* ---------------------------------------------------------------------------------------------------- networks */

typedef struct {
    vlae_layer layers[VLAE_MAX_LAYERS];
    int count, skip;
    void *memory;
    int64_t size;
} network;

static int32_t parameter_count(int32_t mixtures, int32_t channels, int coupled)
{
    return mixtures * (1 + 2 * channels + (coupled ? channels * (channels - 1) / 2 : 0));
}

/* Weights of a manner, and numbers that mostly lead to outputs of a useful size. */
static vlae_layer make_layer(int32_t inputs, int32_t outputs, int is_hidden)
{
    vlae_layer layer = {.inputs = inputs, .outputs = outputs, .digits = 1 + (int)(take_byte() & 1)};
    int64_t count = (int64_t)inputs * layer.digits * outputs;
    int8_t *weight = hold(count, 0);
    int64_t *multiplier = hold(8 * outputs, 0), *addend = hold(8 * outputs, 0);
    uint32_t manner = take_byte() % 6;
    for (int64_t i = 0; i < count; i++) {
        uint32_t r = next_random();
        weight[i] = (int8_t)(manner == 0   ? 0
                             : manner == 1 ? (int)(r % 7) - 3
                             : manner == 2 ? (int)(r % 41) - 20
                             : manner == 3 ? (r % 5 ? -128 : 127)
                             : manner == 4 ? (r >> 8) % 8 ? 0 : (int)(r & 255) - 128
                                           : (int)(r & 255) - 128);
    }
    for (int64_t i = 0; i < 4 && input_left; i++)
        weight[i % count] = (int8_t)take_byte();
    int bits = take_between(0, 20), wild = is_rare(8);
    layer.shift = wild ? take_between(0, 40) : bits + take_between(0, is_hidden ? 12 : 6);
    layer.shift += layer.digits == 2 && layer.shift <= 33 && !wild ? 7 : 0;
    int spread = wild ? take_between(0, 58) : layer.shift + take_between(0, is_hidden ? 7 : 12);
    spread = spread < 58 ? spread : 58;
    for (int32_t o = 0; o < outputs; o++) {
        multiplier[o] = ((int64_t)1 << bits) - (bits ? next_random() % (1u << (bits - 1)) : 0);
        uint64_t random = (uint64_t)next_random() << 32 | next_random();
        addend[o] = (int64_t)(random >> (63 - spread)) - ((int64_t)1 << spread);
    }
    if (is_rare(64)) {
        multiplier[take_byte() % (uint32_t)outputs] = take_odd();
        addend[take_byte() % (uint32_t)outputs] = take_odd();
    }
    layer.weight = weight;
    layer.multiplier = multiplier;
    layer.addend = addend;
    return layer;
}

/* The limits of a row of parameters; without channels those of an affine step of `outputs` / 2 channels. */
static void set_limits(vlae_layer *layer, int32_t mixtures, int32_t channels, int wild)
{
    int32_t *low = hold(4 * layer->outputs, 0), *high = hold(4 * layer->outputs, 0);
    for (int32_t o = 0; o < layer->outputs; o++) {
        if (!channels) {
            low[o] = o < layer->outputs / 2 ? -(1 << 15) : -32;
            high[o] = o < layer->outputs / 2 ? 1 << 15 : 63;
        } else {
            int32_t locations = mixtures * channels;
            int part = o < mixtures ? 0 : o < mixtures + locations ? 1 : o < mixtures + 2 * locations ? 2 : 3;
            static const int32_t limits[4] = {1 << 12, 1 << 15, VLAE_SCALES - 1, 1 << 10};
            low[o] = part == 2 ? 0 : -limits[part];
            high[o] = limits[part];
        }
        if (wild) {
            int32_t a = (int32_t)next_random(), b = (int32_t)next_random();
            low[o] = a < b ? a : b;
            high[o] = a < b ? b : a;
        }
    }
    layer->low = low;
    layer->high = high;
}

/* Packs with exactly the memory that the core asks for. 0 when it is refused, which must be for a bound. */
static int pack_network(network *net)
{
    net->size = vlae_pack_size(net->layers, net->count, net->skip);
    LAW(net->size > 0);
    net->memory = hold(net->size, 64);
    int result = vlae_pack(net->layers, net->count, net->skip, net->memory, net->size);
    LAW(result == VLAE_OK || result == VLAE_BOUND);
    note_number(result);
    return result == VLAE_OK;
}

/* Hidden layers and, with outputs, a last one that sees the inputs again. */
static network make_network(int32_t inputs, int hidden, int32_t widest, int32_t outputs)
{
    network net = {.skip = hidden > 0 && outputs};
    int32_t at = inputs;
    for (int i = 0; i < hidden; i++) {
        int32_t width = take_between(1, widest);
        net.layers[net.count++] = make_layer(at, width, 1);
        at = width;
    }
    if (outputs)
        net.layers[net.count++] = make_layer(at + (net.skip ? inputs : 0), outputs, 0);
    return net;
}

static void *run_network(const network *net, const int8_t *rows, int64_t n)
{
    const vlae_layer *last = &net->layers[net->count - 1];
    int64_t scratch_size = vlae_scratch_size(net->memory, net->size, 0, 1, 1), size = n * last->outputs;
    LAW(scratch_size > 0);
    void *out = hold(last->low ? 4 * size : size, 0), *scratch = hold(scratch_size, 64);
    LAW(vlae_run(net->memory, net->size, rows, n, out, scratch, scratch_size) == VLAE_OK);
    note(out, last->low ? 4 * size : size);
    return out;
}

/* What a network gives by its formula. */
static void check_run(const network *net, const int8_t *rows, int64_t n, const void *found)
{
    const int32_t inputs = net->layers[0].inputs;
    for (int64_t r = 0; r < n; r++) {
        int32_t values[2][VLAE_MAX_WIDTH], *now = values[0], *next = values[1];
        for (int32_t j = 0; j < inputs; j++)
            now[j] = rows[r * inputs + j];
        for (int i = 0; i < net->count; i++) {
            const vlae_layer *layer = &net->layers[i];
            int32_t before = layer->inputs;
            if (net->skip && i == net->count - 1)
                for (int32_t j = 0; j < inputs; j++)
                    now[before - inputs + j] = rows[r * inputs + j];
            for (int32_t o = 0; o < layer->outputs; o++) {
                int64_t sum = 0;
                for (int32_t j = 0; j < before; j++) {
                    const int8_t *w = layer->weight + (int64_t)j * layer->digits * layer->outputs + o;
                    sum += now[j] * (layer->digits == 2 ? w[0] * 128 + w[layer->outputs] : w[0]);
                }
                int64_t low = layer->low ? layer->low[o] : -128, high = layer->high ? layer->high[o] : 127;
                int64_t value = (sum * layer->multiplier[o] + layer->addend[o]) >> layer->shift;
                next[o] = (int32_t)(value < low ? low : value > high ? high : value);
            }
            int32_t *other = now;
            now = next;
            next = other;
        }
        const vlae_layer *last = &net->layers[net->count - 1];
        for (int32_t o = 0; o < last->outputs; o++) {
            int64_t at = r * last->outputs + o;
            LAW(now[o] == (last->low ? ((const int32_t *)found)[at] : ((const int8_t *)found)[at]));
        }
    }
}

/* ---------------------------------------------------------------------------------------------------- stacks */

static vlae_stack make_stack(int64_t lanes, int64_t size)
{
    vlae_stack stack = {hold(8 * lanes, 0), hold(4 * size, 0), lanes, size, size};
    uint32_t manner = take_byte() % 4;
    for (int64_t i = 0; i < lanes; i++) {
        uint64_t high = manner ? take_word() : 1, low = manner == 1 ? 0 : take_word();
        stack.heads[i] = (high ? high : 1) << 32 | low;
    }
    for (int64_t i = 0; i < size; i++)
        stack.words[i] = manner == 3 ? next_random() : take_word();
    return stack;
}

/* The stack with room for so many words more, exactly, in memory of its own. */
static vlae_stack grow(const vlae_stack *stack, int64_t more)
{
    vlae_stack grown = *stack;
    grown.room = stack->size + more;
    grown.heads = hold_copy(stack->heads, 8 * stack->lanes);
    grown.words = hold(4 * grown.room, 0);
    memcpy(grown.words, stack->words, 4 * (size_t)stack->size);
    return grown;
}

static void note_stack(const vlae_stack *stack)
{
    note(stack->heads, 8 * stack->lanes);
    note(stack->words, 4 * stack->size);
}

static int are_same(const vlae_stack *a, const vlae_stack *b)
{
    return a->lanes == b->lanes && a->size == b->size && !memcmp(a->heads, b->heads, 8 * (size_t)a->lanes) &&
           !memcmp(a->words, b->words, 4 * (size_t)a->size);
}

typedef struct {
    uint32_t *starts, *freqs;
    int64_t n;
    int32_t channels;
} spans;

static spans make_spans(int64_t n, int32_t channels)
{
    return (spans){hold_zeros(4 * n * channels), hold_zeros(4 * n * channels), n, channels};
}

/* Each of the coded channels has an interval that can be coded. */
static void check_spans(const spans *found, int32_t coded)
{
    int64_t *each = hold(8 * found->n, 0), total = 0;
    for (int64_t i = 0; i < found->n * found->channels; i++)
        if (i % found->channels < coded)
            LAW(found->freqs[i] >= 1 && found->freqs[i] <= TOTAL && found->starts[i] <= TOTAL - found->freqs[i]);
    int64_t sum = vlae_costs(found->freqs, found->n, found->channels, coded, each);
    for (int64_t i = 0; i < found->n; i++)
        total += each[i];
    LAW(sum >= 0 && sum == total);
    note(found->starts, 4 * found->n * found->channels);
    note_number(sum);
}

static void push_spans(vlae_stack *stack, const spans *given, int32_t rows, int32_t width, int32_t slope, int32_t coded)
{
    *stack = grow(stack, (int64_t)rows * width * coded);
    LAW(vlae_push_region(stack, given->starts, given->freqs, rows, width, slope, given->channels, coded) == VLAE_OK);
    note_stack(stack);
}

/* ---------------------------------------------------------------------------------------------------- a tile */

typedef struct {
    network local, steps[3], encoder, topdown;
    vlae_pixels pixels;
    vlae_prior prior;
    uint8_t *null; /* (STRIDE, STRIDE, features) */
    int32_t channels, latents, coded;
    int wild; /* outputs have other limits than those of parameters: no law but that memory is safe */
} model;

static int32_t take_mixtures(void)
{
    uint32_t which = take_byte() % 16;
    return which == 15 ? take_between(1, 20) : which > 9 ? 5 : (int32_t)(which % 4) + 1;
}

static int make_pixels(model *m)
{
    vlae_pixels *p = &m->pixels;
    *p = (vlae_pixels){.channels = m->channels, .mixtures = take_mixtures(), .levels = 256};
    p->wide = take_byte() % 2 ? 5 : 3;
    p->up = take_between(1, 2);
    p->features = take_between(0, 9);
    if (is_rare(4)) {
        p->levels = 2;
        p->stretch = 6;
    } else if (is_rare(3)) {
        p->levels = is_rare(2) ? take_between(2, 1 << 16) : take_between(2, 300);
        p->shift = take_between(0, VLAE_MAX_SHIFT);
    }
    p->tables = tables[is_rare(4) ? take_between(1, 2) : 0];
    int32_t inputs = (p->up * p->wide + p->wide / 2 + 1) * p->channels + p->features;
    int32_t outputs = parameter_count(p->mixtures, p->channels, 1);
    m->local = make_network(inputs, take_between(0, 2), is_rare(16) ? 80 : 20, outputs);
    set_limits(&m->local.layers[m->local.count - 1], p->mixtures, p->channels, m->wild);
    if (!pack_network(&m->local))
        return 0;
    p->net = m->local.memory;
    p->net_size = m->local.size;
    return 1;
}

static int make_prior(model *m)
{
    vlae_prior *p = &m->prior;
    *p = (vlae_prior){.channels = m->latents, .mixtures = 1, .slope = 2, .window_size = take_between(1, 4)};
    p->tables = tables[is_rare(4) ? take_between(1, 2) : 0];
    int64_t *window = hold(16 * p->window_size, 0);
    static const int64_t places[4][2] = {{0, -1}, {-1, 0}, {-1, 1}, {-1, -1}};
    memcpy(window, places, 16 * (size_t)p->window_size);
    p->window = window;
    if (is_rare(4)) { /* no flow step */
        vlae_layer row = {.outputs = p->columns = parameter_count(1, p->channels, 0)};
        set_limits(&row, 1, p->channels, m->wild);
        int32_t *base = hold(4 * p->columns, 0);
        for (int32_t i = 0; i < p->columns; i++)
            base[i] = m->wild ? (int32_t)next_random()
                              : row.low[i] + (int32_t)(next_random() % (uint32_t)(row.high[i] - row.low[i] + 1));
        p->base = base;
        return 1;
    }
    p->affine = take_between(0, 2);
    p->mixtures = take_between(1, 3);
    for (int t = 0; t <= p->affine; t++) {
        int32_t outputs = t < p->affine ? 2 * p->channels : parameter_count(p->mixtures, p->channels, 1);
        network *net = &m->steps[t];
        *net = make_network(p->window_size * p->channels, t < p->affine ? 1 : take_between(0, 2), 12, outputs);
        set_limits(&net->layers[net->count - 1], p->mixtures, t < p->affine ? 0 : p->channels, m->wild);
        if (!pack_network(net))
            return 0;
        p->nets[t] = net->memory;
        p->net_sizes[t] = net->size;
        p->columns = outputs > p->columns ? outputs : p->columns;
    }
    return 1;
}

static int64_t sample_size(const model *m)
{
    return m->pixels.levels > 256 ? 2 : 1;
}

static vlae_tile make_tile(const model *m, int32_t height, int32_t width, int32_t period)
{
    int64_t x_size = (int64_t)height * width * m->channels * sample_size(m) + VLAE_SLACK;
    int64_t context_size = (int64_t)period * width * m->pixels.features + VLAE_SLACK;
    return (vlae_tile){hold_zeros(x_size), hold_bytes(context_size), x_size, context_size, height, width, period};
}

/* Band `first` .. `last` of a tile, popped. 0 when the stack ran out. */
static int pop_band(const model *m, vlae_tile *tile, int32_t first, int32_t last, vlae_stack *stack)
{
    int64_t size = vlae_scratch_size(m->local.memory, m->local.size, last - first, stack->lanes, m->channels);
    LAW(size > 0);
    *stack = grow(stack, 0);
    int result = vlae_pop_band(&m->pixels, tile, first, last, m->coded, stack, hold(size, 64), size);
    LAW(result == VLAE_OK || result == VLAE_EMPTY);
    note_stack(stack);
    note(tile->x, tile->x_size);
    return result == VLAE_OK;
}

/* Pushes the band back. */
static void push_band(const model *m, const vlae_tile *tile, int32_t first, int32_t last, vlae_stack *stack)
{
    int64_t size = vlae_scratch_size(m->local.memory, m->local.size, 0, 1, m->channels);
    int64_t n = (last - first) * tile->width;
    void *scratch = hold(size, 64);
    spans found = make_spans(n, m->channels), again = make_spans(n, m->channels);
    int result = vlae_band_intervals(&m->pixels, tile, NULL, (int64_t)first * tile->width, n, m->coded, found.starts,
                                     found.freqs, scratch, size);
    LAW(result == VLAE_OK);
    check_spans(&found, m->coded);
    if (is_rare(4) && n) {
        int64_t *positions = hold(8 * n, 0);
        for (int64_t i = 0; i < n; i++)
            positions[i] = (int64_t)first * tile->width + i;
        result = vlae_band_intervals(&m->pixels, tile, positions, 0, n, m->coded, again.starts, again.freqs, scratch,
                                     size);
        LAW(result == VLAE_OK && !memcmp(found.starts, again.starts, 4 * (size_t)(n * m->channels)));
        uint8_t *rows = hold(n * m->local.layers[0].inputs, 0);
        uint8_t *references = hold(n * m->channels * sample_size(m), 0);
        int32_t *shifts = hold(4 * n, 0);
        LAW(vlae_pixel_rows(&m->pixels, tile, positions, n, rows, references, shifts) == VLAE_OK);
        note(rows, n * m->local.layers[0].inputs);
        note(references, n * m->channels * sample_size(m));
        note(shifts, 4 * n);
    }
    push_spans(stack, &found, last - first, tile->width, m->pixels.wide / 2 + 1, m->coded);
}

static int pop_latents(const model *m, uint8_t *z, int32_t height, int32_t width, vlae_stack *stack)
{
    int64_t size = vlae_prior_scratch(&m->prior, height, width, stack->lanes);
    LAW(size > 0);
    *stack = grow(stack, 0);
    int result = vlae_pop_prior(&m->prior, z, height, width, stack, hold(size, 64), size);
    LAW(result == VLAE_OK || result == VLAE_EMPTY);
    note_stack(stack);
    note(z, (int64_t)height * width * m->latents);
    return result == VLAE_OK;
}

static void push_latents(const model *m, const uint8_t *z, int32_t height, int32_t width, vlae_stack *stack)
{
    int64_t size = vlae_prior_scratch(&m->prior, height, width, 1);
    spans found = make_spans((int64_t)height * width, m->latents);
    int result = vlae_prior_intervals(&m->prior, z, height, width, found.starts, found.freqs, hold(size, 64), size);
    LAW(result == VLAE_OK);
    check_spans(&found, m->latents);
    push_spans(stack, &found, height, width, m->prior.slope, m->latents);
}

/* The distribution of latents given pixels, by a network of patches. */
static vlae_rows posterior(const model *m, const vlae_tile *tile, int32_t height, int32_t width)
{
    const int32_t side = 16 * m->channels, c = m->latents;
    int64_t cells = (int64_t)height * width;
    int8_t *rows = hold(cells * side, 0);
    const uint8_t *samples = tile->x;
    for (int64_t i = 0; i < cells; i++)
        for (int32_t j = 0; j < side; j++) {
            int64_t row = i / width * STRIDE + j / (4 * m->channels), column = i % width * STRIDE + j / m->channels % 4;
            column = column < tile->width ? column : tile->width - 1;
            rows[i * side + j] = (int8_t)(samples[(row * tile->width + column) * m->channels + j % m->channels] ^ 128);
        }
    int32_t *offsets = hold(4 * cells * c, 0);
    for (int64_t i = 0; i < cells * c; i++)
        offsets[i] = (VLAE_LATENT_LEVELS / 2) << VLAE_LEVEL_BITS;
    return (vlae_rows){.params = run_network(&m->encoder, rows, cells), .offsets = offsets, .n = cells,
                       .columns = parameter_count(1, c, 0), .mixtures = 1, .channels = c, .levels = VLAE_LATENT_LEVELS,
                       .coded = c};
}

static void fuzz_tile(void)
{
    model m = {.channels = take_byte() % 2 ? 3 : 1, .latents = take_between(1, 3), .wild = is_rare(16)};
    m.coded = m.channels == 3 && is_rare(3) ? 1 : m.channels;
    if (!make_pixels(&m))
        return;
    int32_t height = take_between(1, 9), width = take_between(1, 9), split = take_between(0, height / STRIDE) * STRIDE;
    int32_t grid_height = split / STRIDE, grid_width = (width + STRIDE - 1) / STRIDE, cells = grid_height * grid_width;
    vlae_stack before = make_stack(is_rare(4) ? take_between(6, 20) : take_between(1, 3),
                                   is_rare(3) ? take_between(0, 10) : take_between(0, 250));
    vlae_stack stack = before;
    vlae_tile upper = {0};
    uint8_t *z = hold_zeros(cells * m.latents);
    if (cells) {
        m.encoder = make_network(16 * m.channels, 0, 1, parameter_count(1, m.latents, 0));
        set_limits(&m.encoder.layers[0], 1, m.latents, m.wild);
        if (!make_prior(&m) || !pack_network(&m.encoder) || !pop_latents(&m, z, grid_height, grid_width, &stack))
            return;
        upper = make_tile(&m, split, width, split);
        if (m.pixels.features) {
            m.topdown = make_network(m.latents, 1, 1, 0);
            m.topdown.layers[0] = make_layer(m.latents, m.pixels.features, 1);
            if (!pack_network(&m.topdown))
                return;
            int8_t *rows = hold(cells * m.latents, 0);
            for (int32_t i = 0; i < cells * m.latents; i++)
                rows[i] = (int8_t)((z[i] - 32) * 4);
            const uint8_t *features = run_network(&m.topdown, rows, cells);
            uint8_t *context = (uint8_t *)(uintptr_t)upper.context;
            for (int32_t i = 0; i < split * width; i++)
                for (int32_t f = 0; f < m.pixels.features; f++)
                    context[i * m.pixels.features + f] =
                        features[(i / width / STRIDE * grid_width + i % width / STRIDE) * m.pixels.features + f] ^ 128;
        }
        if (!pop_band(&m, &upper, 0, split, &stack))
            return;
    }
    vlae_rows rows = {0};
    if (cells) {
        rows = posterior(&m, &upper, grid_height, grid_width);
        spans found = make_spans(cells, m.latents);
        LAW(vlae_intervals(&rows, &m.prior.tables, z, found.starts, found.freqs) == VLAE_OK);
        check_spans(&found, m.latents);
        push_spans(&stack, &found, cells, 1, 0, m.latents);
    }
    int32_t skip = is_rare(2) ? split : split < STRIDE ? split : STRIDE; /* rows above band A that it comes with */
    vlae_tile lower = make_tile(&m, skip + height - split, width, STRIDE);
    if (cells)
        memcpy(lower.x, (uint8_t *)upper.x + (int64_t)(split - skip) * width * m.channels * sample_size(&m),
               (size_t)(skip * width * m.channels * sample_size(&m)));
    if (!pop_band(&m, &lower, skip, skip + height - split, &stack) || m.wild)
        return;
    push_band(&m, &lower, skip, skip + height - split, &stack);
    if (cells) {
        uint8_t *again = hold(cells * m.latents, 0);
        int64_t most = cells < stack.lanes ? cells : stack.lanes, size = (most / 8 + 1) * 4096;
        LAW(vlae_pop_rows(&rows, &m.prior.tables, &stack, 0, again, hold(size, 64), size) == VLAE_OK);
        LAW(!memcmp(again, z, (size_t)(cells * m.latents)));
        push_band(&m, &upper, 0, split, &stack);
        push_latents(&m, z, grid_height, grid_width, &stack);
    }
    LAW(are_same(&stack, &before));
}

/* ---------------------------------------------------------------------------------------------------- the others */

static void fuzz_network(void)
{
    int hidden = take_between(0, 3), with_outputs = hidden == 0 || take_byte() % 4;
    int32_t outputs = with_outputs ? is_rare(4) ? take_between(1, 200) : take_between(1, 40) : 0;
    int32_t inputs = is_rare(32) ? 900 + take_between(0, 255) : take_between(1, 40); /* around the bound of 2^24 */
    network net = make_network(inputs, hidden, is_rare(8) ? 130 : 40, inputs > 40 ? outputs % 3 : outputs);
    with_outputs = net.count > hidden;
    if (with_outputs)
        set_limits(&net.layers[net.count - 1], 1 + outputs / 8, 1, is_rare(4));
    if (!net.count || !pack_network(&net))
        return;
    int64_t n = is_rare(8) ? take_between(0, 70) : take_between(0, 7);
    const int8_t *rows = hold_bytes(n * net.layers[0].inputs);
    check_run(&net, rows, n, run_network(&net, rows, n));
}

/* Distributions of arbitrary parameters, and the plain coder. */
static void fuzz_rows(void)
{
    const vlae_tables *chosen = &tables[take_between(0, 2)];
    vlae_rows rows = {.n = take_between(0, 30), .mixtures = is_rare(32) ? 64 : take_mixtures(),
                      .channels = is_rare(16) ? 32 : take_between(1, 4), .coupled = (int)(take_byte() & 1),
                      .levels = is_rare(2) ? take_between(2, VLAE_MAX_LEVELS) : 1 << take_between(1, 8)};
    rows.coded = take_between(0, rows.channels);
    rows.columns = parameter_count(rows.mixtures, rows.channels, rows.coupled) + take_between(0, 3);
    int64_t cells = rows.n * rows.channels, count = rows.n * rows.columns;
    int32_t *params = hold(4 * count, 0), *offsets = hold(4 * cells, 0), *outers = hold(4 * cells, 0);
    vlae_layer limits = {.outputs = rows.columns};
    int wild = is_rare(4);
    set_limits(&limits, rows.mixtures, rows.channels, 0);
    for (int64_t i = 0; i < count; i++) {
        int32_t low = limits.low[i % rows.columns], high = limits.high[i % rows.columns];
        uint32_t r = next_random();
        int32_t inside = low + (int32_t)(r / 8 % (uint32_t)(high - low + 1));
        params[i] = wild ? (int32_t)r : r % 8 == 0 ? low : r % 8 == 1 ? high : inside;
    }
    for (int64_t i = 0; i < cells; i++) {
        offsets[i] = (int32_t)(next_random() % (2 * VLAE_OFFSET_LIMIT + 1)) - VLAE_OFFSET_LIMIT;
        offsets[i] >>= next_random() % 2 ? 8 : 0;
        outers[i] = (int32_t)(next_random() % VLAE_OUTER_SCALES);
    }
    rows.params = params;
    rows.offsets = offsets;
    rows.outers = is_rare(2) ? outers : NULL;
    int32_t *shifts = hold(4 * rows.n, 0);
    for (int64_t i = 0; i < rows.n; i++)
        shifts[i] = (int32_t)(next_random() % (VLAE_MAX_SHIFT + 1));
    rows.shifts = is_rare(2) ? shifts : NULL;
    int64_t lanes = is_rare(4) ? take_between(8, 40) : take_between(1, 4);
    int64_t phase = is_rare(8) ? take_odd() & INT64_MAX : 0;
    vlae_stack before = make_stack(lanes, is_rare(2) ? take_between(0, 255) : cells), stack = grow(&before, 0);
    int64_t size_of_all = rows.levels > 256 ? 2 * cells : cells;
    uint8_t *symbols = hold_zeros(size_of_all);
    int64_t most = rows.n < lanes ? rows.n : lanes, size = (most / 8 + 1) * 4096;
    int64_t popped = vlae_pop_rows(&rows, chosen, &stack, phase, symbols, hold(size, 64), size);
    LAW(popped == VLAE_OK || popped == VLAE_EMPTY);
    note_stack(&stack);
    note(symbols, size_of_all);
    spans found = make_spans(rows.n, rows.channels);
    LAW(vlae_intervals(&rows, chosen, symbols, found.starts, found.freqs) == VLAE_OK);
    if (wild)
        return;
    check_spans(&found, rows.coded);
    if (popped == VLAE_OK && !phase && rows.n) {
        push_spans(&stack, &found, (int32_t)rows.n, 1, 0, rows.coded);
        LAW(are_same(&stack, &before));
    }
}

static void fuzz_coder(void)
{
    int precision = take_between(1, VLAE_PRECISION);
    int64_t n = take_between(0, 40), most = (int64_t)1 << precision, columns = precision < 6 ? most : 40;
    int64_t shape[2] = {is_rare(2) ? 1 : n, is_rare(3) ? 0 : 1 + take_between(1, (int32_t)columns)};
    int64_t *cdfs = hold(8 * shape[0] * shape[1], 0);
    for (int64_t r = 0; r < shape[0]; r++) /* strictly rising from 0 to 2^precision */
        for (int64_t c = 0, last = shape[1] - 1; c < shape[1]; c++) {
            int64_t *to = cdfs + r * shape[1] + c, low = c ? to[-1] + 1 : 0, high = most - (last - c);
            *to = !c ? 0 : c == last ? most : low + (int64_t)(next_random() % (uint64_t)(high - low + 1));
        }
    vlae_stack before = make_stack(take_between(1, 5), take_between(0, 60)), stack = grow(&before, 0);
    int64_t *symbols = hold(8 * n, 0), *starts = hold(8 * n, 0), *freqs = hold(8 * n, 0);
    int64_t popped = vlae_pop(&stack, cdfs, shape[0], shape[1], symbols, n, precision);
    LAW(popped >= 0 && popped <= n);
    note(symbols, 8 * popped);
    note_stack(&stack);
    if (popped < n)
        return;
    for (int64_t i = 0; i < n; i++) {
        const int64_t *cdf = cdfs + (shape[0] > 1 ? i : 0) * shape[1];
        starts[i] = shape[1] ? cdf[symbols[i]] : symbols[i];
        freqs[i] = shape[1] ? cdf[symbols[i] + 1] - starts[i] : 1;
    }
    stack = grow(&stack, n);
    LAW(vlae_push(&stack, starts, freqs, n, precision) == VLAE_OK && are_same(&stack, &before));
}

/* An adapter merged into each layer of a local network, and a block of its fit. */
static void fuzz_adapter(void)
{
    model m = {.channels = take_byte() % 2 ? 3 : 1};
    if (!make_pixels(&m))
        return;
    network *net = &m.local;
    vlae_fit_layer *layers = hold((int64_t)sizeof *layers * net->count, 0);
    int64_t numbers = 0;
    for (int i = 0; i < net->count; i++) {
        vlae_layer *layer = &net->layers[i];
        int32_t rank = take_between(0, is_rare(8) ? 20 : 4), hidden = i ? net->layers[i - 1].outputs : 0;
        int64_t *zero = hold(8 * layer->inputs, 0), *moved = hold(8 * layer->outputs, 0);
        int8_t *merged = hold((int64_t)layer->inputs * layer->digits * layer->outputs, 0);
        const int8_t *left = hold_bytes(layer->inputs * rank), *right = hold_bytes(rank * layer->outputs);
        for (int32_t j = 0; j < layer->inputs; j++)
            zero[j] = j < hidden ? -128 : 0;
        int product = take_between(-24, 8);
        int32_t *scratch = hold(4 * layer->outputs, 0);
        LAW(vlae_merge(layer, left, right, rank, product, zero, merged, moved, scratch) == VLAE_OK);
        note(merged, (int64_t)layer->inputs * layer->digits * layer->outputs);
        note(moved, 8 * layer->outputs);
        int64_t *addend = hold(8 * layer->outputs, 0);
        for (int32_t o = 0; o < layer->outputs; o++)
            addend[o] = layer->addend[o] + layer->multiplier[o] * moved[o];
        layer->weight = merged;
        layer->addend = addend;
        int32_t columns = (rank + 15) / 16 * 16, back = (hidden + 15) / 16 * 16 + columns;
        float *floats[3];
        const int64_t counts[3] = {(int64_t)layer->outputs * back, (int64_t)layer->inputs * columns, layer->outputs};
        for (int k = 0; k < 3; k++) {
            floats[k] = hold(4 * counts[k], 0);
            for (int64_t j = 0; j < counts[k]; j++)
                floats[k][j] = (float)((int32_t)next_random() >> 8) / (1 << 16);
        }
        layers[i] = (vlae_fit_layer){floats[0], floats[1], floats[2], 0.25f, 2, rank, hidden, back, columns};
        numbers += (int64_t)rank * (layer->inputs + layer->outputs) + layer->outputs;
    }
    if (!pack_network(net))
        return;
    vlae_fit fit = {net->memory, net->size, layers, net->count, m.pixels.mixtures, m.channels, m.channels};
    fit.coded = take_between(1, m.channels);
    int64_t n = is_rare(8) ? take_between(60, 140) : take_between(0, 9), cells = n * m.channels;
    int64_t size = vlae_fit_scratch(&fit);
    LAW(size > 0);
    const int8_t *rows = hold_bytes(n * net->layers[0].inputs);
    float *values = hold(4 * cells, 0), *weights = hold(4 * n, 0);
    float *spent = hold(4 * n, 0), *gradient = hold(4 * numbers, 0);
    int8_t *edges = hold(cells, 0);
    int bits = is_rare(8);
    for (int64_t i = 0; i < cells; i++) {
        uint32_t any = next_random();
        values[i] = (float)(int8_t)any;
        if (bits) /* any float at all */
            memcpy(&values[i], &any, 4);
        edges[i] = (int8_t)(next_random() % 3);
    }
    for (int64_t i = 0; i < n; i++)
        weights[i] = (float)(next_random() % 16);
    int result = vlae_fit_block(&fit, rows, values, edges, weights, n, spent, gradient, numbers, hold(size, 64), size);
    LAW(result == VLAE_OK);
}

/* ---------------------------------------------------------------------------------------------------- refusals
 *
 * A call that is right but for one or two numbers. It is refused or, where the numbers happen to be possible ones,
 * stays in the memory that it was given. Numbers that say how long an array is are never made larger than the array
 * unless another length contradicts them: no function could know. */

static int64_t at_most(int64_t most)
{
    int64_t value = take_odd();
    return value > most ? most - take_between(0, 100) : value;
}

static int32_t at_most32(int32_t most)
{
    int32_t value = take_odd32();
    return value > most ? most - (int32_t)take_between(0, 100) : value;
}

/* A number outside low .. high. */
static int32_t outside(int32_t low, int32_t high)
{
    int32_t value = take_odd32();
    return value < low || value > high ? value : take_byte() % 2 ? high + 1 : low - 1;
}

/* A pointer that is not aligned, or none. */
static void *spoil_pointer(void *memory)
{
    return take_byte() % 2 ? NULL : (uint8_t *)memory + take_between(1, 63);
}

static void refuse_pack(void)
{
    network net = make_network(take_between(1, 20), take_between(0, 2), 20, take_between(1, 20));
    vlae_layer *layer = &net.layers[take_byte() % (uint32_t)net.count];
    set_limits(&net.layers[net.count - 1], 1, 1, 0);
    int64_t size = vlae_pack_size(net.layers, net.count, net.skip), given = at_most(size - 1);
    LAW(size > 0);
    void *small = hold(given < 0 ? 0 : given, 64);
    vlae_pack(net.layers, net.count, net.skip, small, given); /* joined digits may need less */
    int32_t which = take_between(0, 7);
    void *memory = hold(size, 64);
    int count = net.count, skip = net.skip;
    switch (which) {
    case 0:
        layer->inputs = outside(1, VLAE_MAX_WIDTH);
        break;
    case 1:
        layer->outputs = outside(1, VLAE_MAX_WIDTH);
        break;
    case 2:
        layer->digits = outside(1, 2);
        break;
    case 3:
        layer->shift = outside(0, 40);
        break;
    case 4:
        count = outside(1, VLAE_MAX_LAYERS);
        break;
    case 5:
        *(take_byte() % 2 ? &layer->low : &layer->high) = layer->low ? NULL : (const int32_t *)layer->addend;
        break;
    case 6:
        skip = 1;
        count = 1;
        break;
    default:
        LAW(vlae_pack(net.layers, count, skip, spoil_pointer(memory), size - 64) == VLAE_ARGUMENT);
        return;
    }
    LAW(vlae_pack_size(net.layers, count, skip) < 0);
    LAW(vlae_pack(net.layers, count, skip, memory, size) < 0);
    int8_t row[VLAE_MAX_WIDTH] = {0};
    LAW(vlae_run(memory, size, row, 1, hold(4 * VLAE_MAX_WIDTH, 0), hold(1 << 20, 64), 1 << 20) < 0);
}

static void refuse_run(void)
{
    network net = make_network(take_between(1, 20), take_between(0, 1), 20, take_between(1, 20));
    set_limits(&net.layers[net.count - 1], 1, 1, 0);
    if (!pack_network(&net))
        return;
    int64_t n = take_between(0, 9), scratch_size = vlae_scratch_size(net.memory, net.size, 0, 1, 1), size = net.size;
    const int8_t *rows = hold_bytes(n * net.layers[0].inputs);
    void *out = hold(4 * n * net.layers[net.count - 1].outputs, 0), *scratch = hold(scratch_size, 64);
    void *memory = net.memory;
    int32_t wave = take_odd32(), channels = take_odd32();
    int64_t lanes = take_odd();
    int64_t found = vlae_scratch_size(memory, at_most(size), wave, lanes, channels);
    LAW(found < 0 || (wave >= 0 && wave <= VLAE_MAX_GRID && lanes >= 1 && channels >= 1));
    switch (take_byte() % 6) {
    case 0:
        n = -1 - (take_odd() & INT64_MAX);
        break;
    case 1:
        scratch_size = at_most(scratch_size);
        break;
    case 2:
        scratch = spoil_pointer(scratch);
        break;
    case 3:
        memory = spoil_pointer(memory);
        size -= 64;
        break;
    case 4:
        size = at_most(size);
        break;
    default: { /* of another target, which refuses it unless it packs alike */
        const char *now = vlae_target();
        for (uint32_t t = 0; t < target_count; t++)
            if (vlae_use(targets[t]) == VLAE_OK)
                vlae_run(memory, size, rows, n, out, scratch, scratch_size);
        LAW(vlae_use(now) == VLAE_OK);
        return;
    }
    }
    vlae_run(memory, size, rows, n, out, scratch, scratch_size);
}

static void refuse_merge(void)
{
    vlae_layer layer = make_layer(take_between(1, 9), take_between(1, 9), 1);
    int rank = 3, product = -4;
    int64_t size = layer.inputs * layer.digits * layer.outputs, *zero = hold_zeros(8 * layer.inputs);
    const int8_t *left = hold_bytes(layer.inputs * rank), *right = hold_bytes(layer.outputs * rank);
    void *merged = hold(size, 0), *moved = hold(8 * layer.outputs, 0), *scratch = hold(4 * layer.outputs, 0);
    switch (take_byte() % 5) {
    case 0:
        rank = outside(0, 128);
        break;
    case 1:
        product = outside(-30, 8);
        break;
    case 2:
        layer.digits = outside(1, 2);
        break;
    case 3:
        layer.inputs = outside(1, VLAE_MAX_WIDTH);
        break;
    default:
        layer.outputs = outside(1, VLAE_MAX_WIDTH);
        break;
    }
    LAW(vlae_merge(&layer, left, right, rank, product, zero, merged, moved, scratch) == VLAE_ARGUMENT);
}

static void spoil_stack(vlae_stack *stack)
{
    switch (take_byte() % 4) {
    case 0:
        stack->lanes = at_most(stack->lanes);
        break;
    case 1:
        stack->size = take_byte() % 2 ? at_most(stack->size) : stack->room + 1 + (take_odd() & (INT64_MAX >> 1));
        break;
    case 2:
        stack->room = at_most(stack->room);
        break;
    default:
        stack->heads = NULL;
        break;
    }
}

static void refuse_rows(void)
{
    vlae_rows rows = {.n = take_between(0, 20), .mixtures = take_between(1, 5), .channels = take_between(1, 3),
                      .coupled = (int)(take_byte() & 1), .levels = 64, .coded = 1};
    rows.columns = parameter_count(rows.mixtures, rows.channels, rows.coupled);
    int64_t cells = rows.n * rows.channels;
    int32_t *outers = hold_bytes(4 * cells);
    for (int64_t i = 0; i < cells; i++)
        outers[i] = is_rare(16) ? take_odd32() : take_between(0, VLAE_OUTER_SCALES - 1);
    rows.params = hold_bytes(4 * rows.n * rows.columns);
    rows.offsets = hold_zeros(4 * cells);
    rows.outers = is_rare(2) ? outers : NULL;
    vlae_stack stack = make_stack(take_between(1, 12), 100);
    int64_t most = rows.n < stack.lanes ? rows.n : stack.lanes, size = (most / 8 + 1) * 4096, phase = 0;
    void *scratch = hold(size, 64);
    switch (take_byte() % 10) {
    case 0:
        rows.n = at_most(rows.n);
        break;
    case 1:
        rows.mixtures = take_odd32();
        break;
    case 2:
        rows.channels = at_most32(rows.channels);
        break;
    case 3:
        rows.coded = take_odd32();
        break;
    case 4:
        rows.levels = take_odd32();
        break;
    case 5:
        rows.columns = at_most32(rows.columns);
        break;
    case 6:
        rows.coupled = take_odd32();
        break;
    case 7:
        phase = take_odd();
        break;
    case 8:
        size = at_most(size);
        break;
    default:
        spoil_stack(&stack);
        break;
    }
    uint8_t *symbols = hold_bytes(2 * cells);
    spans found = make_spans(cells, 1);
    if (vlae_intervals(&rows, &tables[0], symbols, found.starts, found.freqs) == VLAE_OK)
        vlae_push_region(&stack, found.starts, found.freqs, (int32_t)rows.n, 1, 0, rows.channels, rows.coded);
    vlae_pop_rows(&rows, &tables[0], &stack, phase, symbols, scratch, size);
}

static void refuse_coder(void)
{
    int64_t n = take_between(0, 20), room = n;
    int64_t *starts = hold(8 * n, 0), *freqs = hold(8 * n, 0), *cdf = hold(8 * 5, 0);
    vlae_stack stack = make_stack(3, 10);
    stack = grow(&stack, room);
    int precision = 8;
    for (int64_t i = 0; i < n; i++) {
        starts[i] = is_rare(20) ? take_odd() : 3;
        freqs[i] = is_rare(20) ? take_odd() : 7;
    }
    for (int i = 0; i < 5; i++) /* which rises to 2^8, unless it does not */
        cdf[i] = is_rare(8) ? take_odd() : 64 * i;
    int64_t rows = 1, columns = 5;
    switch (take_byte() % 6) {
    case 0:
        n = at_most(n);
        break;
    case 1:
        precision = outside(1, VLAE_PRECISION);
        break;
    case 2:
        columns = at_most(columns);
        break;
    case 3:
        rows = n > 1 ? take_between(2, 255) : 2;
        rows += rows == n;
        break;
    case 4:
        spoil_stack(&stack);
        break;
    default:
        break;
    }
    vlae_push(&stack, starts, freqs, n, precision);
    vlae_pop(&stack, cdf, rows, columns, hold(8 * (n < 0 ? 0 : n), 0), n, precision);
    uint32_t *costly = hold(4 * 6, 0);
    for (int i = 0; i < 6; i++)
        costly[i] = is_rare(12) ? take_word() : 1 + next_random() % TOTAL;
    vlae_costs(costly, at_most(3), 2, take_odd32() & 3, NULL);
    LAW(vlae_costs(costly, 3, at_most32(0), at_most32(2), NULL) == VLAE_ARGUMENT);
}

static void refuse_region(void)
{
    int32_t rows = take_between(0, 6), width = take_between(1, 6), slope = take_between(0, 4);
    int32_t channels = take_between(1, 4), coded = take_between(1, channels);
    spans given = make_spans((int64_t)rows * width, channels);
    for (int32_t i = 0; i < rows * width * channels; i++) {
        given.starts[i] = is_rare(50) ? take_word() : 1 << 20;
        given.freqs[i] = is_rare(50) ? take_word() : 1 << 19;
    }
    vlae_stack stack = make_stack(take_between(1, 9), 5);
    stack = grow(&stack, (int64_t)rows * width * coded);
    switch (take_byte() % 7) {
    case 0:
        rows = take_odd32();
        break;
    case 1:
        width = rows ? take_odd32() : at_most32(width);
        break;
    case 2:
        slope = take_odd32();
        break;
    case 3:
        channels = at_most32(channels);
        break;
    case 4:
        coded = take_odd32();
        break;
    case 5:
        spoil_stack(&stack);
        break;
    default:
        break;
    }
    vlae_push_region(&stack, given.starts, given.freqs, rows, width, slope, channels, coded);
}

static void refuse_pixels(void)
{
    model m = {.channels = take_byte() % 2 ? 3 : 1};
    m.coded = m.channels;
    if (!make_pixels(&m))
        return;
    int32_t height = take_between(1, 4), width = take_between(1, 4), first = take_between(0, height), last = height;
    vlae_tile tile = make_tile(&m, height, width, take_between(1, 4));
    vlae_pixels *p = &m.pixels;
    int64_t area = height * width, begin = 0, n = area, size, *positions = hold(8 * area, 0);
    vlae_stack stack = make_stack(2, 100);
    size = vlae_scratch_size(p->net, p->net_size, height, 2, m.channels);
    void *scratch = hold(size, 64);
    for (int64_t i = 0; i < area; i++)
        positions[i] = is_rare(16) ? take_odd() : i;
    int32_t *const fields[] = {&p->channels, &p->wide,     &p->up,      &p->features, &p->mixtures,
                               &p->levels,   &p->stretch,  &tile.height, &tile.width,  &tile.period,
                               &first,       &last,        &m.coded};
    int32_t which = take_between(0, 19);
    switch (which) {
    case 13:
        tile.x_size = at_most(tile.x_size);
        break;
    case 14:
        tile.context_size = at_most(tile.context_size);
        break;
    case 15:
        size = at_most(size);
        break;
    case 16:
        scratch = spoil_pointer(scratch);
        break;
    case 17:
        p->net = spoil_pointer(m.local.memory);
        break;
    case 18:
        p->net_size = take_odd();
        break;
    case 19:
        begin = take_odd();
        n = is_rare(2) ? take_odd() : n;
        break;
    default:
        *fields[which] = take_odd32();
        if (which >= 7 && is_rare(2))
            *fields[take_between(7, 12)] = take_odd32();
        break;
    }
    spans found = make_spans(area, m.channels);
    uint8_t *rows = hold(area * m.local.layers[0].inputs, 0), *references = hold(area * 6, 0);
    int32_t *shifts = hold(4 * area, 0);
    vlae_band_intervals(p, &tile, NULL, begin, n, m.coded, found.starts, found.freqs, scratch, size);
    n = n > area ? area : n;
    vlae_band_intervals(p, &tile, positions, begin, n, m.coded, found.starts, found.freqs, scratch, size);
    vlae_pixel_rows(p, &tile, positions, n, rows, references, shifts);
    vlae_pop_band(p, &tile, first, last, m.coded, &stack, scratch, size);
}

static void refuse_prior(void)
{
    model m = {.latents = take_between(1, 3)};
    if (!make_prior(&m))
        return;
    vlae_prior *p = &m.prior;
    int32_t height = take_between(1, 4), width = take_between(1, 4), t = take_between(0, VLAE_MAX_STEPS);
    vlae_stack stack = make_stack(2, 100);
    int64_t size = vlae_prior_scratch(p, height, width, stack.lanes), cells = height * width;
    void *scratch = hold(size, 64);
    uint8_t *z = hold_bytes(cells * m.latents);
    spans found = make_spans(cells, m.latents);
    switch (take_byte() % 13) {
    case 0:
        p->affine = take_odd32();
        break;
    case 1:
        p->window_size = p->base ? at_most32(p->window_size) : take_odd32();
        break;
    case 2:
        p->slope = take_odd32();
        break;
    case 3:
        p->mixtures = take_odd32();
        break;
    case 4:
        p->columns = p->base ? at_most32(p->columns) : take_odd32();
        break;
    case 5:
        p->channels = p->base ? at_most32(p->channels) : take_odd32();
        break;
    case 6:
        p->net_sizes[t] = take_odd();
        break;
    case 7:
        p->nets[t] = take_byte() % 2 && p->nets[t] ? spoil_pointer((uint8_t *)(uintptr_t)p->nets[t]) : hold_zeros(64);
        break;
    case 8:
        for (int32_t i = 0; i < 2 * p->window_size; i++)
            ((int64_t *)(uintptr_t)p->window)[i] = take_odd();
        break;
    case 9:
        *(take_byte() % 2 ? &height : &width) = outside(1, VLAE_MAX_GRID);
        break;
    case 10:
        size = at_most(size);
        break;
    case 11:
        scratch = spoil_pointer(scratch);
        break;
    default:
        spoil_stack(&stack);
        break;
    }
    vlae_prior_scratch(p, height, width, take_odd());
    vlae_prior_intervals(p, z, height, width, found.starts, found.freqs, scratch, size);
    vlae_pop_prior(p, z, height, width, &stack, scratch, size);
}

static void refuse_fit(void)
{
    model m = {.channels = take_byte() % 2 ? 3 : 1};
    if (!make_pixels(&m))
        return;
    network *net = &m.local;
    vlae_fit_layer layers[VLAE_MAX_LAYERS];
    int64_t numbers = 0, n = 2;
    for (int i = 0; i < net->count; i++) {
        int32_t inputs = net->layers[i].inputs, outputs = net->layers[i].outputs;
        int32_t hidden = i ? net->layers[i - 1].outputs : 0, back = (hidden + 15) / 16 * 16 + 16;
        float *to[3] = {hold_zeros(4 * outputs * back), hold_zeros(4 * inputs * 16), hold_zeros(4 * outputs)};
        layers[i] = (vlae_fit_layer){to[0], to[1], to[2], 1, 1, 2, hidden, back, 16};
        numbers += 2 * (inputs + outputs) + outputs;
    }
    vlae_fit fit = {net->memory, net->size, hold_copy(layers, (int64_t)sizeof *layers * net->count), net->count,
                    m.pixels.mixtures, m.channels, m.channels};
    vlae_fit_layer *layer = (vlae_fit_layer *)(uintptr_t)&fit.layers[take_byte() % (uint32_t)net->count];
    int64_t size = vlae_fit_scratch(&fit), given = numbers;
    LAW(size > 0);
    void *scratch = hold(size, 64);
    const int8_t *rows = hold_bytes(n * net->layers[0].inputs), *edges = hold_zeros(n * m.channels);
    const float *values = hold_zeros(4 * n * m.channels), *weights = hold_zeros(4 * n);
    float *spent = hold(4 * n, 0), *gradient = hold(4 * numbers, 0);
    int32_t *const fields[] = {&layer->rank, &layer->rectified, &layer->back_columns, &layer->rank_columns,
                               &fit.mixtures, &fit.coded};
    int32_t which = take_between(0, 11);
    switch (which) {
    case 6:
        fit.count = take_byte() % 2 ? outside(1, VLAE_MAX_LAYERS) : at_most32(net->count);
        break;
    case 7:
        fit.channels = take_byte() % 2 ? outside(1, 3) : at_most32(m.channels);
        break;
    case 8:
        given = at_most(numbers - 1);
        break;
    case 9:
        n = -1 - (take_odd() & INT64_MAX);
        break;
    case 10:
        size = at_most(size);
        break;
    case 11:
        fit.net_size = at_most(fit.net_size);
        break;
    default:
        *fields[which] = take_odd32();
        break;
    }
    vlae_fit_scratch(&fit);
    vlae_fit_block(&fit, rows, values, edges, weights, n, spent, gradient, given, scratch, size);
}

/* ---------------------------------------------------------------------------------------------------- the entry */

static void (*const refusals[])(void) = {refuse_pack,  refuse_run,    refuse_merge,  refuse_rows, refuse_coder,
                                         refuse_region, refuse_pixels, refuse_prior, refuse_fit};
static void (*const scenarios[])(void) = {fuzz_tile,    fuzz_tile, fuzz_tile,  fuzz_network,
                                          fuzz_network, fuzz_rows, fuzz_coder, fuzz_adapter};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios, REFUSALS = sizeof refusals / sizeof *refusals };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    int32_t constants[3];
    LAW(vlae_constants(constants, 3) > 3 && constants[0] == VLAE_PRECISION);
    LAW(vlae_abi() == VLAE_ABI && vlae_alignment() == 64 && vlae_source() && vlae_use("none") == VLAE_ARGUMENT);
    make_tables();
    LAW(vlae_targets(names, sizeof names) == VLAE_OK);
    const char *only = getenv("VLAE_CODEC_TARGET");
    for (char *name = strtok(names, " "); name && target_count < TARGETS_MOST; name = strtok(NULL, " "))
        if (!only || !strcmp(only, name))
            targets[target_count++] = name;
    LAW(target_count);
    return 0;
}

/* What a scenario does on a target, as a digest of all integers that came out. */
static uint64_t play(const char *target, void (*scenario)(void), const uint8_t *data, size_t size)
{
    uint64_t seed = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        seed = (seed ^ data[i]) * 0x100000001b3u;
    input = data;
    input_left = size;
    generator = seed | 1;
    digest = seed;
    LAW(vlae_use(target) == VLAE_OK);
    scenario();
    release_all();
    return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return -1;
    const char *target = targets[data[0] % target_count], *other = targets[data[0] / 16 % target_count];
    if (data[1] & 64) {
        play(target, refusals[data[1] % 32 % REFUSALS], data + 2, size - 2);
        return 0;
    }
    void (*scenario)(void) = scenarios[data[1] % SCENARIOS];
    uint64_t found = play(target, scenario, data + 2, size - 2);
    if (data[1] & 128 && other != target)
        LAW(play(other, scenario, data + 2, size - 2) == found);
    return 0;
}
