/* The native core: everything that runs once a pixel or once a symbol, in integers (the fit's gradients are floats).
 *
 * Plain C11, no allocation, no global state but the chosen target. Every function takes pointers with their lengths and
 * returns 0 or more, or one of the codes below; nothing is read or written outside the lengths given, whatever the data.
 * Scratch memory comes from the caller, who asks for its size first. All functions but `vlae_use` may run in several
 * threads at once. What the integers mean stands in the Python modules beside this folder (network, mixture, waves, ans).
 */
#ifndef VLAE_H
#define VLAE_H

#include <stddef.h>
#include <stdint.h>

#if defined _WIN32
#define VLAE_API __declspec(dllexport)
#else
#define VLAE_API __attribute__((visibility("default")))
#endif

#define VLAE_ABI 6 /* goes up when a function or a struct changes */

enum vlae_error {
    VLAE_OK = 0,
    VLAE_EMPTY = -1,    /* the stack ran out: the stream is damaged */
    VLAE_ARGUMENT = -2, /* a length, an index or a number is outside its range */
    VLAE_BOUND = -3     /* a network could exceed the bounds that make it exact */
};

/* Limits, which callers may rely on. */
enum {
    VLAE_MAX_LAYERS = 16,
    VLAE_MAX_WIDTH = 4096,    /* inputs or outputs of a layer */
    VLAE_MAX_MIXTURES = 64,   /* components of a distribution */
    VLAE_MAX_CHANNELS = 32,   /* of a pixel or of a latent cell */
    VLAE_MAX_STEPS = 8,       /* of the flow prior */
    VLAE_MAX_GRID = 1 << 15,  /* edge of a tile or of a latent grid */
    VLAE_SLACK = 64,          /* bytes behind pixels and context features that may be read */
    VLAE_COST_BITS = 20       /* of fraction in a cost */
};

/* Constants of the coded integers; the loader compares them with those of Python. */
enum {
    VLAE_PRECISION = 24,     /* bits of a CDF */
    VLAE_LEVEL_BITS = 6,     /* locations are in 1/64 level */
    VLAE_COEF_BITS = 8,      /* coefficients in 1/256 */
    VLAE_WEIGHT_BITS = 12,   /* of the largest weight of a mixture */
    VLAE_SIGMOID_BITS = 20,
    VLAE_SIGMOID_HALF = 4096, /* table entries on each side of 0 */
    VLAE_FACTOR_BITS = 18,
    VLAE_EXP_ENTRIES = 512,
    VLAE_SCALES = 160,
    VLAE_OUTER_SCALES = 192,
    VLAE_OUTER_IDENTITY = 64,
    VLAE_DIGIT_BITS = 7,      /* of the low digit of a weight of two */
    VLAE_LATENT_LEVELS = 64,
    VLAE_OFFSET_LIMIT = 1 << 20,
    VLAE_MAX_LEVELS = 1 << 16,
    VLAE_MAX_SHIFT = 10,
    VLAE_LOGIT_LIMIT = 1 << 12, /* of the parameters of a row, on each side of 0 */
    VLAE_LOC_LIMIT = 1 << 15,
    VLAE_COEF_LIMIT = 1 << 10,
    VLAE_MAX_ESCAPE = 16,
    VLAE_ARGUMENT_BITS = 8,   /* a sigmoid's argument is in 1/256 */
    VLAE_LEARN_PIXELS = 384,  /* after so many the network learns */
    VLAE_LEARN_BIAS = 64,     /* activation of the bias */
    VLAE_LEARN_BITS = 8,      /* of a weight's fraction */
    VLAE_LEARN_STEP_BITS = 8, /* of what the preconditioner gives, that a step is without */
    VLAE_LEARN_RATE_BITS = 6,
    VLAE_LEARN_UNITS = 12,    /* bits of the parts of a score */
    VLAE_LEARN_SCALE_BITS = 16,
    VLAE_MAX_SLOW = 6,
    VLAE_LEARN_WIDTH = 512    /* inputs of a layer that learns and its bias, at most: the bounds hold wherever its weights move */
};

