/* Integer networks on a few rows at a time, all layers, so that activations stay in the fastest cache.
 *
 * A packed network is one block of memory: a header, then for each layer the panels of its weights and four rows of
 * numbers an output. Both digits of a weight are one int16 where the product is of WORDS and the accumulator provably
 * stays below 2^31; else they are two columns, high ones in the first half of a panel, low ones in the second.
 */
#ifndef VLAE_NETWORK_H
#define VLAE_NETWORK_H

#include "product.h"

#define ALIGN 64
#define MAGIC 0x766c6165
#define ROUND_UP(n, unit) (((n) + (unit)-1) / (unit) * (unit))

typedef struct {
    int64_t weights, multiplier, addend, low, high; /* bytes from the network's begin */
    int32_t steps, panels, digits, shift, outputs, inputs;
    int32_t two;    /* its weights had two digits */
    int32_t narrow; /* every total fits 31 bits, every output too before it is clamped, and shift < 32 */
} packed_layer;

typedef struct {
    int64_t size;
    uint32_t magic;
    int32_t count, inputs, outputs;
    int32_t again;   /* where the inputs stand again before the last layer, or 0 */
    int32_t width;   /* activations of a row */
    int32_t columns; /* of a row of outputs, with those that fill up panels */
    int32_t target;
    int32_t hidden; /* the last layer is one */
    packed_layer layers[VLAE_MAX_LAYERS];
} packed_net;

#define TARGET_ID (UNIT << 24 | KIND << 16 | PANEL << 8 | STEP)

/* Where the addend of an output stands: of a vector first the even ones, then the odd ones, as `requantise` takes them. */
INLINE int64_t addend_at(int64_t o)
{
#if LANES >= 8
    int64_t i = o % LANES;
    return o - i + (i & 1) * (LANES / 2) + i / 2;
#else
    return o;
#endif
}

/* Sums over the inputs, for each output: of the sizes of high (or only) digits, of low ones, of whole weights, and of
 * whole weights with their signs. */
typedef struct {
    int32_t high[VLAE_MAX_WIDTH], low[VLAE_MAX_WIDTH], size[VLAE_MAX_WIDTH], sum[VLAE_MAX_WIDTH];
} weight_sums;

static void sum_weights(const vlae_layer *layer, weight_sums *sums)
{
    const int32_t outputs = layer->outputs, two = layer->digits == 2;
    memset(sums, 0, sizeof *sums);
    for (int32_t j = 0; j < layer->inputs; j++) {
        const int8_t *row = layer->weight + (size_t)j * layer->digits * outputs;
        for (int32_t o = 0; o < outputs; o++) {
            int32_t high = row[o], low = two ? row[outputs + o] : 0;
            int32_t whole = two ? high * (1 << VLAE_DIGIT_BITS) + low : high;
            sums->high[o] += high < 0 ? -high : high;
            sums->low[o] += low < 0 ? -low : low;
            sums->size[o] += whole < 0 ? -whole : whole;
            sums->sum[o] += whole;
        }
    }
}

static int is_shaped(const vlae_layer *layer)
{
    return layer->inputs >= 1 && layer->inputs <= VLAE_MAX_WIDTH && layer->outputs >= 1 &&
           layer->outputs <= VLAE_MAX_WIDTH && layer->digits >= 1 && layer->digits <= 2 && layer->shift >= 0 &&
           layer->shift <= 40 && !layer->low == !layer->high;
}

