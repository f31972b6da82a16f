/* Pixels of a tile: gather, network, distributions and coder; a few pixels go all the way at a time.
 *
 * A row of network inputs is: differences of the causal window to the pixel's reference | reference - 128 | features of
 * its context. The reference is the median edge detector of LOCO-I (Weinberger et al. 2000), or what of it lies inside
 * the tile, or 128; a neighbour outside the tile counts as equal to it.
 *
 * The plain form, above, is that of 256 levels and of bilevel samples, which enter stretched. The deep form is that of any
 * other number of levels, and of a model with a shift. There a pixel has a shift s and the network works in coarse levels
 * of 2^s levels. With b the number of bits of levels - 1, and B the mean number of bits of the absolute differences of eight of
 * the pixel's neighbours (`near_rows`, `near_columns`), all channels, to the reference,
 *
 *     first reference   2^(b - 1)
 *     B                 (sum of their bits + n / 2) / n of the n samples of these neighbours that are in the window and in
 *                       the tile, rounded down both times; 0 if there are none
 *     s                 the larger one of the model's shift and B - QUIET, at most 10
 *     difference d      sign(d) * ((|d| + (2^s >> 1)) >> s), clamped as above
 *     reference         (reference << 8) >> b
 *
 * where they enter the network. So what is smooth and what is rough are alike to it, whatever their noise.
 */
#ifndef VLAE_PIXELS_H
#define VLAE_PIXELS_H

#include "learn.h"

#define CHUNK 32 /* bytes taken at once; VLAE_SLACK covers what that is too much */
#define QUIET 5 /* bits of differences up to which a pixel has the model's shift */
#define NEIGHBOURS 8
#define LIKELY 1 /* an escape, with which there are no weights either */
#define BLOCK (ROWS * (96 / ROWS)) /* pixels whose parameters are held at once where all are known */

/* out[i] = clamp(x[i] + more[i] - less[i]) of CHUNK bytes; one of more and less is 0. */
INLINE void differences(const uint8_t *x, const uint8_t *less, const uint8_t *more, uint8_t *out)
{
    for (int i = 0; i < CHUNK; i++) {
        uint8_t room = (uint8_t)~x[i], raised = (uint8_t)(x[i] + (more[i] < room ? more[i] : room));
        out[i] = (uint8_t)((raised > less[i] ? raised : less[i]) - less[i]);
    }
}

INLINE int is_deep_model(const vlae_pixels *model)
{
    return model->shift || (model->levels != 256 && !model->stretch);
}

/* Bytes of a sample. */
INLINE size_t sample_size(const vlae_pixels *model)
{
    return model->levels > 256 ? 2 : 1;
}

INLINE int32_t sample_bits(const vlae_pixels *model)
{
    return 32 - __builtin_clz((uint32_t)model->levels - 1);
}

/* The median edge detector, or what of it is there. */
INLINE int guess_of(int left, int upper, int corner)
{
    int least = left < upper ? left : upper, most = left < upper ? upper : left, guess = left + upper - corner;
    return guess < least ? least : guess > most ? most : guess;
}

/* A difference in coarse levels as the network takes it. */
INLINE uint8_t coarse(int32_t difference, int32_t half, int32_t shift)
{
    int32_t sign = difference >> 31, size = (difference ^ sign) - sign;
    size = (size + half) >> shift;
    difference = (size ^ sign) - sign;
    return (uint8_t)((difference < -128 ? -128 : difference > 127 ? 127 : difference) + 128);
}

INLINE void put_features(const vlae_pixels *model, const vlae_tile *tile, int64_t r, int64_t c, uint8_t *row)
{
    const uint8_t *features = tile->context + ((r % tile->period) * tile->width + c) * model->features;
    for (int64_t k = 0; k < model->features; k += CHUNK)
        memcpy(row + k, features + k, CHUNK);
}

/* Fills row (inputs bytes, VLAE_SLACK more are overwritten) and reference[channels] of pixel (r, c). less, more: memory
 * of one row of the window with slack. */