typedef struct {
    const int8_t *weight;      /* (inputs, digits * outputs): all high digits of a row, then all low ones */
    const int64_t *multiplier; /* (outputs,) 0 .. 2^20 */
    const int64_t *addend;     /* (outputs,) below 2^60 */
    const int32_t *low, *high; /* (outputs,) of an output layer; NULL for a hidden one */
    int32_t inputs, outputs, digits, shift;
} vlae_layer;

typedef struct {
    const int32_t *sigmoid;                              /* (8193,) */
    const int32_t *exp;                                  /* (512,) */
    const int64_t *inverse, *outer_scale, *outer_inverse; /* (160,), (192,), (192,) */
} vlae_tables;

/* Where rows of parameters are on top of each other: params (n, columns), offsets and outers (n, channels). */
typedef struct {
    const int32_t *params, *offsets;
    const int32_t *outers; /* NULL: the identity everywhere */
    const int32_t *shifts; /* (n,), 0 .. 10; NULL: 0 everywhere */
    const uint64_t *set;   /* (65536, 4), the triples of the restricted form, or NULL */
    const int32_t *escapes; /* (n,), if there is a set: what is outside it has 2^-escape of the range, 1 .. 16 */
    int64_t n;
    int32_t columns, mixtures, channels, coupled, levels, coded;
} vlae_rows;

/* The stack of a message: heads (lanes,), words[size] with room for `room`. */
typedef struct {
    uint64_t *heads;
    uint32_t *words;
    int64_t lanes, size, room;
} vlae_stack;

/* What a layer of a local network learns with while the network codes: `learn.h`. */
typedef struct {
    const void *net; /* packed preconditioner: layers with no skip, the last one an output layer, of one input and one
                        output for each of the layer's inputs and for its bias; outputs within +-2^24 */
    int64_t net_size;
    const int32_t *diagonal; /* (inputs + 1,) of the preconditioner besides, 0 .. 2^16 */
    const int32_t *reduce;   /* (inputs + 1,), 0 .. 24 */
    const int32_t *scale;    /* (outputs,) of scores, 0 .. 4096 */
    const int32_t *rate;     /* (outputs,), 0 .. 2^15 */
    const int32_t *back;     /* (outputs,) of weights by which derivatives go back, 0 .. 2^16; NULL: none do */
} vlae_taught;

typedef struct {
    const vlae_taught *layers; /* the last layer, which sees the network's inputs again and has weights of two digits, and
                                  hidden ones of one digit before it in turn, but for the first */
    const int32_t *slope;      /* (outputs,) of derivatives, 0 .. 4096; NULL if only the last layer learns */
    int32_t count, slow;       /* layers; the rates are divided by 2^slow */
} vlae_learn;

/* How the pixels of a model are distributed. */
typedef struct {
    const void *net; /* packed local network */
    int64_t net_size;
    vlae_tables tables;
    const uint64_t *set; /* as that of rows */
    const vlae_learn *learn; /* NULL: the network stays as it is */
    int32_t channels, wide, up, features, mixtures, levels, stretch, shift, escape;
} vlae_pixels;

/* A part of a tile and its features; both with VLAE_SLACK bytes behind them. Bytes are 128 more than features. */
typedef struct {
    void *x; /* (height, width, channels) uint8, stretched, or uint16 if there are more than 256 levels */
    const uint8_t *context; /* (period, width, features), repeated downwards */
    int64_t x_size, context_size; /* bytes */
    int32_t height, width, period;
} vlae_tile;

/* The flow prior of a model's latents. */
typedef struct {
    const void *nets[VLAE_MAX_STEPS + 1]; /* packed: the affine steps and, unless there is a base, the mixture */
    int64_t net_sizes[VLAE_MAX_STEPS + 1];
    const int32_t *base;     /* (columns,) or NULL */
    const int64_t *window;   /* (window_size, 2): rows and columns */
    vlae_tables tables;
    int32_t affine, window_size, slope, mixtures, columns, channels;
} vlae_prior;