/* Whether numbers are in range and accumulators stay below 2^24 a digit; how wide totals and outputs can be. */
static int prove(const vlae_layer *layer, const weight_sums *sums, packed_layer *packed)
{
    int64_t whole = 0, value = 0;
    for (int32_t o = 0; o < layer->outputs; o++) {
        int64_t multiplier = layer->multiplier[o], addend = layer->addend[o];
        if (multiplier < 0 || multiplier > 1 << 20)
            return VLAE_BOUND;
        if (addend <= -((int64_t)1 << 60) || addend >= (int64_t)1 << 60)
            return VLAE_BOUND;
        if (sums->high[o] * 128 >= 1 << 24 || sums->low[o] * 128 >= 1 << 24)
            return VLAE_BOUND;
        int64_t most = 128 * (int64_t)sums->size[o] * multiplier + (addend < 0 ? -addend : addend);
        whole = sums->size[o] > whole ? sums->size[o] : whole;
        value = most > value ? most : value;
    }
    int64_t reach = (KIND == SIGNED ? 128 : 255) * whole;
    packed->narrow = reach < INT32_MAX && layer->shift < 32 && value < (int64_t)1 << (31 + layer->shift);
    packed->digits = KIND == WORDS && reach < INT32_MAX ? 1 : layer->digits;
    return VLAE_OK;
}

/* The header of a packed network. Without `sums`, to size memory, nothing is proved, and digits are not joined: the
 * size is then the most that the network can take. */
static int64_t lay_out(const vlae_layer *layers, int count, int skip, packed_net *net, weight_sums *sums)
{
    if (count < 1 || count > VLAE_MAX_LAYERS || (skip && count < 2))
        return VLAE_ARGUMENT;
    memset(net, 0, sizeof *net);
    net->target = TARGET_ID;
    net->count = count;
    net->inputs = layers[0].inputs;
    net->outputs = layers[count - 1].outputs;
    net->hidden = !layers[count - 1].low;
    int64_t at = ROUND_UP((int64_t)sizeof *net, ALIGN);
    int32_t taken = net->inputs, width = net->inputs;
    for (int i = 0; i < count; i++) {
        const vlae_layer *layer = &layers[i];
        packed_layer *packed = &net->layers[i];
        int again = skip && i == count - 1;
        int32_t expected = i ? layers[i - 1].outputs + (again ? net->inputs : 0) : net->inputs;
        if (!is_shaped(layer) || layer->inputs != expected || (i < count - 1 && layer->low))
            return VLAE_ARGUMENT;
        if (again) {
            net->again = taken;
            taken += net->inputs;
        }
        packed->digits = layer->digits;
        if (sums) {
            sum_weights(layer, sums);
            if (prove(layer, sums, packed) < 0)
                return VLAE_BOUND;
        }
        packed->shift = layer->shift;
        packed->two = layer->digits == 2;
        packed->outputs = layer->outputs;
        packed->inputs = layer->inputs;
        int32_t share = PANEL / packed->digits; /* outputs of a panel */
        packed->panels = ROUND_UP(layer->outputs, share) / share;
        packed->steps = ROUND_UP(taken, UNIT) / STEP;
        int64_t padded = (int64_t)packed->panels * share;
        if (!sums) /* joined digits can fill up further */
            padded = ROUND_UP(padded, PANEL);
        packed->weights = at;
        at += ROUND_UP((int64_t)packed->panels * packed->steps * STEP * PANEL * (int64_t)sizeof(weight_t), ALIGN);
        packed->multiplier = at;
        packed->low = at += ROUND_UP(padded * 4, ALIGN);
        packed->high = at += ROUND_UP(padded * 4, ALIGN);
        packed->addend = at += ROUND_UP(padded * 4, ALIGN);
        at += ROUND_UP(padded * 8, ALIGN);
        width = packed->steps * STEP > width ? packed->steps * STEP : width;
        taken = (int32_t)padded;
        width = taken > width ? taken : width;
        net->columns = taken;
    }
    net->width = ROUND_UP(width + VLAE_SLACK, 64);
    net->size = at;
    net->magic = MAGIC; /* last: nothing that was refused runs */
    return at;
}

static int64_t pack_size(const vlae_layer *layers, int count, int skip)
{
    packed_net net;
    return lay_out(layers, count, skip, &net, NULL);
}

