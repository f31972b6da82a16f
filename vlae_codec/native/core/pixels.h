/* Pixels of a tile: gather, network, distributions and coder; a few pixels go all the way at a time.
 *
 * A row of network inputs is: differences of the causal window to the pixel's reference | reference - 128 | features of
 * its context. The reference is the median edge detector of LOCO-I (Weinberger et al. 2000), or what of it lies inside
 * the tile, or 128; a neighbour outside the tile counts as equal to it.
 */
#ifndef VLAE_PIXELS_H
#define VLAE_PIXELS_H

#include "mixture.h"

#define CHUNK 32 /* bytes taken at once; VLAE_SLACK covers what that is too much */
#define BLOCK (ROWS * (96 / ROWS)) /* pixels whose parameters are held at once where all are known */

/* out[i] = clamp(x[i] + more[i] - less[i]) of CHUNK bytes; one of more and less is 0. */
INLINE void differences(const uint8_t *x, const uint8_t *less, const uint8_t *more, uint8_t *out)
{
    for (int i = 0; i < CHUNK; i++) {
        uint8_t room = (uint8_t)~x[i], raised = (uint8_t)(x[i] + (more[i] < room ? more[i] : room));
        out[i] = (uint8_t)((raised > less[i] ? raised : less[i]) - less[i]);
    }
}

/* Fills row (inputs bytes, VLAE_SLACK more are overwritten) and reference[channels] of pixel (r, c). less, more: memory
 * of one row of the window with slack. */
INLINE void pixel_row(const vlae_pixels *model, const vlae_tile *tile, int64_t r, int64_t c, uint8_t *less,
                      uint8_t *more, uint8_t *row, uint8_t *reference)
{
    const int64_t width = tile->width, channels = model->channels, wide = model->wide, up = model->up, reach = wide / 2;
    const uint8_t *here = tile->x + (r * width + c) * channels, *above = r > 0 ? here - width * channels : here;
    for (int64_t ch = 0; ch < channels; ch++)
        if (r > 0 && c > 0) {
            int left = here[ch - channels], upper = above[ch], corner = above[ch - channels];
            int least = left < upper ? left : upper, most = left < upper ? upper : left, guess = left + upper - corner;
            reference[ch] = (uint8_t)(guess < least ? least : guess > most ? most : guess);
        } else
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
    const uint8_t *features = tile->context + ((r % tile->period) * width + c) * model->features;
    for (int64_t k = 0; k < model->features; k += CHUNK)
        memcpy(row + k, features + k, CHUNK);
}

/* Memory of the functions below, in one block. */
typedef struct {
    activation *activations; /* of `forward` */
    int32_t *params, *offsets;
    uint8_t *row, *less, *more, *references, *symbols;
    state *states;
} pixel_memory;

static int64_t pixel_scratch(const packed_net *net, int64_t rows, int64_t lanes, int32_t channels, pixel_memory *memory,
                             uint8_t *base)
{
    size_t sizes[9] = {forward_size(net),
                       sizeof(int32_t) * (size_t)rows * (size_t)net->columns,
                       sizeof(int32_t) * (size_t)(rows * channels),
                       (size_t)net->width + VLAE_SLACK,
                       (size_t)net->width + VLAE_SLACK,
                       (size_t)net->width + VLAE_SLACK,
                       (size_t)(rows * channels),
                       (size_t)(rows * channels),
                       states_size(rows, lanes)};
    void *parts[9];
    int64_t size = carve(base, sizes, 9, parts);
    if (memory)
        *memory = (pixel_memory){parts[0], parts[1], parts[2], parts[3], parts[4],
                                 parts[5], parts[6], parts[7], parts[8]};
    return size;
}

static int64_t scratch_size(const void *net, int32_t rows, int64_t lanes, int32_t channels)
{
    return pixel_scratch(net, (rows > BLOCK ? rows : BLOCK) + ROWS, lanes, channels, NULL, NULL);
}

static void pixel_rows(const vlae_pixels *model, const vlae_tile *tile, const int64_t *positions, int64_t n,
                       uint8_t *rows, uint8_t *references)
{
    const packed_net *net = model->net;
    uint8_t less[VLAE_MAX_WIDTH + VLAE_SLACK], more[VLAE_MAX_WIDTH + VLAE_SLACK], row[VLAE_MAX_WIDTH + VLAE_SLACK];
    memset(less, 0, sizeof less);
    memset(more, 0, sizeof more);
    for (int64_t i = 0; i < n; i++) {
        int64_t r = positions[i] / tile->width, c = positions[i] % tile->width;
        pixel_row(model, tile, r, c, less, more, row, references + i * model->channels);
        memcpy(rows + i * net->inputs, row, (size_t)net->inputs);
    }
}