INLINE void pixel_row(const vlae_pixels *model, const vlae_tile *tile, int64_t r, int64_t c, uint8_t *less,
                      uint8_t *more, uint8_t *row, uint8_t *reference)
{
    const int64_t width = tile->width, channels = model->channels, wide = model->wide, up = model->up, reach = wide / 2;
    const uint8_t *here = (const uint8_t *)tile->x + (r * width + c) * channels, *above = r > 0 ? here - width * channels : here;
    for (int64_t ch = 0; ch < channels; ch++)
        if (r > 0 && c > 0)
            reference[ch] = (uint8_t)guess_of(here[ch - channels], above[ch], above[ch - channels]);
        else
            reference[ch] = r > 0 ? above[ch] : c > 0 ? here[ch - channels] : 128;
    if (r >= up && c >= reach && c + reach < width) {
        const int64_t size = wide * channels;
        uint8_t low[4] = {0}, high[4] = {0}; /* of a pixel's channels, and what of them fits behind */
        for (int64_t ch = 0; ch < channels; ch++) {
            low[ch] = (uint8_t)(reference[ch] > 128 ? reference[ch] - 128 : 0);
            high[ch] = (uint8_t)(reference[ch] < 128 ? 128 - reference[ch] : 0);
        }
        for (int64_t k = 0; k < size; k += channels) {
            memcpy(less + k, low, 4);
            memcpy(more + k, high, 4);
        }
        const uint8_t *from = here - (up * width + reach) * channels;
        for (int64_t dr = up; dr >= 0; dr--, from += width * channels) {
            int64_t taken = dr ? size : reach * channels;
            for (int64_t k = 0; k < taken; k += CHUNK)
                differences(from + k, less + k, more + k, row + k);
            row += taken;
        }
    } else
        for (int64_t dr = up; dr >= 0; dr--)
            for (int64_t dc = -reach; dc < (dr ? reach + 1 : 0); dc++)
                for (int64_t ch = 0; ch < channels; ch++) {
                    int difference = 0;
                    if (r >= dr && c + dc >= 0 && c + dc < width)
                        difference = here[(dc - dr * width) * channels + ch] - reference[ch];
                    difference = difference < -128 ? -128 : difference > 127 ? 127 : difference;
                    *row++ = (uint8_t)(difference + 128);
                }
    for (int64_t ch = 0; ch < channels; ch++)
        *row++ = reference[ch];
    put_features(model, tile, r, c, row);
}

static const int near_rows[NEIGHBOURS] = {0, 0, -1, -1, -1, -1, -2, -2};
static const int near_columns[NEIGHBOURS] = {-2, -1, -1, 0, 1, 2, 0, 1};

/* The same in the deep form, and the pixel's shift; tiled: memory of one row of the window in uint16. */
#define DEEP_ROW(name, sample)                                                                                        \
    static int32_t name(const vlae_pixels *model, const vlae_tile *tile, int64_t r, int64_t c, uint16_t *tiled,       \
                        uint8_t *row, sample *reference)                                                              \
    {                                                                                                                 \
        const int64_t width = tile->width, channels = model->channels, up = model->up, reach = model->wide / 2;       \
        const int32_t bits = sample_bits(model);                                                                      \
        const sample *here = (const sample *)tile->x + (r * width + c) * channels;                                    \
        const sample *above = r > 0 ? here - width * channels : here;                                                 \
        for (int64_t ch = 0; ch < channels; ch++)                                                                     \
            if (r > 0 && c > 0)                                                                                       \
                reference[ch] = (sample)guess_of(here[ch - channels], above[ch], above[ch - channels]);               \
            else                                                                                                      \
                reference[ch] = (sample)(r > 0 ? above[ch] : c > 0 ? here[ch - channels] : 1 << (bits - 1));          \
        for (int64_t k = 0; k < model->wide * channels; k += channels)                                                \
            for (int64_t ch = 0; ch < channels; ch++)                                                                 \
                tiled[k + ch] = reference[ch];                                                                        \
        int32_t lengths = 0, count = 0;                                                                               \
        for (int j = 0; j < NEIGHBOURS; j++) {                                                                        \
            const int64_t dr = near_rows[j], dc = near_columns[j];                                                    \
            if (r + dr < 0 || c + dc < 0 || c + dc >= width || dr < -up || dc < -reach || dc > reach)                 \
                continue;                                                                                             \
            for (int64_t ch = 0; ch < channels; ch++) {                                                               \
                int32_t difference = here[(dr * width + dc) * channels + ch] - reference[ch];                         \
                lengths += 31 - __builtin_clz(2 * (uint32_t)(difference < 0 ? -difference : difference) + 1);         \
            }                                                                                                         \
            count += (int32_t)channels;                                                                               \
        }                                                                                                             \
        const int32_t found = count ? (lengths + count / 2) / count - QUIET : 0;                                      \
        const int32_t rough = found < VLAE_MAX_SHIFT ? found : VLAE_MAX_SHIFT;                                        \
        const int32_t shift = rough > model->shift ? rough : model->shift, half = (1 << shift) >> 1;                  \
        for (int64_t dr = up; dr >= 0; dr--) { /* columns first .. last of the window's row lie in the tile */        \
            int64_t right = dr ? reach + 1 : 0, first = c < reach ? -c : -reach;                                      \
            int64_t last = c + right > width ? width - c : right, taken = (right + reach) * channels;                 \
            memset(row, 128, (size_t)taken);                                                                          \
            if (r >= dr)                                                                                              \
                for (int64_t k = first * channels; k < last * channels; k++)                                          \
                    row[k + reach * channels] =                                                                       \
                        coarse(here[k - dr * width * channels] - tiled[k + reach * channels], half, shift);           \
            row += taken;                                                                                             \
        }                                                                                                             \
        for (int64_t ch = 0; ch < channels; ch++)                                                                     \
            *row++ = (uint8_t)(((uint32_t)reference[ch] << 8) >> bits);                                               \
        put_features(model, tile, r, c, row);                                                                         \
        return shift;                                                                                                 \
    }