static int pack(const vlae_layer *layers, int count, int skip, void *memory, int64_t size)
{
    packed_net *net = memory;
    weight_sums sums;
    int64_t needed = size >= (int64_t)sizeof *net ? lay_out(layers, count, skip, net, &sums) : VLAE_ARGUMENT;
    if (needed < 0 || size < needed)
        return needed < 0 ? (int)needed : VLAE_ARGUMENT;
    uint8_t *base = memory;
    memset(base + sizeof *net, 0, (size_t)needed - sizeof *net);
    for (int i = 0; i < count; i++) {
        const vlae_layer *layer = &layers[i];
        const packed_layer *packed = &net->layers[i];
        const int32_t outputs = layer->outputs, share = PANEL / packed->digits, two = layer->digits == 2;
        const int32_t split = two && packed->digits == 2;
        const size_t panel = (size_t)packed->steps * STEP * PANEL;
        int32_t hidden = net->again && i == count - 1 ? layer->inputs - net->inputs : layer->inputs;
        for (int32_t j = 0; j < layer->inputs; j++) {
            size_t k = (size_t)(j < hidden ? j : net->again + j - hidden);
            weight_t *row = (weight_t *)(base + packed->weights) + k / STEP * PANEL * STEP + k % STEP;
            const int8_t *from = layer->weight + (size_t)j * layer->digits * outputs;
            for (int32_t first = 0; first < outputs; first += share, row += panel)
                for (int32_t o = first; o < first + share && o < outputs; o++) {
                    weight_t *to = row + (o - first) * STEP;
                    *to = (weight_t)(two && !split ? from[o] * (1 << VLAE_DIGIT_BITS) + from[outputs + o] : from[o]);
                    if (split)
                        to[share * STEP] = from[outputs + o];
                }
        }
        if (KIND != SIGNED)
            sum_weights(layer, &sums);
        int32_t *multiplier = (int32_t *)(base + packed->multiplier);
        int32_t *low = (int32_t *)(base + packed->low), *high = (int32_t *)(base + packed->high);
        int64_t *addend = (int64_t *)(base + packed->addend);
        for (int32_t o = 0; o < outputs; o++) {
            int64_t more = KIND != SIGNED ? 128 * (int64_t)sums.sum[o] : 0; /* a byte is 128 more than what it means */
            multiplier[o] = (int32_t)layer->multiplier[o];
            addend[addend_at(o)] = layer->addend[o] - layer->multiplier[o] * more;
            low[o] = layer->low ? layer->low[o] : -128;
            high[o] = layer->high ? layer->high[o] : 127;
        }
    }
    return VLAE_OK;
}

static int fits(const void *memory, int64_t size, int64_t *inputs, int64_t *outputs)
{
    const packed_net *net = memory;
    if (!net || (uintptr_t)memory % ALIGN || size < (int64_t)sizeof *net)
        return 0;
    *inputs = net->inputs;
    *outputs = net->outputs;
    return net->magic == MAGIC && net->target == TARGET_ID && net->size <= size;
}

/* What kind of layer the i-th from the end is, and its sizes; 0 if there is none. */
static int layer_sizes(const void *memory, int32_t i, int64_t *inputs, int64_t *outputs)
{
    const packed_net *net = memory;
    if (i < 0 || i >= net->count)
        return 0;
    const packed_layer *layer = &net->layers[net->count - 1 - i];
    *inputs = layer->inputs;
    *outputs = layer->outputs;
    const int kind = i + 1 == net->count ? FIRST_LAYER : i || net->hidden ? HIDDEN_LAYER : net->again ? SKIP_LAYER : OUTPUT_LAYER;
    return kind | (layer->two ? TWO_DIGITS : 0);
}

