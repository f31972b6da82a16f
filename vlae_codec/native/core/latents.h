/* The flow prior of latents, known ones and popped ones.
 *
 * Step t of the flow sees a window of plane u_t (u_0 being the latents themselves) and gives, for each cell, how
 * u_(t+1) comes from z there: u = (z - offset) / outer scale. The last step gives the distribution, under the affine
 * map of those before it; a prior without steps has a constant one.
 */
#ifndef VLAE_LATENTS_H
#define VLAE_LATENTS_H

#include "pixels.h"

#define CENTRE ((VLAE_LATENT_LEVELS / 2) << VLAE_LEVEL_BITS)

typedef struct {
    activation *activations;
    int32_t *block; /* outputs of ROWS rows */
    int8_t *planes; /* (affine + 1, height, width, channels) */
    int32_t *params, *offsets, *outers; /* the latter (affine + 1, cells, channels) */
    int32_t *cells; /* (cells, 2): row, column */
    uint8_t *symbols;
    state *states;
    size_t plane, maps; /* numbers of one plane, of one step's maps */
} latent_memory;

static int64_t latent_scratch(const vlae_prior *prior, int32_t height, int32_t width, int64_t cells, int64_t lanes,
                              latent_memory *memory, uint8_t *base)
{
    size_t channels = (size_t)prior->channels, steps = (size_t)prior->affine + 1, most = (size_t)cells + ROWS;
    size_t forwards = 0, block = 0, plane = (size_t)height * (size_t)width * channels;
    for (int t = 0; t <= prior->affine; t++) {
        const packed_net *net = prior->nets[t];
        if (net && forward_size(net) > forwards)
            forwards = forward_size(net);
        if (net && 4 * ROWS * (size_t)net->columns > block)
            block = 4 * ROWS * (size_t)net->columns;
    }
    size_t sizes[9] = {forwards, block, steps * plane, 4 * most * (size_t)prior->columns, 4 * steps * most * channels,
                       4 * steps * most * channels, 8 * most, most * channels, states_size(cells, lanes)};
    void *parts[9];
    int64_t size = carve(base, sizes, 9, parts);
    if (memory)
        *memory = (latent_memory){parts[0], parts[1], parts[2], parts[3], parts[4],       parts[5],
                                  parts[6], parts[7], parts[8], plane,    most * channels};
    return size;
}

static int64_t prior_scratch(const vlae_prior *prior, int32_t height, int32_t width, int64_t lanes)
{
    int64_t known = latent_scratch(prior, height, width, (int64_t)height * width, 1, NULL, NULL);
    int64_t popped = latent_scratch(prior, height, width, height, lanes, NULL, NULL);
    return known > popped ? known : popped;
}

/* Parameters of step t, (n, prior->columns), at cells from `begin` on. */
INLINE void prior_step(const vlae_prior *prior, latent_memory *memory, int t, int64_t begin, int64_t n, int32_t height,
                       int32_t width)
{
    const packed_net *net = prior->nets[t];
    const int32_t channels = prior->channels;
    const int8_t *plane = memory->planes + (size_t)t * memory->plane;
    if (!net) {
        for (int64_t i = 0; i < n; i++)
            memcpy(memory->params + (begin + i) * prior->columns, prior->base, 4 * (size_t)prior->columns);
        return;
    }
    for (int64_t first = 0; first < n; first += ROWS) {
        int64_t count = n - first < ROWS ? n - first : ROWS;
        for (int64_t i = 0; i < count; i++) {
            const int32_t *cell = memory->cells + 2 * (begin + first + i);
            activation *row = memory->activations + i * net->width;
            for (int32_t j = 0; j < prior->window_size; j++) {
                int64_t r = cell[0] + prior->window[2 * j], c = cell[1] + prior->window[2 * j + 1];
                int inside = r >= 0 && r < height && c >= 0 && c < width;
                for (int32_t ch = 0; ch < channels; ch++)
                    *row++ = ACTIVATION((uint8_t)((inside ? plane[(r * width + c) * channels + ch] : 0) + 128));
            }
        }
        forward(net, memory->activations, memory->block, NULL);
        for (int64_t i = 0; i < count; i++)
            memcpy(memory->params + (begin + first + i) * prior->columns, memory->block + i * net->columns,
                   4 * (size_t)net->outputs);
    }
}

/* The affine maps of the next step at n cells. */
INLINE void prior_affine(const vlae_prior *prior, latent_memory *memory, int t, int64_t n)
{
    const int32_t channels = prior->channels;
    const int32_t *offsets = memory->offsets + (size_t)t * memory->maps, *outers = memory->outers + (size_t)t * memory->maps;
    int32_t *next_offsets = memory->offsets + (size_t)(t + 1) * memory->maps;
    int32_t *next_outers = memory->outers + (size_t)(t + 1) * memory->maps;
    for (int64_t i = 0; i < n; i++)
        for (int32_t ch = 0; ch < channels; ch++) {
            int64_t at = i * channels + ch;
            const int32_t *params = memory->params + i * prior->columns;
            int64_t offset = offsets[at] + ((params[ch] * prior->tables.outer_scale[outers[at]]) >> 16);
            int64_t outer = outers[at] + (int64_t)params[channels + ch];
            next_offsets[at] = (int32_t)(offset < -VLAE_OFFSET_LIMIT ? -VLAE_OFFSET_LIMIT
                                         : offset > VLAE_OFFSET_LIMIT ? VLAE_OFFSET_LIMIT : offset);
            next_outers[at] = (int32_t)(outer < 0 ? 0 : outer > VLAE_OUTER_SCALES - 1 ? VLAE_OUTER_SCALES - 1 : outer);
        }
}