DEEP_ROW(deep_row_8, uint8_t)
DEEP_ROW(deep_row_16, uint16_t)

/* The escape of a pixel of the restricted form: LIKELY if one of its four nearest known neighbours is outside the set. */
INLINE int32_t escape_at(const vlae_pixels *model, const vlae_tile *tile, int64_t r, int64_t c)
{
    static const int8_t rows[4] = {0, -1, -1, -1}, columns[4] = {-1, -1, 0, 1};
    for (int j = 0; j < 4; j++) {
        const int64_t row = r + rows[j], column = c + columns[j];
        if (row < 0 || column < 0 || column >= tile->width)
            continue;
        const uint8_t *pixel = (const uint8_t *)tile->x + (row * tile->width + column) * 3;
        if (!has_value(values_of(model->set, pixel), pixel[2]))
            return LIKELY;
    }
    return model->escape;
}

/* Memory of the functions below, in one block. */
typedef struct {
    activation *activations; /* of `forward` */
    int32_t *params, *offsets, *shifts, *escapes;
    uint8_t *row, *less, *more; /* less: in the deep form uint16 */
    void *references, *symbols;
    state *states;
} pixel_memory;

INLINE void any_row(const vlae_pixels *model, const vlae_tile *tile, int64_t r, int64_t c, const pixel_memory *memory,
                    int64_t i, const int deep)
{
    uint8_t *references = (uint8_t *)memory->references + i * model->channels * (deep ? (int64_t)sample_size(model) : 1);
    if (!deep) {
        pixel_row(model, tile, r, c, memory->less, memory->more, memory->row, references);
        if (model->set && memory->escapes)
            memory->escapes[i] = escape_at(model, tile, r, c);
    } else if (model->levels > 256)
        memory->shifts[i] = deep_row_16(model, tile, r, c, (void *)memory->less, memory->row, (void *)references);
    else
        memory->shifts[i] = deep_row_8(model, tile, r, c, (void *)memory->less, memory->row, references);
}