/* The weights of a layer with left @ right * 2^product added, and what that moves an accumulator by at rest. */
static void merge(const vlae_layer *layer, const int8_t *left, const int8_t *right, int rank, int product,
                  const int64_t *zero, int8_t *merged, int64_t *moved, int32_t *change)
{
    const int32_t outputs = layer->outputs, two = layer->digits == 2, limit = two ? 127 << VLAE_DIGIT_BITS : 127;
    const int32_t half = product < 0 ? 1 << (-product - 1) : 0, down = product < 0 ? -product : 0;
    const int32_t scale = product > 0 ? 1 << product : 1; /* |change| <= 128^3: it fits */
    memset(moved, 0, sizeof *moved * (size_t)outputs);
    for (int32_t j = 0; j < layer->inputs; j++) {
        const int8_t *from = layer->weight + (size_t)j * layer->digits * outputs;
        int8_t *to = merged + (size_t)j * layer->digits * outputs;
        const int32_t rest = (int32_t)zero[j];
        memset(change, 0, sizeof *change * (size_t)outputs);
        for (int r = 0; r < rank; r++) {
            const int8_t *row = right + (size_t)r * outputs;
            const int16_t factor = left[(size_t)j * rank + r];
            for (int32_t o = 0; o < outputs; o++)
                change[o] += (int16_t)(factor * row[o]);
        }
        for (int32_t o = 0; o < outputs; o++) {
            int32_t old = two ? from[o] * (1 << VLAE_DIGIT_BITS) + from[outputs + o] : from[o];
            int32_t sum = old + ((change[o] * scale + half) >> down);
            int32_t now = sum < -limit ? -limit : sum > limit ? limit : sum;
            moved[o] -= (int64_t)(rest * (now - old));
            if (two) {
                int32_t high = (now + 64) >> VLAE_DIGIT_BITS;
                to[o] = (int8_t)high;
                to[outputs + o] = (int8_t)(now - high * (1 << VLAE_DIGIT_BITS));
            } else
                to[o] = (int8_t)now;
        }
    }
}

/* ---------------------------------------------------------------------------------------------------- running */

/* Divides memory, which it clears, into parts of so many bytes; without memory only their sum is of use. */
static int64_t carve(uint8_t *base, const size_t *sizes, int count, void **parts)
{
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        parts[i] = base ? base + at : NULL;
        at += ROUND_UP(sizes[i], ALIGN);
    }
    if (base)
        memset(base, 0, at);
    return (int64_t)at;
}

/* Memory of `forward`: three blocks of ROWS rows of activations, and a panel of sums. */
static size_t forward_size(const packed_net *net)
{
    return ROUND_UP(3 * sizeof(activation) * ROWS * (size_t)net->width + sizeof(int32_t) * ROWS * PANEL, ALIGN);
}

/* Totals of a row and its outputs by the formula as it stands, for targets and layers without a faster way. */
INLINE int64_t output_of(const int32_t *sums, int32_t j, int digits, int32_t multiplier, int64_t addend, int shift)
{
    int64_t total = sums[j];
    if (digits == 2)
        total = total * (1 << VLAE_DIGIT_BITS) + sums[j + PANEL / 2];
    return (total * multiplier + addend) >> shift;
}

/* What the outputs of a panel need. */
typedef struct {
    const int32_t *multiplier, *low, *high;
    const int64_t *addend;
    int32_t first, share; /* outputs before it and in it */
} panel_part;

INLINE panel_part part_of(const packed_net *net, const packed_layer *layer, int32_t panel)
{
    const uint8_t *base = (const uint8_t *)net;
    const int32_t share = PANEL / layer->digits, first = panel * share;
    return (panel_part){(const int32_t *)(base + layer->multiplier) + first, (const int32_t *)(base + layer->low) + first,
                        (const int32_t *)(base + layer->high) + first, (const int64_t *)(base + layer->addend) + first,
                        first, share};
}