/* One layer of a fit: what its backward pass takes. */
typedef struct {
    const float *back; /* (outputs, back_columns): to the rectified inputs, then to the rank's directions, padded */
    const float *left; /* (inputs, rank_columns), padded */
    const float *slope; /* (outputs,): change of an output by one step of its accumulator */
    float product, bias; /* units of right and bias */
    int32_t rank, rectified, back_columns, rank_columns;
} vlae_fit_layer;

typedef struct {
    const void *net;
    int64_t net_size;
    const vlae_fit_layer *layers;
    int32_t count, mixtures, channels, coded;
} vlae_fit;

/* Which matches an encoder of deflate streams takes: zlib's numbers. */
typedef struct {
    int32_t rule;       /* 0 greedy, 1 lazy, 2 runs only, 3 literals only */
    int32_t window_bits, hash_bits;
    int32_t good, lazy, nice, chain; /* in greedy ones, strings inside matches longer than `lazy` are not in the chains */
    int32_t filtered;   /* lazy ones take no matches of up to 5 bytes */
    int32_t far;        /* nor such of 3 bytes at larger distances */
    int32_t quads;      /* the chains are of strings of 4 bytes, by zlib-ng's hash of 16 bits */
} vlae_matcher;

/* What a picture was before it was RGB: `origins.h`. Sizes are those of the part of the picture that is worked on. */
typedef struct {
    const int32_t *tables;         /* (5, 256): luma; red of Cr; green of Cb and of Cr; blue of Cb */
    const int32_t *matrix;         /* (2, 4): Cb and Cr of red, green, blue and 1, nearly, in 1/2^16; NULL to rebuild */
    const int32_t *columns, *rows; /* (size, 3): near sample, far sample, weight of the far one in quarters */
    int64_t width, height, chroma_width, chroma_height;
    int32_t shift;
    int32_t bias[4]; /* of even and odd columns, in even and then in odd rows */
} vlae_origin;
/* A component of a scan of a JPEG: (rows, columns, 64) coefficients; tables of Huffman codes, 16 counts and 256 symbols. */
typedef struct {
    int16_t *blocks;
    const uint8_t *dc, *ac;
    int32_t rows, columns, h, v; /* of an MCU: h blocks by v */
} vlae_scan_component;

/* A scan: MCUs in rows and columns; the rest is named as in ITU-T T.81, B.2.3: Ss, Se, Ah, Al, and Ri. */
typedef struct {
    vlae_scan_component components[4];
    int32_t count, rows, columns, begin, end, high, low, interval;
} vlae_scan;

/* A component of a JPEG: (rows, columns, 64) coefficients, and the rows of a stripe; table: (64,), steps. */
typedef struct {
    int16_t *blocks;
    const int32_t *table;
    int32_t rows, columns, first, last, h, v;
} vlae_plane;

typedef struct {
    vlae_plane planes[4];
    int32_t count;
} vlae_coefficients;

VLAE_API int vlae_abi(void);
VLAE_API const char *vlae_source(void); /* a digest of the sources that it was built from */
VLAE_API int vlae_constants(int32_t *values, int count); /* every constant above, in order; how many there are */
VLAE_API int vlae_targets(char *names, int size);        /* names that this processor can run, best first, by spaces */
VLAE_API int vlae_use(const char *name);                 /* chooses one */
VLAE_API const char *vlae_target(void);
VLAE_API int vlae_alignment(void); /* bytes to which networks and scratch must be aligned */

/* Networks. Packed ones are of the target in use. A run gives (n, outputs) int32, or int8 if the last layer is hidden. */
VLAE_API int64_t vlae_pack_size(const vlae_layer *layers, int count, int skip);
VLAE_API int vlae_pack(const vlae_layer *layers, int count, int skip, void *net, int64_t size);
VLAE_API int64_t vlae_scratch_size(const void *net, int64_t size, int32_t rows, int64_t lanes, int32_t mixtures);
VLAE_API int vlae_run(const void *net, int64_t size, const int8_t *rows, int64_t n, void *out, void *scratch,
                      int64_t scratch_size);
