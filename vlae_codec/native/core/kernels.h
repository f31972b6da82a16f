/* What a target compiles: one table of functions, the same source for all of them. */
#ifndef VLAE_KERNELS_H
#define VLAE_KERNELS_H

#include "vlae.h"

/* Kinds of a layer; the first one of a network is no other. */
enum { FIRST_LAYER = 1, HIDDEN_LAYER = 2, OUTPUT_LAYER = 4, SKIP_LAYER = 8 /* sees the inputs again */, TWO_DIGITS = 16 };

struct vlae_kernels {
    const char *name;
    int64_t (*pack_size)(const vlae_layer *layers, int count, int skip);
    int (*pack)(const vlae_layer *layers, int count, int skip, void *net, int64_t size);
    int (*fits)(const void *net, int64_t size, int64_t *inputs, int64_t *outputs); /* a packed network of this target */
    int (*layer_sizes)(const void *net, int32_t i, int64_t *inputs, int64_t *outputs); /* of the i-th from the end: its kind */
    void (*merge)(const vlae_layer *layer, const int8_t *left, const int8_t *right, int rank, int product,
                  const int64_t *zero, int8_t *merged, int64_t *moved, int32_t *scratch);
    int64_t (*scratch_size)(const void *net, int32_t rows, int64_t lanes, int32_t mixtures);
    void (*run)(const void *net, const int8_t *rows, int64_t n, void *out, void *scratch);
    void (*intervals)(const vlae_rows *rows, const vlae_tables *tables, const void *symbols, uint32_t *starts,
                      uint32_t *freqs);
    int (*pop_rows)(const vlae_rows *rows, const vlae_tables *tables, vlae_stack *stack, int64_t phase, void *symbols,
                    void *scratch);
    void (*pixel_rows)(const vlae_pixels *model, const vlae_tile *tile, const int64_t *positions, int64_t n,
                       uint8_t *rows, void *references, int32_t *shifts);
    void (*band_intervals)(const vlae_pixels *model, const vlae_tile *tile, const int64_t *positions, int64_t begin,
                           int64_t n, int32_t coded, uint32_t *starts, uint32_t *freqs, void *scratch);
    int (*pop_band)(const vlae_pixels *model, vlae_tile *tile, int32_t first, int32_t last, int32_t coded,
                    vlae_stack *stack, void *scratch);
    int64_t (*learn_scratch)(const vlae_pixels *model, int32_t rows, int64_t lanes);
    void (*learn_intervals)(const vlae_pixels *model, vlae_tile *tile, int32_t first, int32_t last, int32_t coded,
                            uint32_t *starts, uint32_t *freqs, void *scratch);
    int64_t (*prior_scratch)(const vlae_prior *prior, int32_t height, int32_t width, int64_t lanes);
    void (*prior_intervals)(const vlae_prior *prior, const uint8_t *z, int32_t height, int32_t width, uint32_t *starts,
                            uint32_t *freqs, void *scratch);
    int (*pop_prior)(const vlae_prior *prior, uint8_t *z, int32_t height, int32_t width, vlae_stack *stack,
                     void *scratch);
    int64_t (*fit_scratch)(const vlae_fit *fit, int64_t *numbers);
    void (*fit_block)(const vlae_fit *fit, const int8_t *rows, const float *values, const int8_t *edges,
                      const float *weights, int64_t n, float *spent, float *gradient, void *scratch);
    void (*search_blocks)(const uint8_t *low, const uint8_t *high, int64_t n, const int32_t *table, const int16_t *basis,
                          int steps, int patience, int16_t *blocks, uint8_t *wrong);
    int64_t (*code_coefficients)(const vlae_coefficients *picture, uint8_t *out, const uint8_t *in, int64_t size,
                                 void *scratch);
};

/* The positions of a wave: rows low .. high, counted from the region's first. Slope 0: a wave is a column. */
static inline void wave_rows(int32_t wave, int32_t rows, int32_t width, int32_t slope, int32_t *low, int32_t *high)
{
    *low = 0;
    *high = rows;
    if (slope) {
        int32_t first = wave - width + slope;
        *low = first > 0 ? first / slope : 0;
        if (wave / slope + 1 < rows)
            *high = wave / slope + 1;
        if (*high < *low)
            *high = *low;
    }
}

#endif