#if defined QUICK
/* A row's activations of a panel of a narrow layer. */
INLINE void narrow_activations(const packed_layer *layer, const panel_part *part, const int32_t *sums, activation *out)
{
#if LANES == 16
    for (int32_t j = 0; j < part->share; j += LANES) {
        vector v = requantise(totals(sums + j, layer->digits), part->multiplier + j, part->addend + j, layer->shift);
        __m128i bytes = _mm_xor_si128(_mm512_cvtsepi32_epi8(v), _mm_set1_epi8(-128));
#if KIND == BYTES
        _mm_storeu_si128((__m128i *)(out + j), bytes);
#else
        _mm256_storeu_si256((__m256i *)(out + j), _mm256_cvtepu8_epi16(bytes));
#endif
    }
#else /* a panel is two vectors, or of two digits one */
    const int32_t second = part->share - LANES;
    vector a = requantise(totals(sums, layer->digits), part->multiplier, part->addend, layer->shift), b = a;
    if (second)
        b = requantise(totals(sums + LANES, 1), part->multiplier + LANES, part->addend + LANES, layer->shift);
#if defined TARGET_simd128
    vector words = wasm_i16x8_narrow_i32x4(a, b);
    words = wasm_i16x8_max(wasm_i16x8_min(words, wasm_i16x8_const_splat(127)), wasm_i16x8_const_splat(-128));
    words = wasm_i16x8_add(words, wasm_i16x8_const_splat(128));
    if (second)
        STORE(out, words);
    else
        wasm_v128_store64_lane(out, words, 0);
#else
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
    words = _mm256_max_epi16(_mm256_min_epi16(words, _mm256_set1_epi16(127)), _mm256_set1_epi16(-128));
#if KIND == BYTES
    __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    bytes = _mm_xor_si128(bytes, _mm_set1_epi8(-128));
    if (second)
        _mm_storeu_si128((__m128i *)out, bytes);
    else
        _mm_storel_epi64((__m128i *)out, bytes);
#else
    words = _mm256_add_epi16(words, _mm256_set1_epi16(128));
    _mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(words));
    if (second)
        _mm_storeu_si128((__m128i *)(out + LANES), _mm256_extracti128_si256(words, 1));
#endif
#endif
#endif
}
#endif

/* Activations of ROWS rows of a panel from its sums. */
INLINE void hidden_outputs(const packed_net *net, const packed_layer *layer, int32_t panel, const int32_t *sums,
                           activation *out)
{
    const panel_part part = part_of(net, layer, panel);
    out += part.first;
    for (int r = 0; r < ROWS; r++, sums += PANEL, out += net->width) {
#if defined QUICK
        if (layer->narrow) {
            narrow_activations(layer, &part, sums, out);
            continue;
        }
#endif
        for (int32_t j = 0; j < part.share; j++) {
            int64_t addend = part.addend[addend_at(j)];
            int64_t value = output_of(sums, j, layer->digits, part.multiplier[j], addend, layer->shift);
            value = value < -128 ? -128 : value > 127 ? 127 : value;
            out[j] = ACTIVATION((uint8_t)(value + 128));
        }
    }
}

/* Outputs of ROWS rows of a panel from its sums. */
INLINE void last_outputs(const packed_net *net, const packed_layer *layer, int32_t panel, const int32_t *sums,
                         int32_t *out)
{
    const panel_part part = part_of(net, layer, panel);
    out += part.first;
    for (int r = 0; r < ROWS; r++, sums += PANEL, out += net->columns) {
#if defined QUICK
        if (layer->narrow) {
            for (int32_t j = 0; j < part.share; j += LANES) {
                vector v = totals(sums + j, layer->digits);
                v = requantise(v, part.multiplier + j, part.addend + j, layer->shift);
                v = CLAMP(v, LOAD(part.low + j), LOAD(part.high + j));
                STORE(out + j, v);
            }
            continue;
        }
#endif
        for (int32_t j = 0; j < part.share; j++) {
            int64_t addend = part.addend[addend_at(j)];
            int64_t value = output_of(sums, j, layer->digits, part.multiplier[j], addend, layer->shift);
            out[j] = (int32_t)(value < part.low[j] ? part.low[j] : value > part.high[j] ? part.high[j] : value);
        }
    }
}

/* Puts a row of bytes, each 128 more than what it stands for, where `forward` looks for it. */
INLINE void put_inputs(activation *to, const uint8_t *bytes, int32_t n)
{
    for (int32_t j = 0; j < n; j++)
        to[j] = ACTIVATION(bytes[j]);
}