/* The plane of u_t in 1/16 at n cells, of symbols z. */
INLINE void prior_publish(const vlae_prior *prior, latent_memory *memory, int t, const uint8_t *z, int64_t n,
                          int32_t width)
{
    int8_t *plane = memory->planes + (size_t)t * memory->plane;
    for (int64_t i = 0; i < n; i++)
        for (int32_t ch = 0; ch < prior->channels; ch++) {
            int64_t at = i * prior->channels + ch, u = (z[at] - VLAE_LATENT_LEVELS / 2) * 4;
            if (t) {
                int64_t inverse = prior->tables.outer_inverse[memory->outers[(size_t)t * memory->maps + (size_t)at]];
                int64_t from = (z[at] << VLAE_LEVEL_BITS) - memory->offsets[(size_t)t * memory->maps + (size_t)at];
                u = (((from * inverse) >> 16) + 2) >> 2;
                u = u < -128 ? -128 : u > 127 ? 127 : u;
            }
            plane[((int64_t)memory->cells[2 * i] * width + memory->cells[2 * i + 1]) * prior->channels + ch] =
                (int8_t)u;
        }
}

INLINE void prior_begin(const vlae_prior *prior, latent_memory *memory, int64_t n)
{
    for (int64_t i = 0; i < n * prior->channels; i++) {
        memory->offsets[i] = CENTRE;
        memory->outers[i] = VLAE_OUTER_IDENTITY;
    }
}

INLINE vlae_rows prior_rows(const vlae_prior *prior, const latent_memory *memory, int64_t n)
{
    size_t last = (size_t)prior->affine * memory->maps;
    return (vlae_rows){.params = memory->params, .offsets = memory->offsets + last, .outers = memory->outers + last,
                       .n = n, .columns = prior->columns, .mixtures = prior->mixtures, .channels = prior->channels,
                       .coupled = !prior->base, .levels = VLAE_LATENT_LEVELS, .coded = prior->channels};
}

static void prior_intervals(const vlae_prior *prior, const uint8_t *z, int32_t height, int32_t width, uint32_t *starts,
                            uint32_t *freqs, void *scratch)
{
    const int64_t cells = (int64_t)height * width;
    latent_memory memory;
    latent_scratch(prior, height, width, cells, 1, &memory, scratch);
    for (int64_t i = 0; i < cells; i++) {
        memory.cells[2 * i] = (int32_t)(i / width);
        memory.cells[2 * i + 1] = (int32_t)(i % width);
    }
    prior_begin(prior, &memory, cells);
    prior_publish(prior, &memory, 0, z, cells, width);
    for (int t = 0; t < prior->affine; t++) {
        prior_step(prior, &memory, t, 0, cells, height, width);
        prior_affine(prior, &memory, t, cells);
        prior_publish(prior, &memory, t + 1, z, cells, width);
    }
    prior_step(prior, &memory, prior->affine, 0, cells, height, width);
    vlae_rows rows = prior_rows(prior, &memory, cells);
    intervals(&rows, &prior->tables, z, starts, freqs);
}

static int pop_prior(const vlae_prior *prior, uint8_t *z, int32_t height, int32_t width, vlae_stack *stack,
                     void *scratch)
{
    const int32_t slope = prior->slope, channels = prior->channels;
    latent_memory memory;
    latent_scratch(prior, height, width, height, stack->lanes, &memory, scratch);
    int64_t phase = 0;
    for (int32_t wave = 0; wave < width + slope * (height - 1); wave++) {
        int32_t low, high;
        wave_rows(wave, height, width, slope, &low, &high);
        int64_t n = high - low;
        for (int32_t i = 0; i < n; i++) {
            memory.cells[2 * i] = low + i;
            memory.cells[2 * i + 1] = wave - slope * (low + i);
        }
        prior_begin(prior, &memory, n);
        for (int t = 0; t < prior->affine; t++) {
            prior_step(prior, &memory, t, 0, n, height, width);
            prior_affine(prior, &memory, t, n);
        }
        prior_step(prior, &memory, prior->affine, 0, n, height, width);
        vlae_rows rows = prior_rows(prior, &memory, n);
        if (n && pop_rows(&rows, &prior->tables, stack, phase, memory.symbols, memory.states) < 0)
            return VLAE_EMPTY;
        phase += n;
        for (int t = 0; t <= prior->affine; t++)
            prior_publish(prior, &memory, t, memory.symbols, n, width);
        for (int64_t i = 0; i < n; i++)
            memcpy(z + ((int64_t)memory.cells[2 * i] * width + memory.cells[2 * i + 1]) * channels,
                   memory.symbols + i * channels, (size_t)channels);
    }
    return VLAE_OK;
}

#endif