VLAE_API int vlae_merge(const vlae_layer *layer, const int8_t *left, const int8_t *right, int rank, int product,
                        const int64_t *zero, int8_t *merged, int64_t *moved, int32_t *scratch);

/* Distributions. Symbols (n, channels) are uint8, or uint16 if there are more than 256 levels. */
VLAE_API int vlae_intervals(const vlae_rows *rows, const vlae_tables *tables, const void *symbols, uint32_t *starts,
                            uint32_t *freqs);
VLAE_API int64_t vlae_pop_rows(const vlae_rows *rows, const vlae_tables *tables, vlae_stack *stack, int64_t phase,
                               void *symbols, void *scratch, int64_t scratch_size);
VLAE_API int64_t vlae_costs(const uint32_t *freqs, int64_t n, int32_t channels, int32_t coded, int64_t *each);

/* ANS. */
VLAE_API int vlae_push(vlae_stack *stack, const int64_t *starts, const int64_t *freqs, int64_t n, int precision);
VLAE_API int64_t vlae_pop(vlae_stack *stack, const int64_t *cdfs, int64_t rows, int64_t columns, int64_t *symbols,
                          int64_t n, int precision);
VLAE_API int vlae_push_region(vlae_stack *stack, const uint32_t *starts, const uint32_t *freqs, int32_t rows,
                              int32_t width, int32_t slope, int32_t channels, int32_t coded);

/* Pixels. References (n, channels) have the type of samples. */
VLAE_API int vlae_pixel_rows(const vlae_pixels *model, const vlae_tile *tile, const int64_t *positions, int64_t n,
                             uint8_t *rows, void *references, int32_t *shifts);
VLAE_API int vlae_band_intervals(const vlae_pixels *model, const vlae_tile *tile, const int64_t *positions,
                                 int64_t begin, int64_t n, int32_t coded, uint32_t *starts, uint32_t *freqs,
                                 void *scratch, int64_t scratch_size);
VLAE_API int vlae_pop_band(const vlae_pixels *model, vlae_tile *tile, int32_t first, int32_t last, int32_t coded,
                           vlae_stack *stack, void *scratch, int64_t scratch_size);

/* Scratch of bands of a model that learns, and the intervals (last - first, width, channels) of one, in whose order a
 * decoder learns: wave by wave. */
VLAE_API int64_t vlae_learn_scratch(const vlae_pixels *model, int32_t rows, int64_t lanes);
VLAE_API int vlae_learn_intervals(const vlae_pixels *model, vlae_tile *tile, int32_t first, int32_t last, int32_t coded,
                                  uint32_t *starts, uint32_t *freqs, void *scratch, int64_t scratch_size);

/* Latents, (height, width, channels) uint8. */
VLAE_API int64_t vlae_prior_scratch(const vlae_prior *prior, int32_t height, int32_t width, int64_t lanes);
VLAE_API int vlae_prior_intervals(const vlae_prior *prior, const uint8_t *z, int32_t height, int32_t width,
                                  uint32_t *starts, uint32_t *freqs, void *scratch, int64_t scratch_size);
VLAE_API int vlae_pop_prior(const vlae_prior *prior, uint8_t *z, int32_t height, int32_t width, vlae_stack *stack,
                            void *scratch, int64_t scratch_size);

/* The fit. edges: 1 of the first symbol, 2 of the last, and 4 times the shift of the pixel; gradient: for each layer left (inputs, rank), right (rank, outputs), bias (outputs), one after another. */
VLAE_API int64_t vlae_fit_scratch(const vlae_fit *fit);
VLAE_API int vlae_fit_block(const vlae_fit *fit, const int8_t *rows, const float *values, const int8_t *edges,
                            const float *weights, int64_t n, float *spent, float *gradient, int64_t gradient_size,
                            void *scratch, int64_t scratch_size);

/* Origins: `origins.h` says what the numbers mean. Axes are (size, 3); planes have the sizes of the origin. A region is
 * rebuilt by axes of its own. `vlae_origin_chroma` gives (n) int16 Cb and Cr of pixels, -1 where they are not determined, and
 * returns how many of them are; `vlae_origin_triples` fills a set (`values.h`); `vlae_origin_luma` returns how many pixels come out exactly. */