#if defined SPARSE
/* The steps in which some of ROWS rows is not zero, and all from `dense` on. */
INLINE size_t busy_steps(const activation *rows, size_t stride, size_t steps, size_t dense, uint16_t *list)
{
    size_t n = 0, k = 0;
    for (; k + LANES <= dense; k += LANES) {
        vector v = LOAD(rows + k * STEP);
        for (size_t r = 1; r < ROWS; r++)
            v = _mm256_or_si256(v, LOAD(rows + r * stride + k * STEP));
        uint32_t zero = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(v, ZERO)));
        for (uint32_t i = 0; i < LANES; i++) {
            list[n] = (uint16_t)(k + i);
            n += ~zero >> i & 1;
        }
    }
    for (; k < steps; k++)
        list[n++] = (uint16_t)k;
    return n;
}
#endif

/* ROWS rows of net->columns outputs, from the inputs in the first rows of `memory`, which stay there. Without `out` the
 * last layer is a hidden one, too; its activations, ROWS rows of net->width, are returned. kept: where the activations
 * of each hidden layer go, or NULL. */
INLINE activation *forward(const packed_net *net, activation *memory, int32_t *out, activation *const *kept)
{
    const uint8_t *base = (const uint8_t *)net;
    size_t stride = (size_t)net->width, block = ROWS * stride;
    int32_t *sums = (int32_t *)(memory + 3 * block);
    activation *source = memory, *target = memory + block;
    begin_products();
    for (int i = 0; i < net->count; i++) {
        const packed_layer *layer = &net->layers[i];
        int last = i == net->count - 1;
        if (last && net->again)
            for (int r = 0; r < ROWS; r++)
                memcpy(source + r * stride + net->again, memory + r * stride, sizeof *memory * (size_t)net->inputs);
        if (kept && !last)
            target = kept[i];
        const weight_t *weights = (const weight_t *)(base + layer->weights);
        size_t steps = (size_t)layer->steps;
        const uint16_t *list = NULL;
#if defined SPARSE
        uint16_t busy[VLAE_MAX_WIDTH + LANES];
        if (i) {
            steps = busy_steps(source, stride, steps, (last && net->again ? (size_t)net->again : steps * STEP) / STEP, busy);
            list = busy;
        }
#endif
        for (int32_t panel = 0; panel < layer->panels; panel++) {
            if (layer->digits == 1 && layer->outputs - panel * PANEL <= LANES)
                dot(source, stride, weights, steps, sums, 1, list);
            else
                dot(source, stride, weights, steps, sums, VECTORS, list);
            weights += (size_t)layer->steps * STEP * PANEL;
            if (last && out)
                last_outputs(net, layer, panel, sums, out);
            else
                hidden_outputs(net, layer, panel, sums, target);
        }
        source = target;
        target = target == memory + block ? memory + 2 * block : memory + block;
    }
    end_products();
    return source;
}

/* Outputs (n, outputs): int32 of an output layer, int8 of a hidden one. */
static void run(const void *packed, const int8_t *rows, int64_t n, void *out, void *scratch)
{
    const packed_net *net = packed;
    activation *memory = scratch;
    int32_t *block = net->hidden ? NULL : (int32_t *)((uint8_t *)scratch + forward_size(net));
    const size_t outputs = (size_t)net->outputs;
    memset(scratch, 0, forward_size(net));
    for (int64_t begin = 0; begin < n; begin += ROWS) {
        int64_t count = n - begin < ROWS ? n - begin : ROWS;
        for (int64_t r = 0; r < count; r++)
            for (int32_t j = 0; j < net->inputs; j++)
                memory[r * net->width + j] = ACTIVATION((uint8_t)(rows[(begin + r) * net->inputs + j] + 128));
        const activation *last = forward(net, memory, block, NULL);
        for (int64_t r = 0; r < count; r++) {
            size_t at = (size_t)(begin + r) * outputs;
            if (!net->hidden)
                memcpy((int32_t *)out + at, block + r * net->columns, 4 * outputs);
            else
                for (size_t o = 0; o < outputs; o++)
                    ((int8_t *)out)[at + o] = (int8_t)(last[(size_t)r * (size_t)net->width + o] - ACTIVATION(128));
        }
    }
}

#endif