INLINE vlae_rows rows_of(const vlae_pixels *model, const pixel_memory *memory, int64_t n, int32_t coded)
{
    const packed_net *net = model->net;
    return (vlae_rows){.params = memory->params, .offsets = memory->offsets, .outers = NULL, .n = n,
                       .columns = net->columns, .mixtures = model->mixtures, .channels = model->channels, .coupled = 1,
                       .levels = model->levels, .coded = coded};
}

INLINE void offsets_of(const vlae_pixels *model, pixel_memory *memory, int64_t n)
{
    for (int64_t i = 0; i < n * model->channels; i++)
        memory->offsets[i] = (memory->references[i] << VLAE_LEVEL_BITS) >> model->stretch;
}

/* Intervals of the pixels at flat positions, or at begin .. begin + n. */
static void band_intervals(const vlae_pixels *model, const vlae_tile *tile, const int64_t *positions, int64_t begin,
                           int64_t n, int32_t coded, uint32_t *starts, uint32_t *freqs, void *scratch)
{
    const packed_net *net = model->net;
    const int64_t channels = model->channels;
    pixel_memory memory;
    pixel_scratch(net, BLOCK + ROWS, 1, model->channels, &memory, scratch);
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t count = n - at < BLOCK ? n - at : BLOCK;
        for (int64_t first = 0; first < count; first += ROWS) {
            for (int64_t i = first; i < count && i < first + ROWS; i++) {
                int64_t position = positions ? positions[at + i] : begin + at + i;
                pixel_row(model, tile, position / tile->width, position % tile->width, memory.less, memory.more,
                          memory.row, memory.references + i * channels);
                put_inputs(memory.activations + (i - first) * net->width, memory.row, net->inputs);
                for (int64_t ch = 0; ch < channels; ch++)
                    memory.symbols[i * channels + ch] = (uint8_t)(tile->x[position * channels + ch] >> model->stretch);
            }
            forward(net, memory.activations, memory.params + first * net->columns, NULL);
        }
        offsets_of(model, &memory, count);
        vlae_rows rows = rows_of(model, &memory, count, coded);
        intervals(&rows, &model->tables, memory.symbols, starts + at * channels, freqs + at * channels);
    }
}

/* Pops rows first .. last into the tile, the rows above being there. */
static int pop_band(const vlae_pixels *model, vlae_tile *tile, int32_t first, int32_t last, int32_t coded,
                    vlae_stack *stack, void *scratch)
{
    const packed_net *net = model->net;
    const int32_t height = last - first, slope = model->wide / 2 + 1, width = tile->width, channels = model->channels;
    pixel_memory memory;
    pixel_scratch(net, (height > BLOCK ? height : BLOCK) + ROWS, stack->lanes, channels, &memory, scratch);
    int64_t phase = 0; /* rows popped so far: the lanes are used in turn */
    for (int32_t wave = 0; wave < width + slope * (height - 1); wave++) {
        int32_t low, high;
        wave_rows(wave, height, width, slope, &low, &high);
        int32_t n = high - low;
        for (int32_t begin = 0; begin < n; begin += ROWS) {
            for (int32_t i = begin; i < n && i < begin + ROWS; i++) {
                pixel_row(model, tile, first + low + i, wave - slope * (low + i), memory.less, memory.more, memory.row,
                          memory.references + i * channels);
                put_inputs(memory.activations + (i - begin) * net->width, memory.row, net->inputs);
            }
            forward(net, memory.activations, memory.params + (size_t)begin * (size_t)net->columns, NULL);
        }
        offsets_of(model, &memory, n);
        vlae_rows rows = rows_of(model, &memory, n, coded);
        if (n && pop_rows(&rows, &model->tables, stack, phase, memory.symbols, memory.states) < 0)
            return VLAE_EMPTY;
        phase += n;
        for (int32_t i = 0; i < n; i++) {
            uint8_t *to = tile->x + ((int64_t)(first + low + i) * width + wave - slope * (low + i)) * channels;
            const uint8_t *from = memory.symbols + i * channels;
            for (int32_t ch = 0; ch < channels; ch++)
                to[ch] = (uint8_t)(from[ch < coded ? ch : 0] << model->stretch);
        }
    }
    return VLAE_OK;
}

#endif