VLAE_API int vlae_origin_rebuild(const vlae_origin *origin, const uint8_t *luma, const uint8_t *cb, const uint8_t *cr,
                                 uint8_t *rgb, void *scratch, int64_t scratch_size);
VLAE_API int64_t vlae_origin_chroma(const vlae_origin *origin, const uint8_t *rgb, int64_t n, int16_t *cb, int16_t *cr);
VLAE_API int vlae_origin_triples(const vlae_origin *origin, uint64_t *set, int64_t words);
VLAE_API int64_t vlae_origin_halve_scratch(const vlae_origin *origin);
VLAE_API int64_t vlae_origin_halve(const vlae_origin *origin, const uint8_t *rgb, const int16_t *wanted_cb,
                                   const int16_t *wanted_cr, const int32_t *column_spans, const int32_t *row_spans,
                                   int64_t budget, uint8_t *cb, uint8_t *cr, void *scratch, int64_t scratch_size);
VLAE_API int64_t vlae_origin_luma(const vlae_origin *origin, const uint8_t *rgb, const uint8_t *cb, const uint8_t *cr,
                                  uint8_t *luma, void *scratch, int64_t scratch_size);
/* Rows of a PNG: filtered (height, 1 + stride), the filter first, and plain (height, stride); step: bytes a pixel, 1 to
 * 8. above: the (stride,) bytes above the first row, or NULL. `vlae_png_unfilter` returns how many rows come before one of
 * an unknown filter. */
VLAE_API int64_t vlae_png_unfilter(const uint8_t *rows, int64_t rows_size, const uint8_t *above, int64_t height,
                                   int64_t stride, int32_t step, uint8_t *out, int64_t out_size);
VLAE_API int vlae_png_filter(const uint8_t *rows, int64_t rows_size, int64_t height, int64_t stride, int32_t step,
                             uint8_t *out, int64_t out_size);
/* Deflate streams. extent: five int64: bytes, bytes unpacked, tokens, blocks, bits of padding. In all of them VLAE_EMPTY
 * and VLAE_BOUND say that the data are damaged, VLAE_ARGUMENT also that there is no room. Without `out` vlae_deflate only
 * counts. The number of bytes, of bits, or of corrections is returned. `what` vlae_walk does: 0 it counts the
 * corrections, 1 it writes them, 2 it makes the tokens, whose number is returned, from them. */
VLAE_API int vlae_inflate(const uint8_t *data, int64_t size, uint8_t *plain, int64_t plain_room, uint32_t *tokens,
                          int64_t token_room, int64_t *blocks, int64_t block_room, int64_t *extent);
VLAE_API int64_t vlae_deflate(const uint8_t *plain, int64_t size, const uint32_t *tokens, int64_t count,
                              const int64_t *blocks, int64_t block_count, const uint8_t *described,
                              int64_t described_size, int32_t padding, uint8_t *out, int64_t out_size);
VLAE_API int64_t vlae_describe(const uint8_t *plain, int64_t size, const uint32_t *tokens, int64_t count, uint8_t *out,
                               int64_t out_size);
VLAE_API int64_t vlae_walk_scratch(void);
VLAE_API int64_t vlae_walk(const vlae_matcher *how, const uint8_t *plain, int64_t size, uint32_t *tokens,
                          int64_t count, uint32_t *corrections, int64_t corrected, int what, void *scratch,
                          int64_t scratch_size);

/* JPEG. Blocks (rows, columns, 64) in natural order and their table (64,) make a plane (8 rows, 8 columns). A component
 * of (height, width) samples is given from row `first` on, `count` rows of `stride`; across and down: pixels a sample covers, 1 to 4.
 * out: (out_rows, out_width) from row `top` on. Planes of n samples make (n, 3). */
VLAE_API int vlae_idct(const int16_t *blocks, int64_t rows, int64_t columns, const int32_t *table, uint8_t *plane,
                       int64_t plane_size);