static int64_t pixel_scratch(const packed_net *net, int64_t rows, int64_t lanes, int32_t channels, pixel_memory *memory,
                             uint8_t *base)
{
    size_t sizes[11] = {forward_size(net),
                        sizeof(int32_t) * (size_t)rows * (size_t)net->columns,
                        sizeof(int32_t) * (size_t)(rows * channels),
                        sizeof(int32_t) * (size_t)rows,
                        sizeof(int32_t) * (size_t)rows,
                        (size_t)net->width + VLAE_SLACK,
                        2 * ((size_t)net->width + VLAE_SLACK),
                        (size_t)net->width + VLAE_SLACK,
                        sizeof(uint16_t) * (size_t)(rows * channels),
                        sizeof(uint16_t) * (size_t)(rows * channels),
                        states_size(rows, lanes)};
    void *parts[11];
    int64_t size = carve(base, sizes, 11, parts);
    if (memory)
        *memory = (pixel_memory){parts[0], parts[1], parts[2], parts[3], parts[4], parts[5],
                                 parts[6], parts[7], parts[8], parts[9], parts[10]};
    return size;
}

static int64_t scratch_size(const void *net, int32_t rows, int64_t lanes, int32_t channels)
{
    return pixel_scratch(net, (rows > BLOCK ? rows : BLOCK) + ROWS, lanes, channels, NULL, NULL);
}

static void pixel_rows(const vlae_pixels *model, const vlae_tile *tile, const int64_t *positions, int64_t n,
                       uint8_t *rows, void *references, int32_t *shifts)
{
    const packed_net *net = model->net;
    uint16_t less[VLAE_MAX_WIDTH + VLAE_SLACK];
    uint8_t more[VLAE_MAX_WIDTH + VLAE_SLACK], row[VLAE_MAX_WIDTH + VLAE_SLACK];
    const pixel_memory memory = {.row = row, .less = (void *)less, .more = more, .references = references,
                                 .shifts = shifts};
    memset(less, 0, sizeof less);
    memset(more, 0, sizeof more);
    for (int64_t i = 0; i < n; i++) {
        int64_t r = positions[i] / tile->width, c = positions[i] % tile->width;
        if (is_deep_model(model))
            any_row(model, tile, r, c, &memory, i, 1);
        else {
            any_row(model, tile, r, c, &memory, i, 0);
            shifts[i] = 0;
        }
        memcpy(rows + i * net->inputs, row, (size_t)net->inputs);
    }
}

INLINE vlae_rows rows_of(const vlae_pixels *model, const pixel_memory *memory, int64_t n, int32_t coded)
{
    const packed_net *net = model->net;
    return (vlae_rows){.params = memory->params, .offsets = memory->offsets, .outers = NULL,
                       .shifts = is_deep_model(model) ? memory->shifts : NULL, .set = model->set,
                       .escapes = model->set ? memory->escapes : NULL, .n = n, .columns = net->columns,
                       .mixtures = model->mixtures, .channels = model->channels, .coupled = 1,
                       .levels = model->levels, .coded = coded};
}

INLINE void offsets_of(const vlae_pixels *model, pixel_memory *memory, int64_t n, const int deep)
{
    for (int64_t i = 0; i < n * model->channels; i++)
        memory->offsets[i] = (symbol_at(memory->references, i, model->levels, deep) << VLAE_LEVEL_BITS) >> model->stretch;
}

INLINE void band_intervals_of(const vlae_pixels *model, const vlae_tile *tile, const int64_t *positions, int64_t begin,
                              int64_t n, int32_t coded, uint32_t *starts, uint32_t *freqs, void *scratch,
                              const int deep)
{
    const packed_net *net = model->net;
    const int64_t channels = model->channels, size = channels * (deep ? (int64_t)sample_size(model) : 1);
    pixel_memory memory;
    pixel_scratch(net, BLOCK + ROWS, 1, model->channels, &memory, scratch);
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t count = n - at < BLOCK ? n - at : BLOCK;
        for (int64_t first = 0; first < count; first += ROWS) {
            for (int64_t i = first; i < count && i < first + ROWS; i++) {
                int64_t position = positions ? positions[at + i] : begin + at + i;
                any_row(model, tile, position / tile->width, position % tile->width, &memory, i, deep);
                put_inputs(memory.activations + (i - first) * net->width, memory.row, net->inputs);
                const uint8_t *from = (const uint8_t *)tile->x + position * size;
                uint8_t *to = (uint8_t *)memory.symbols + i * size;
                for (int64_t k = 0; k < size; k++)
                    to[k] = (uint8_t)(from[k] >> (deep ? 0 : model->stretch));
            }
            forward(net, memory.activations, memory.params + first * net->columns, NULL);
        }
        offsets_of(model, &memory, count, deep);
        vlae_rows rows = rows_of(model, &memory, count, coded);
        intervals(&rows, &model->tables, memory.symbols, starts + at * channels, freqs + at * channels);
    }
}

/* Intervals of the pixels at flat positions, or at begin .. begin + n. */
static void band_intervals(const vlae_pixels *model, const vlae_tile *tile, const int64_t *positions, int64_t begin,
                           int64_t n, int32_t coded, uint32_t *starts, uint32_t *freqs, void *scratch)
{
    if (is_deep_model(model))
        band_intervals_of(model, tile, positions, begin, n, coded, starts, freqs, scratch, 1);
    else
        band_intervals_of(model, tile, positions, begin, n, coded, starts, freqs, scratch, 0);
}

/* What a band is coded with: a stack that its pixels are popped from, or intervals of those that are known. */
typedef struct {
    vlae_stack *stack;
    uint32_t *starts, *freqs;           /* (height, width, channels) of the band */
    uint32_t *own_starts, *own_freqs;   /* (rows, channels) of a wave */
    learner *learner;                   /* or NULL */
} band_task;

INLINE void put_pixels(const vlae_pixels *model, vlae_tile *tile, int32_t wave, int32_t top, int32_t n,
                       int32_t coded, const void *symbols, const int deep)
{
    const int32_t slope = model->wide / 2 + 1, width = tile->width, channels = model->channels;
    const int64_t size = deep ? (int64_t)sample_size(model) : 1;
    for (int32_t i = 0; i < n; i++) {
        int64_t to = ((int64_t)(top + i) * width + wave - slope * i) * channels;
        for (int32_t ch = 0; ch < channels; ch++) {
            int64_t from = (int64_t)i * channels + (ch < coded ? ch : 0);
            if (size == 2)
                ((uint16_t *)tile->x)[to + ch] = ((const uint16_t *)symbols)[from];
            else
                ((uint8_t *)tile->x)[to + ch] = (uint8_t)(((const uint8_t *)symbols)[from] << (deep ? 0 : model->stretch));
        }
    }
}

/* Intervals of the pixels of a wave, which are known. */
INLINE void known_wave(const vlae_pixels *model, const vlae_tile *tile, int32_t wave, int32_t first, int32_t top,
                       int32_t n, const vlae_rows *rows, const band_task *task, const pixel_memory *memory, const int deep)
{
    const int32_t slope = model->wide / 2 + 1, width = tile->width, channels = model->channels;
    const size_t size = deep ? sample_size(model) : 1;
    for (int32_t i = 0; i < n; i++) {
        const int64_t at = ((int64_t)(first + top + i) * width + wave - slope * (top + i)) * channels;
        const uint8_t *from = (const uint8_t *)tile->x + (size_t)at * size;
        for (size_t b = 0; b < size * (size_t)channels; b++)
            ((uint8_t *)memory->symbols)[size * (size_t)(i * channels) + b] = (uint8_t)(from[b] >> (deep ? 0 : model->stretch));
    }
    intervals(rows, &model->tables, memory->symbols, task->own_starts, task->own_freqs);
    for (int32_t i = 0; i < n; i++) {
        const size_t to = (size_t)(((int64_t)(top + i) * width + wave - slope * (top + i)) * channels);
        memcpy(task->starts + to, task->own_starts + i * channels, 4 * (size_t)channels);
        memcpy(task->freqs + to, task->own_freqs + i * channels, 4 * (size_t)channels);
    }
}