VLAE_API int vlae_enlarge(const uint8_t *plane, int64_t count, int64_t stride, int64_t first, int64_t height,
                          int64_t width, int32_t across, int32_t down, int64_t top, int64_t out_rows, int64_t out_width,
                          uint8_t *out);
VLAE_API int vlae_jfif(const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int64_t n, uint8_t *out);
/* Exceptions (height, width, 3): pixels coded given a base; size >= 1. Encoding returns the bytes needed, which are more
 * than `room` if it is too small. Of damaged data VLAE_EMPTY or VLAE_BOUND is returned, or other pixels are decoded. */
VLAE_API int64_t vlae_residual_scratch(int32_t height, int32_t width);
VLAE_API int64_t vlae_residual_encode(const uint8_t *base, const uint8_t *pixels, int32_t height, int32_t width,
                                      uint8_t *data, int64_t room, void *scratch, int64_t scratch_size);
VLAE_API int64_t vlae_residual_decode(const uint8_t *base, uint8_t *out, int32_t height, int32_t width,
                                      const uint8_t *data, int64_t size, void *scratch, int64_t scratch_size);
/* Entropy-coded scans of JPEG files. padding: a byte of each interval of restart, 255 for ones. The bytes of the scan are
 * returned; VLAE_BOUND says that it is damaged, or is not coded as encoders do. */
VLAE_API int64_t vlae_read_scan(const vlae_scan *scan, const uint8_t *data, int64_t size, uint8_t *padding,
                                int64_t intervals);
VLAE_API int64_t vlae_write_scan(const vlae_scan *scan, uint8_t *padding, int64_t intervals, uint8_t *out,
                                 int64_t out_size);

/* Coefficients of JPEG files as adaptive binary codes; bytes of a stream are returned, more than there is room for where
 * it is too small. */
VLAE_API int64_t vlae_coefficients_scratch(const vlae_coefficients *picture);
VLAE_API int64_t vlae_push_coefficients(const vlae_coefficients *picture, uint8_t *out, int64_t out_size, void *scratch,
                                        int64_t scratch_size);
VLAE_API int vlae_pop_coefficients(const vlae_coefficients *picture, const uint8_t *data, int64_t size, void *scratch,
                                   int64_t scratch_size);
/* And back: proposals. low, high: (n, 2), the intervals of Cb and Cr; one value, where they are determined, of as many
 * pixels as are returned. */
VLAE_API int64_t vlae_jfif_back(const uint8_t *rgb, int64_t n, uint8_t *y, uint8_t *chroma, uint8_t *low, uint8_t *high);
VLAE_API int vlae_luma_range(const uint8_t *rgb, const uint8_t *cb, const uint8_t *cr, int64_t n, uint8_t *low,
                             uint8_t *high);
/* low, high: (n,), of Cb (component 0) or Cr (1), which become narrower. */
VLAE_API int vlae_chroma_beside(const uint8_t *rgb, const uint8_t *other, int32_t component, int64_t n, uint8_t *low,
                                uint8_t *high);
/* excess: (rows, width), fitted: (height, columns), factors: 2 max(height, columns); all scratch. */
VLAE_API int vlae_halve(const uint8_t *pixels, const uint8_t *known, int64_t rows, int64_t width, int32_t across,
                        int32_t down, int32_t sweeps, int32_t *excess, int32_t *fitted, int32_t *factors, uint8_t *samples,
                        uint8_t *state, int64_t height, int64_t columns);
VLAE_API int vlae_narrow(const uint8_t *low, const uint8_t *high, int64_t rows, int64_t width, int32_t across,
                         int32_t down, int32_t rounds, uint8_t *from, uint8_t *to, int64_t height, int64_t columns);
VLAE_API int vlae_search_blocks(const uint8_t *low, const uint8_t *high, int64_t n, const int32_t *table,
                                const int16_t *basis, int32_t steps, int32_t patience, int16_t *blocks, uint8_t *wrong);
VLAE_API int vlae_score_steps(const int32_t *values, int64_t n, const int16_t *scores, int32_t *sums);

#endif