/* Codes the n pixels of a wave, from row `top` down. */
PER_WAVE int code_wave(const vlae_pixels *model, vlae_tile *tile, int32_t wave, int32_t first, int32_t top, int32_t n,
                       int32_t coded, const band_task *task, int64_t phase, pixel_memory *memory, const int deep)
{
    learner *l = task->learner;
    const packed_net *net = l ? l->net : model->net;
    const int32_t slope = model->wide / 2 + 1;
    for (int32_t begin = 0; begin < n; begin += ROWS) {
        for (int32_t i = begin; i < n && i < begin + ROWS; i++) {
            any_row(model, tile, first + top + i, wave - slope * (top + i), memory, i, deep);
            put_inputs(memory->activations + (i - begin) * net->width, memory->row, net->inputs);
        }
        int32_t *params = memory->params + (size_t)begin * (size_t)net->columns;
        if (l) {
            keep_next(l, begin);
            forward(net, memory->activations, params, l->kept);
        } else
            forward(net, memory->activations, params, NULL);
    }
    if (l)
        keep_rows(l, n);
    offsets_of(model, memory, n, deep);
    vlae_rows rows = rows_of(model, memory, n, coded);
    if (!n)
        return VLAE_OK;
    if (!task->stack)
        known_wave(model, tile, wave, first, top, n, &rows, task, memory, deep);
    else if (pop_rows(&rows, &model->tables, task->stack, phase, memory->symbols, memory->states) < 0)
        return VLAE_EMPTY;
    else
        put_pixels(model, tile, wave - slope * top, first + top, n, coded, memory->symbols, deep);
    if (l)
        observe_rows(&rows, &model->tables, memory->symbols, l);
    return VLAE_OK;
}

INLINE int code_band_of(const vlae_pixels *model, vlae_tile *tile, int32_t first, int32_t last, int32_t coded,
                        const band_task *task, pixel_memory *memory, const int deep)
{
    const int32_t height = last - first, slope = model->wide / 2 + 1, waves = tile->width + slope * (height - 1);
    int64_t phase = 0; /* rows coded so far: the lanes are used in turn */
    for (int32_t wave = 0; wave < waves; wave++) {
        int32_t low, high;
        wave_rows(wave, height, tile->width, slope, &low, &high);
        int32_t n = high - low;
        if (code_wave(model, tile, wave, first, low, n, coded, task, phase, memory, deep) < 0)
            return VLAE_EMPTY;
        phase += n;
    }
    return VLAE_OK;
}

/* Memory of a band of so many rows: of its waves, of a learner and of a wave's intervals. */
static int64_t band_scratch(const vlae_pixels *model, int64_t rows, int64_t lanes, pixel_memory *memory, band_task *task,
                            learner *l, uint8_t *base)
{
    const int64_t most = (rows > BLOCK ? rows : BLOCK) + ROWS, each = ROUND_UP(4 * most * model->channels, ALIGN);
    int64_t size = pixel_scratch(model->net, most, lanes, model->channels, memory, base);
    if (!model->learn)
        return size;
    if (base) {
        begin_learning(model->learn, model->net, &model->tables, rows, l, base + size);
        task->learner = l;
    }
    size += learner_parts(model->learn, model->net, rows, NULL, NULL);
    if (base) {
        task->own_starts = (uint32_t *)(base + size);
        task->own_freqs = (uint32_t *)(base + size + each);
    }
    return size + 2 * each;
}

/* Pops rows first .. last into the tile, the rows above being there. */
static int pop_band(const vlae_pixels *model, vlae_tile *tile, int32_t first, int32_t last, int32_t coded,
                    vlae_stack *stack, void *scratch)
{
    pixel_memory memory;
    learner l;
    band_task task = {.stack = stack};
    band_scratch(model, last - first, stack->lanes, &memory, &task, &l, scratch);
    if (is_deep_model(model))
        return code_band_of(model, tile, first, last, coded, &task, &memory, 1);
    return code_band_of(model, tile, first, last, coded, &task, &memory, 0);
}

/* Intervals of rows first .. last as `pop_band` finds them; of a model that learns. */
static void learn_intervals(const vlae_pixels *model, vlae_tile *tile, int32_t first, int32_t last, int32_t coded,
                            uint32_t *starts, uint32_t *freqs, void *scratch)
{
    pixel_memory memory;
    learner l;
    band_task task = {.starts = starts, .freqs = freqs};
    band_scratch(model, last - first, 1, &memory, &task, &l, scratch);
    if (is_deep_model(model))
        code_band_of(model, tile, first, last, coded, &task, &memory, 1);
    else
        code_band_of(model, tile, first, last, coded, &task, &memory, 0);
}

static int64_t learn_scratch(const vlae_pixels *model, int32_t rows, int64_t lanes)
{
    return band_scratch(model, rows, lanes, NULL, NULL, NULL, NULL);
}

#endif
