/* The library's functions: each checks what it is given and calls the kernels of the target in use. */
#include "ans.h"
#include "dct.h"
#include "coefficients.h"
#include "huffman.h"
#include "matches.h"
#include "origins.h"
#include "png.h"
#include "residual.h"
#include "recover.h"
#include "targets.h"
#include "values.h"

#include <string.h>

#define DECLARE(name) extern const struct vlae_kernels vlae_kernels_##name;
FOR_TARGETS(DECLARE)

#define LIST(name) {&vlae_kernels_##name, has_##name},
static const struct {
    const struct vlae_kernels *kernels;
    int (*runs)(void);
} targets[] = {FOR_TARGETS(LIST)};
enum { TARGETS = sizeof targets / sizeof *targets };

static const struct vlae_kernels *chosen; /* `begin` sets it */

#define REQUIRE(condition)        \
    do {                          \
        if (!(condition))         \
            return VLAE_ARGUMENT; \
    } while (0)

int vlae_abi(void)
{
    return VLAE_ABI;
}

#ifndef VLAE_SOURCE
#define VLAE_SOURCE "unknown"
#endif

const char *vlae_source(void)
{
    return VLAE_SOURCE;
}

int vlae_alignment(void)
{
    return 64;
}

int vlae_constants(int32_t *values, int count)
{
    static const int32_t all[] = {VLAE_PRECISION,    VLAE_LEVEL_BITS,  VLAE_COEF_BITS,      VLAE_WEIGHT_BITS,
                                  VLAE_SIGMOID_BITS, VLAE_SIGMOID_HALF, VLAE_FACTOR_BITS,    VLAE_EXP_ENTRIES,
                                  VLAE_SCALES,       VLAE_OUTER_SCALES, VLAE_OUTER_IDENTITY, VLAE_DIGIT_BITS,
                                  VLAE_LATENT_LEVELS, VLAE_OFFSET_LIMIT, VLAE_SLACK,         VLAE_COST_BITS,
                                  VLAE_MAX_LEVELS,   VLAE_MAX_SHIFT,    VLAE_LOGIT_LIMIT,    VLAE_LOC_LIMIT,
                                  VLAE_COEF_LIMIT,   VLAE_MAX_ESCAPE,   VLAE_ARGUMENT_BITS,  VLAE_LEARN_PIXELS,
                                  VLAE_LEARN_BIAS,   VLAE_LEARN_BITS,   VLAE_LEARN_STEP_BITS, VLAE_LEARN_RATE_BITS, VLAE_LEARN_UNITS,
                                  VLAE_LEARN_SCALE_BITS, VLAE_MAX_SLOW,     VLAE_LEARN_WIDTH};
    int have = sizeof all / sizeof *all;
    for (int i = 0; i < count && i < have; i++)
        values[i] = all[i];
    return have;
}

int vlae_targets(char *names, int size)
{
    int at = 0;
    for (int i = 0; i < TARGETS; i++) {
        int length = (int)strlen(targets[i].kernels->name);
        if (!targets[i].runs())
            continue;
        REQUIRE(at + length + 1 < size);
        memcpy(names + at, targets[i].kernels->name, (size_t)length);
        at += length;
        names[at++] = ' ';
    }
    names[at ? at - 1 : 0] = 0;
    return VLAE_OK;
}

int vlae_use(const char *name)
{
    for (int i = 0; i < TARGETS; i++)
        if (strcmp(name, targets[i].kernels->name) == 0 && targets[i].runs()) {
            chosen = targets[i].kernels;
            return VLAE_OK;
        }
    return VLAE_ARGUMENT;
}

const char *vlae_target(void)
{
    return chosen->name;
}

/* ---------------------------------------------------------------------------------------------------- checks */

static int is_aligned(const void *memory)
{
    return memory && (uintptr_t)memory % 64 == 0;
}

/* Parameters of a distribution's row. */
static int64_t parameter_count(int64_t mixtures, int64_t channels, int coupled)
{
    return mixtures * (1 + 2 * channels + (coupled ? channels * (channels - 1) / 2 : 0));
}

/* Weights are divisors; all else that a table says only changes what is coded. */
static int check_tables(const vlae_tables *tables)
{
    REQUIRE(tables->sigmoid && tables->exp && tables->inverse && tables->outer_scale && tables->outer_inverse);
    for (int i = 0; i < VLAE_EXP_ENTRIES; i++)
        REQUIRE(tables->exp[i] >= 1 && tables->exp[i] <= 1 << VLAE_WEIGHT_BITS);
    return VLAE_OK;
}

#define CHECK(call)                \
    do {                           \
        int checked = (call);      \
        if (checked < 0)           \
            return checked;        \
    } while (0)

static int within(const int32_t *values, int64_t count, int32_t low, int32_t high)
{
    int good = 1;
    for (int64_t i = 0; i < count; i++)
        good &= values[i] >= low && values[i] <= high;
    return good;
}

/* The limits are those of an output layer of parameters, and those of a flow step or a reference value. */
static int check_rows(const vlae_rows *rows, const vlae_tables *tables)
{
    CHECK(check_tables(tables));
    REQUIRE(rows->n >= 0 && rows->mixtures >= 1 && rows->mixtures <= VLAE_MAX_MIXTURES);
    REQUIRE(rows->channels >= 1 && rows->channels <= VLAE_MAX_CHANNELS);
    REQUIRE(rows->coded >= 0 && rows->coded <= rows->channels);
    REQUIRE(rows->levels >= 2 && rows->levels <= VLAE_MAX_LEVELS);
    REQUIRE(rows->columns >= parameter_count(rows->mixtures, rows->channels, rows->coupled));
    const int64_t k = rows->mixtures, each = k * rows->channels;
    const int64_t coefficients = parameter_count(k, rows->channels, rows->coupled) - k - 2 * each;
    for (int64_t i = 0; i < rows->n; i++) {
        const int32_t *row = rows->params + i * rows->columns;
        REQUIRE(within(row, k, -VLAE_LOGIT_LIMIT, VLAE_LOGIT_LIMIT));
        REQUIRE(within(row + k, each, -VLAE_LOC_LIMIT, VLAE_LOC_LIMIT));
        REQUIRE(within(row + k + each, each, 0, VLAE_SCALES - 1));
        REQUIRE(within(row + k + 2 * each, coefficients, -VLAE_COEF_LIMIT, VLAE_COEF_LIMIT));
    }
    const int32_t far = VLAE_MAX_LEVELS << VLAE_LEVEL_BITS;
    REQUIRE(within(rows->offsets, rows->n * rows->channels, -far, far));
    REQUIRE(!rows->outers || within(rows->outers, rows->n * rows->channels, 0, VLAE_OUTER_SCALES - 1));
    REQUIRE(!rows->shifts || within(rows->shifts, rows->n, 0, VLAE_MAX_SHIFT));
    if (rows->set) {
        REQUIRE(rows->levels == 256 && rows->channels == 3 && rows->coupled && rows->escapes);
        REQUIRE(!rows->shifts && !rows->outers);
        REQUIRE(within(rows->escapes, rows->n, 1, VLAE_MAX_ESCAPE));
    }
    return VLAE_OK;
}

static int check_stack(const vlae_stack *stack)
{
    REQUIRE(stack->lanes >= 1 && stack->size >= 0 && stack->size <= stack->room && stack->heads);
    return VLAE_OK;
}

/* What the i-th layer from the end of a network learns with. */
static int check_taught(const vlae_pixels *model, int32_t i)
{
    const vlae_taught *taught = &model->learn->layers[i];
    int64_t inputs, outputs, ins, rows, columns;
    const int kind = chosen->layer_sizes(model->net, i, &inputs, &outputs);
    REQUIRE(kind == (i ? HIDDEN_LAYER : SKIP_LAYER | TWO_DIGITS) && inputs < VLAE_LEARN_WIDTH);
    REQUIRE(chosen->fits(taught->net, taught->net_size, &rows, &columns) && rows == inputs + 1 && columns == rows);
    REQUIRE((chosen->layer_sizes(taught->net, 0, &ins, &columns) & ~TWO_DIGITS) == OUTPUT_LAYER);
    REQUIRE(taught->diagonal && taught->reduce && taught->scale && taught->rate);
    REQUIRE(within(taught->diagonal, rows, 0, 1 << 16) && within(taught->reduce, rows, 0, 24));
    REQUIRE(within(taught->scale, outputs, 0, 1 << 12) && within(taught->rate, outputs, 0, 1 << 15));
    REQUIRE(i + 1 == model->learn->count || (taught->back && within(taught->back, outputs, 0, 1 << 16)));
    REQUIRE(i || i + 1 == model->learn->count || (model->learn->slope && within(model->learn->slope, outputs, 0, 1 << 12)));
    return VLAE_OK;
}

static int check_learn(const vlae_pixels *model)
{
    const vlae_learn *learn = model->learn;
    int64_t inputs, outputs;
    REQUIRE(chosen->fits(model->net, model->net_size, &inputs, &outputs));
    REQUIRE(learn->layers && learn->count >= 1 && learn->count < VLAE_MAX_LAYERS);
    REQUIRE(learn->slow >= 0 && learn->slow <= VLAE_MAX_SLOW);
    for (int32_t i = 0; i < learn->count; i++)
        CHECK(check_taught(model, i));
    return VLAE_OK;
}

static int check_pixels(const vlae_pixels *model, const vlae_tile *tile)
{
    int64_t inputs, outputs;
    CHECK(check_tables(&model->tables));
    REQUIRE(model->channels >= 1 && model->channels <= 3 && model->features >= 0 && model->features <= 1024);
    REQUIRE(model->wide >= 3 && model->wide <= 255 && model->wide % 2 && model->up >= 1 && model->up <= 255);
    REQUIRE(model->mixtures >= 1 && model->mixtures <= VLAE_MAX_MIXTURES && model->stretch >= 0 && model->stretch < 8);
    REQUIRE(model->levels >= 2 && model->levels <= VLAE_MAX_LEVELS && model->shift >= 0 && model->shift <= VLAE_MAX_SHIFT);
    if (model->stretch) /* the plain form */
        REQUIRE(!model->shift && model->levels <= 256 >> model->stretch && (model->levels & (model->levels - 1)) == 0);
    if (model->set) {
        REQUIRE(model->levels == 256 && model->channels == 3 && !model->shift && !model->stretch);
        REQUIRE(model->escape >= 1 && model->escape <= VLAE_MAX_ESCAPE);
    }
    REQUIRE(chosen->fits(model->net, model->net_size, &inputs, &outputs));
    int64_t window = (int64_t)model->up * model->wide + model->wide / 2;
    REQUIRE(inputs == (window + 1) * model->channels + model->features);
    REQUIRE(outputs >= parameter_count(model->mixtures, model->channels, 1));
    if (model->learn)
        CHECK(check_learn(model));
    REQUIRE(tile->height >= 1 && tile->height <= VLAE_MAX_GRID && tile->width >= 1 && tile->width <= VLAE_MAX_GRID);
    int64_t row = tile->width;
    int64_t size = model->levels > 256 ? 2 : 1;
    REQUIRE(tile->period >= 1 && tile->x_size >= tile->height * row * model->channels * size + VLAE_SLACK);
    REQUIRE((uintptr_t)tile->x % (uintptr_t)size == 0);
    REQUIRE(tile->context_size >= tile->period * row * model->features + VLAE_SLACK);
    return VLAE_OK;
}

static int check_prior(const vlae_prior *prior, int32_t height, int32_t width)
{
    CHECK(check_tables(&prior->tables));
    REQUIRE(prior->affine >= 0 && prior->affine <= VLAE_MAX_STEPS);
    REQUIRE(prior->channels >= 1 && prior->channels <= VLAE_MAX_CHANNELS && prior->slope >= 0 && prior->slope < 256);
    REQUIRE(prior->mixtures >= 1 && prior->mixtures <= VLAE_MAX_MIXTURES && prior->window_size >= 0);
    REQUIRE(height >= 1 && height <= VLAE_MAX_GRID && width >= 1 && width <= VLAE_MAX_GRID);
    REQUIRE(!prior->base == !!prior->nets[prior->affine] && (!prior->base || !prior->affine));
    REQUIRE(prior->columns <= VLAE_MAX_WIDTH);
    REQUIRE(prior->columns >= parameter_count(prior->mixtures, prior->channels, !prior->base));
    for (int t = 0; t <= prior->affine; t++) {
        int64_t inputs, outputs, needed = parameter_count(prior->mixtures, prior->channels, 1);
        if (!prior->nets[t] && t == prior->affine)
            continue;
        REQUIRE(chosen->fits(prior->nets[t], prior->net_sizes[t], &inputs, &outputs));
        REQUIRE(inputs == (int64_t)prior->window_size * prior->channels && outputs <= prior->columns);
        REQUIRE(outputs >= (t < prior->affine ? 2 * prior->channels : needed));
    }
    for (int32_t j = 0; j < prior->window_size; j++) /* causal, and within what a wave has behind it */
        REQUIRE(prior->window[2 * j] <= 0 && prior->window[2 * j] > -256 && prior->window[2 * j + 1] > -256 &&
                prior->window[2 * j + 1] < 256);
    return VLAE_OK;
}

#define CHECK_SCRATCH(needed) REQUIRE(is_aligned(scratch) && scratch_size >= (needed))

/* ---------------------------------------------------------------------------------------------------- networks */

int64_t vlae_pack_size(const vlae_layer *layers, int count, int skip)
{
    return chosen->pack_size(layers, count, skip);
}

int vlae_pack(const vlae_layer *layers, int count, int skip, void *net, int64_t size)
{
    REQUIRE(is_aligned(net));
    return chosen->pack(layers, count, skip, net, size);
}

int64_t vlae_scratch_size(const void *net, int64_t size, int32_t rows, int64_t lanes, int32_t channels)
{
    int64_t inputs, outputs;
    REQUIRE(chosen->fits(net, size, &inputs, &outputs) && rows >= 0 && lanes >= 1 && channels >= 1);
    REQUIRE(rows <= VLAE_MAX_GRID && channels <= VLAE_MAX_CHANNELS);
    return chosen->scratch_size(net, rows, lanes, channels);
}

int vlae_run(const void *net, int64_t size, const int8_t *rows, int64_t n, void *out, void *scratch,
             int64_t scratch_size)
{
    int64_t inputs, outputs;
    REQUIRE(chosen->fits(net, size, &inputs, &outputs) && n >= 0);
    CHECK_SCRATCH(chosen->scratch_size(net, 0, 1, 1));
    chosen->run(net, rows, n, out, scratch);
    return VLAE_OK;
}

int vlae_merge(const vlae_layer *layer, const int8_t *left, const int8_t *right, int rank, int product,
               const int64_t *zero, int8_t *merged, int64_t *moved, int32_t *scratch)
{
    REQUIRE(layer->digits >= 1 && layer->digits <= 2 && rank >= 0 && rank <= 128 && product > -31 && product < 9);
    REQUIRE(layer->inputs >= 1 && layer->inputs <= VLAE_MAX_WIDTH);
    REQUIRE(layer->outputs >= 1 && layer->outputs <= VLAE_MAX_WIDTH);
    chosen->merge(layer, left, right, rank, product, zero, merged, moved, scratch);
    return VLAE_OK;
}

/* ---------------------------------------------------------------------------------------------------- distributions */

int vlae_intervals(const vlae_rows *rows, const vlae_tables *tables, const void *symbols, uint32_t *starts,
                   uint32_t *freqs)
{
    CHECK(check_rows(rows, tables));
    REQUIRE(rows->levels <= 256 || (uintptr_t)symbols % 2 == 0);
    chosen->intervals(rows, tables, symbols, starts, freqs);
    return VLAE_OK;
}

int64_t vlae_pop_rows(const vlae_rows *rows, const vlae_tables *tables, vlae_stack *stack, int64_t phase,
                      void *symbols, void *scratch, int64_t scratch_size)
{
    CHECK(check_rows(rows, tables));
    CHECK(check_stack(stack));
    REQUIRE(phase >= 0 && (rows->levels <= 256 || (uintptr_t)symbols % 2 == 0));
    int64_t most = rows->n < stack->lanes ? rows->n : stack->lanes;
    CHECK_SCRATCH((most / 8 + 1) * 4096);
    return rows->n ? chosen->pop_rows(rows, tables, stack, phase % stack->lanes, symbols, scratch) : VLAE_OK;
}

/* log2 of 1 + i / 4096 in units of 2^-COST_BITS, by squaring in integers. */
static uint32_t log_table[4097];

static void make_log_table(void)
{
    for (uint64_t i = 0; i < 4096; i++) {
        uint64_t value = (4096 + i) << 18; /* 1 .. 2 in 2^-30 */
        uint32_t bits = 0;
        for (int b = 0; b <= VLAE_COST_BITS; b++) {
            value = value * value >> 30;
            bits = bits << 1 | (uint32_t)(value >> 31);
            value >>= value >> 31;
        }
        log_table[i] = (bits + 1) >> 1;
    }
    log_table[4096] = 1u << VLAE_COST_BITS;
}

__attribute__((constructor)) static void begin(void)
{
    make_log_table();
    for (int i = TARGETS - 1; i >= 0; i--)
        if (targets[i].runs())
            chosen = targets[i].kernels;
}

/* Costs of frequencies 1 .. 2^24 in units of 2^-COST_BITS bits; each: (n,) by row, or NULL. Returns their sum. */
int64_t vlae_costs(const uint32_t *freqs, int64_t n, int32_t channels, int32_t coded, int64_t *each)
{
    REQUIRE(n >= 0 && channels >= 1 && coded >= 0 && coded <= channels);
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t cost = 0;
        for (int32_t c = 0; c < coded; c++) {
            uint32_t freq = freqs[i * channels + c];
            REQUIRE(freq >= 1 && freq <= 1u << VLAE_PRECISION);
            int shift = __builtin_clz(freq);
            uint32_t mantissa = freq << shift << 1, at = mantissa >> 20, rest = mantissa >> 4 & 0xffff;
            uint32_t fraction = log_table[at] + (uint32_t)((uint64_t)(log_table[at + 1] - log_table[at]) * rest >> 16);
            cost += ((int64_t)(VLAE_PRECISION - 31 + shift) << VLAE_COST_BITS) - fraction;
        }
        if (each)
            each[i] = cost;
        total += cost;
    }
    return total;
}

/* ---------------------------------------------------------------------------------------------------- ANS */

int vlae_push(vlae_stack *stack, const int64_t *starts, const int64_t *freqs, int64_t n, int precision)
{
    CHECK(check_stack(stack));
    REQUIRE(precision >= 1 && precision <= VLAE_PRECISION && n >= 0 && stack->room - stack->size >= n);
    for (int64_t i = 0; i < n; i++)
        REQUIRE(starts[i] >= 0 && freqs[i] >= 1 && freqs[i] <= ((int64_t)1 << precision) - starts[i]);
    for (int64_t i = n - 1; i >= 0; i--)
        push_symbol(stack, i % stack->lanes, (uint64_t)starts[i], (uint64_t)freqs[i], precision);
    return VLAE_OK;
}

/* Pops n symbols of cdfs (rows, columns), a row each or one for all; no columns: a symbol is its cf. n, or how many
 * were popped before the stack ran out. */
int64_t vlae_pop(vlae_stack *stack, const int64_t *cdfs, int64_t rows, int64_t columns, int64_t *symbols, int64_t n,
                 int precision)
{
    CHECK(check_stack(stack));
    REQUIRE(precision >= 1 && precision <= VLAE_PRECISION && n >= 0 && columns >= 0 && columns != 1);
    REQUIRE(rows == 1 || rows == n || !columns);
    for (int64_t i = 0; i < n; i++) {
        int64_t lane = i % stack->lanes;
        int64_t cf = (int64_t)(stack->heads[lane] & (((uint64_t)1 << precision) - 1)), symbol = cf;
        uint64_t start = (uint64_t)cf, freq = 1;
        if (columns) {
            const int64_t *cdf = cdfs + (rows > 1 ? i : 0) * columns;
            int64_t above = columns - 1;
            symbol = 0; /* cdf[symbol] <= cf < cdf[above] */
            while (above - symbol > 1) {
                int64_t middle = (symbol + above) / 2;
                if (cdf[middle] <= cf)
                    symbol = middle;
                else
                    above = middle;
            }
            start = (uint64_t)cdf[symbol];
            freq = (uint64_t)cdf[symbol + 1] - start;
        }
        if (pop_symbol(stack, lane, start, freq, precision) < 0)
            return i;
        symbols[i] = symbol;
    }
    return n;
}

/* Pushes a region's intervals (rows, width, channels) in the exact reverse of the order in which waves are popped. */
int vlae_push_region(vlae_stack *stack, const uint32_t *starts, const uint32_t *freqs, int32_t rows, int32_t width,
                     int32_t slope, int32_t channels, int32_t coded)
{
    CHECK(check_stack(stack));
    REQUIRE(rows >= 0 && width >= 1 && slope >= 0 && channels >= 1 && channels <= VLAE_MAX_CHANNELS);
    REQUIRE(coded >= 0 && coded <= channels);
    REQUIRE(rows <= 1 << 26 && width <= 1 << 26 && slope < 256 && (slope == 0 || rows <= VLAE_MAX_GRID));
    REQUIRE(stack->room - stack->size >= (int64_t)rows * width * coded);
    if (!rows)
        return VLAE_OK;
    int64_t lanes = stack->lanes, phase = (int64_t)rows * width; /* rows in this wave and those before it */
    for (int32_t wave = width + slope * (rows - 1) - 1; wave >= 0; wave--) {
        int32_t low, high;
        wave_rows(wave, rows, width, slope, &low, &high);
        phase -= high - low;
        for (int64_t group = (high - low + lanes - 1) / lanes - 1; group >= 0; group--) {
            int64_t begin = low + group * lanes, end = begin + lanes < high ? begin + lanes : high;
            for (int32_t c = coded - 1; c >= 0; c--) {
                int64_t lane = (phase + end - 1 - low) % lanes;
                for (int64_t r = end - 1; r >= begin; r--) {
                    int64_t at = (r * width + wave - slope * r) * channels + c;
                    REQUIRE(freqs[at] >= 1 && (uint64_t)starts[at] + freqs[at] <= 1u << VLAE_PRECISION);
                    push_symbol(stack, lane, starts[at], freqs[at], VLAE_PRECISION);
                    lane = lane ? lane - 1 : lanes - 1;
                }
            }
        }
    }
    return VLAE_OK;
}

/* ---------------------------------------------------------------------------------------------------- pixels */

static int check_positions(const vlae_tile *tile, const int64_t *positions, int64_t begin, int64_t n)
{
    int64_t area = (int64_t)tile->height * tile->width;
    REQUIRE(n >= 0 && begin >= 0);
    if (!positions)
        REQUIRE(begin <= area && n <= area - begin);
    for (int64_t i = 0; positions && i < n; i++)
        REQUIRE(positions[i] >= 0 && positions[i] < area);
    return VLAE_OK;
}

int vlae_pixel_rows(const vlae_pixels *model, const vlae_tile *tile, const int64_t *positions, int64_t n, uint8_t *rows,
                    void *references, int32_t *shifts)
{
    CHECK(check_pixels(model, tile));
    REQUIRE(positions && shifts && (model->levels <= 256 || (uintptr_t)references % 2 == 0));
    CHECK(check_positions(tile, positions, 0, n));
    chosen->pixel_rows(model, tile, positions, n, rows, references, shifts);
    return VLAE_OK;
}

int vlae_band_intervals(const vlae_pixels *model, const vlae_tile *tile, const int64_t *positions, int64_t begin,
                        int64_t n, int32_t coded, uint32_t *starts, uint32_t *freqs, void *scratch, int64_t scratch_size)
{
    CHECK(check_pixels(model, tile));
    CHECK(check_positions(tile, positions, begin, n));
    REQUIRE(coded >= 1 && coded <= model->channels);
    CHECK_SCRATCH(chosen->scratch_size(model->net, 0, 1, model->channels));
    chosen->band_intervals(model, tile, positions, begin, n, coded, starts, freqs, scratch);
    return VLAE_OK;
}

int vlae_pop_band(const vlae_pixels *model, vlae_tile *tile, int32_t first, int32_t last, int32_t coded,
                  vlae_stack *stack, void *scratch, int64_t scratch_size)
{
    CHECK(check_pixels(model, tile));
    CHECK(check_stack(stack));
    REQUIRE(first >= 0 && first <= last && last <= tile->height && coded >= 1 && coded <= model->channels);
    CHECK_SCRATCH(model->learn ? chosen->learn_scratch(model, last - first, stack->lanes)
                               : chosen->scratch_size(model->net, last - first, stack->lanes, model->channels));
    return first == last ? VLAE_OK : chosen->pop_band(model, tile, first, last, coded, stack, scratch);
}

int64_t vlae_learn_scratch(const vlae_pixels *model, int32_t rows, int64_t lanes)
{
    REQUIRE(model->learn && rows >= 0 && rows <= VLAE_MAX_GRID && lanes >= 1);
    REQUIRE(model->channels >= 1 && model->channels <= 3);
    CHECK(check_learn(model));
    return chosen->learn_scratch(model, rows, lanes);
}

int vlae_learn_intervals(const vlae_pixels *model, vlae_tile *tile, int32_t first, int32_t last, int32_t coded,
                         uint32_t *starts, uint32_t *freqs, void *scratch, int64_t scratch_size)
{
    CHECK(check_pixels(model, tile));
    REQUIRE(model->learn && first >= 0 && first < last && last <= tile->height && coded >= 1 && coded <= model->channels);
    CHECK_SCRATCH(chosen->learn_scratch(model, last - first, 1));
    chosen->learn_intervals(model, tile, first, last, coded, starts, freqs, scratch);
    return VLAE_OK;
}

/* ---------------------------------------------------------------------------------------------------- latents */

int64_t vlae_prior_scratch(const vlae_prior *prior, int32_t height, int32_t width, int64_t lanes)
{
    CHECK(check_prior(prior, height, width));
    REQUIRE(lanes >= 1);
    return chosen->prior_scratch(prior, height, width, lanes);
}

int vlae_prior_intervals(const vlae_prior *prior, const uint8_t *z, int32_t height, int32_t width, uint32_t *starts,
                         uint32_t *freqs, void *scratch, int64_t scratch_size)
{
    CHECK(check_prior(prior, height, width));
    CHECK_SCRATCH(chosen->prior_scratch(prior, height, width, 1));
    chosen->prior_intervals(prior, z, height, width, starts, freqs, scratch);
    return VLAE_OK;
}

int vlae_pop_prior(const vlae_prior *prior, uint8_t *z, int32_t height, int32_t width, vlae_stack *stack, void *scratch,
                   int64_t scratch_size)
{
    CHECK(check_prior(prior, height, width));
    CHECK(check_stack(stack));
    CHECK_SCRATCH(chosen->prior_scratch(prior, height, width, stack->lanes));
    return chosen->pop_prior(prior, z, height, width, stack, scratch);
}

/* ---------------------------------------------------------------------------------------------------- the fit */

static int check_fit(const vlae_fit *fit)
{
    int64_t inputs, outputs;
    REQUIRE(chosen->fits(fit->net, fit->net_size, &inputs, &outputs) && fit->count >= 1);
    REQUIRE(fit->mixtures >= 1 && fit->mixtures <= VLAE_MAX_MIXTURES && fit->channels >= 1 && fit->channels <= 3);
    REQUIRE(fit->coded >= 1 && fit->coded <= fit->channels && fit->count <= VLAE_MAX_LAYERS);
    REQUIRE(outputs >= parameter_count(fit->mixtures, fit->channels, 1));
    for (int32_t i = 0; i < fit->count; i++) {
        const vlae_fit_layer *layer = &fit->layers[i];
        REQUIRE(layer->rank >= 0 && layer->rank <= layer->rank_columns && layer->rank_columns <= VLAE_MAX_WIDTH);
        REQUIRE(layer->rank_columns % 16 == 0 && layer->rectified >= 0 && layer->rectified <= VLAE_MAX_WIDTH);
        REQUIRE(layer->back_columns == (layer->rectified + 15) / 16 * 16 + layer->rank_columns);
    }
    return VLAE_OK;
}

int64_t vlae_fit_scratch(const vlae_fit *fit)
{
    int64_t numbers;
    CHECK(check_fit(fit));
    return chosen->fit_scratch(fit, &numbers);
}

int vlae_fit_block(const vlae_fit *fit, const int8_t *rows, const float *values, const int8_t *edges,
                   const float *weights, int64_t n, float *spent, float *gradient, int64_t gradient_size, void *scratch,
                   int64_t scratch_size)
{
    int64_t numbers;
    CHECK(check_fit(fit));
    int64_t needed = chosen->fit_scratch(fit, &numbers);
    REQUIRE(n >= 0 && needed >= 0 && gradient_size >= numbers);
    CHECK_SCRATCH(needed);
    chosen->fit_block(fit, rows, values, edges, weights, n, spent, gradient, scratch);
    return VLAE_OK;
}

/* ---------------------------------------------------------------------------------------------------- PNG */

static int check_png(int64_t height, int64_t stride, int32_t step, int64_t filtered, int64_t plain)
{
    REQUIRE(height >= 1 && stride >= 1 && (step == 1 || step == 2 || step == 3 || step == 4 || step == 6 || step == 8));
    REQUIRE(plain >= 1 && plain % height == 0 && plain / height == stride && filtered - plain == height);
    return VLAE_OK;
}

int64_t vlae_png_unfilter(const uint8_t *rows, int64_t rows_size, const uint8_t *above, int64_t height, int64_t stride,
                          int32_t step, uint8_t *out, int64_t out_size)
{
    CHECK(check_png(height, stride, step, rows_size, out_size));
    return png_unfilter(rows, above, height, stride, step, out);
}

int vlae_png_filter(const uint8_t *rows, int64_t rows_size, int64_t height, int64_t stride, int32_t step, uint8_t *out,
                    int64_t out_size)
{
    CHECK(check_png(height, stride, step, out_size, rows_size));
    png_filter(rows, height, stride, step, out);
    return VLAE_OK;
}

/* ---------------------------------------------------------------------------------------------------- deflate */

enum { MOST_BYTES = 1 << 30 }; /* of a stream, packed or not */

int vlae_inflate(const uint8_t *data, int64_t size, uint8_t *plain, int64_t plain_room, uint32_t *tokens,
                 int64_t token_room, int64_t *blocks, int64_t block_room, int64_t *extent)
{
    vlae_extent found;
    REQUIRE(size >= 0 && size <= MOST_BYTES && plain_room >= 0 && plain_room <= MOST_BYTES);
    REQUIRE(token_room >= 0 && block_room >= 0);
    CHECK(inflate_tokens(data, size, plain, plain_room, tokens, token_room, blocks, block_room, &found));
    extent[0] = found.size;
    extent[1] = found.plain;
    extent[2] = found.tokens;
    extent[3] = found.blocks;
    extent[4] = found.padding;
    return VLAE_OK;
}

int64_t vlae_deflate(const uint8_t *plain, int64_t size, const uint32_t *tokens, int64_t count, const int64_t *blocks,
                     int64_t block_count, const uint8_t *described, int64_t described_size, int32_t padding,
                     uint8_t *out, int64_t out_size)
{
    REQUIRE(size >= 0 && size <= MOST_BYTES && count >= 0 && count <= size && block_count >= 0);
    REQUIRE(block_count <= MOST_BYTES && described_size >= 0 && described_size <= MOST_BYTES);
    REQUIRE(padding >= 0 && padding < 128 && out_size >= 0);
    vlae_writer writer = {out, 0, 8 * (out_size <= MOST_BYTES ? out_size : MOST_BYTES)};
    return write_blocks(plain, size, tokens, count, blocks, block_count, described, described_size, (uint32_t)padding,
                        &writer);
}

int64_t vlae_describe(const uint8_t *plain, int64_t size, const uint32_t *tokens, int64_t count, uint8_t *out,
                      int64_t out_size)
{
    int64_t covered = 0;
    REQUIRE(size >= 0 && size <= MOST_BYTES && count >= 0 && count <= size && out_size >= 0 && out_size <= MOST_BYTES);
    for (int64_t i = 0; i < count; i++) {
        uint32_t length = tokens[i] & 0xffff, distance = tokens[i] >> 16;
        REQUIRE(distance ? length >= MIN_MATCH && length <= LONG_258 && distance <= WINDOW : length == 0);
        covered += distance ? length_of(tokens[i]) : 1;
    }
    REQUIRE(covered <= size);
    vlae_writer writer = {out, 0, 8 * out_size};
    put_zlib_lengths(&writer, plain, tokens, count);
    return writer.at;
}

int64_t vlae_walk_scratch(void)
{
    return sizeof(vlae_chains);
}

int64_t vlae_walk(const vlae_matcher *how, const uint8_t *plain, int64_t size, uint32_t *tokens, int64_t count,
                   uint32_t *corrections, int64_t corrected, int what, void *scratch, int64_t scratch_size)
{
    REQUIRE(check_matcher(how) && size >= 0 && size <= MOST_BYTES && count >= 0 && count <= size && corrected >= 0);
    REQUIRE(what >= COUNT && what <= RESTORE);
    CHECK_SCRATCH(vlae_walk_scratch());
    start_chains(scratch, how, plain, size);
    return walk(scratch, tokens, count, corrections, corrected, what);
}

static int check_origin(const vlae_origin *o)
{
    enum { MOST_VALUE = 1 << 26, MOST_SIDE = 1 << 30 };
    REQUIRE(o->width > 0 && o->height > 0 && o->chroma_width > 0 && o->chroma_height > 0);
    REQUIRE(o->width <= MOST_SIDE && o->height <= MOST_SIDE && o->chroma_width <= MOST_SIDE);
    REQUIRE(o->chroma_height <= MOST_SIDE && o->shift >= 1 && o->shift <= 16);
    for (int i = 0; i < ORIGIN_TABLES * ORIGIN_TABLE; i++)
        REQUIRE(o->tables[i] >= -MOST_VALUE && o->tables[i] <= MOST_VALUE);
    for (int i = 1; i < ORIGIN_TABLE; i++)
        REQUIRE(o->tables[i] >= o->tables[i - 1]);
    for (int i = 0; i < 4; i++)
        REQUIRE(o->bias[i] >= 0 && o->bias[i] < 16);
    for (int i = 0; o->matrix && i < 8; i++)
        REQUIRE(o->matrix[i] >= -MOST_VALUE / 4 && o->matrix[i] <= MOST_VALUE / 4);
    REQUIRE(origin_axis_ok(o->columns, o->width, o->chroma_width));
    REQUIRE(origin_axis_ok(o->rows, o->height, o->chroma_height));
    return VLAE_OK;
}

int vlae_origin_rebuild(const vlae_origin *origin, const uint8_t *luma, const uint8_t *cb, const uint8_t *cr,
                        uint8_t *rgb, void *scratch, int64_t scratch_size)
{
    CHECK(check_origin(origin));
    CHECK_SCRATCH(origin_rows_size(origin));
    origin_rebuild(origin, luma, cb, cr, rgb, scratch);
    return VLAE_OK;
}

int64_t vlae_origin_chroma(const vlae_origin *origin, const uint8_t *rgb, int64_t n, int16_t *cb, int16_t *cr)
{
    vlae_inverse inverse;
    CHECK(check_origin(origin));
    REQUIRE(origin->matrix && n >= 0);
    origin_start(&inverse, origin);
    return origin_chromas(&inverse, rgb, n, cb, cr);
}

int vlae_origin_triples(const vlae_origin *origin, uint64_t *set, int64_t words)
{
    CHECK(check_origin(origin));
    REQUIRE(words == SET_WORDS);
    memset(set, 0, sizeof *set * SET_WORDS);
    for (int32_t i = 0; i < 1 << 24; i++) {
        uint8_t rgb[3];
        origin_convert(origin, i & 255, i >> 8 & 255, i >> 16, rgb);
        set[(rgb[0] << 8 | rgb[1]) * VALUE_WORDS + (rgb[2] >> 6)] |= (uint64_t)1 << (rgb[2] & 63);
    }
    return VLAE_OK;
}

int64_t vlae_origin_halve_scratch(const vlae_origin *origin)
{
    CHECK(check_origin(origin));
    return origin_halve_size(origin);
}

int64_t vlae_origin_halve(const vlae_origin *origin, const uint8_t *rgb, const int16_t *wanted_cb,
                          const int16_t *wanted_cr, const int32_t *column_spans, const int32_t *row_spans, int64_t budget,
                          uint8_t *cb, uint8_t *cr, void *scratch, int64_t scratch_size)
{
    vlae_inverse inverse;
    CHECK(check_origin(origin));
    REQUIRE(origin_spans_ok(column_spans, origin->width, origin->chroma_width));
    REQUIRE(origin_spans_ok(row_spans, origin->height, origin->chroma_height));
    CHECK_SCRATCH(origin_halve_size(origin));
    origin_start(&inverse, origin);
    vlae_grid grid = {origin, &inverse, rgb, {wanted_cb, wanted_cr}, {0}, {cb, cr}, &budget, {column_spans, row_spans}};
    return origin_halve(&grid, scratch);
}

int64_t vlae_origin_luma(const vlae_origin *origin, const uint8_t *rgb, const uint8_t *cb, const uint8_t *cr,
                         uint8_t *luma, void *scratch, int64_t scratch_size)
{
    vlae_inverse inverse;
    CHECK(check_origin(origin));
    CHECK_SCRATCH(origin_rows_size(origin));
    origin_start(&inverse, origin);
    return origin_lumas(&inverse, rgb, cb, cr, luma, scratch);
}

/* ---------------------------------------------------------------------------------------------------- JPEG */

enum { MOST_SIDE = 1 << 20, MOST_STEP = 65535 };

static int check_blocks(int64_t rows, int64_t columns, const int32_t *table)
{
    REQUIRE(rows >= 0 && columns >= 0 && rows <= MOST_SIDE && columns <= MOST_SIDE * 64);
    for (int k = 0; k < 64; k++)
        REQUIRE(table[k] >= 1 && table[k] <= MOST_STEP);
    return VLAE_OK;
}

int vlae_idct(const int16_t *blocks, int64_t rows, int64_t columns, const int32_t *table, uint8_t *plane,
              int64_t plane_size)
{
    CHECK(check_blocks(rows, columns, table));
    REQUIRE(plane_size == 64 * rows * columns);
    idct_plane(blocks, rows, columns, table, plane);
    return VLAE_OK;
}

int vlae_enlarge(const uint8_t *plane, int64_t count, int64_t stride, int64_t first, int64_t height, int64_t width,
                 int32_t across, int32_t down, int64_t top, int64_t out_rows, int64_t out_width, uint8_t *out)
{
    REQUIRE(height >= 1 && height <= MOST_SIDE && width >= 1 && width <= stride && stride <= MOST_SIDE);
    REQUIRE(across >= 1 && across <= 4 && down >= 1 && down <= 4 && first >= 0 && count >= 1 && top >= 0);
    REQUIRE(first + count <= height && out_width >= 1 && out_width <= width * across && out_rows >= 1);
    REQUIRE(top <= MOST_SIDE * 4 && out_rows <= MOST_SIDE * 4 && top + out_rows <= height * down);
    vlae_component component = {plane, stride, first, width, height, across, down};
    int64_t last = top + out_rows - 1, mixed = is_mixed(&component) && down == 2;
    REQUIRE((mixed ? bounded((top + 1) / 2 - 1, height) : top / down) >= first);
    REQUIRE((mixed ? bounded((last + 1) / 2, height) : last / down) < first + count);
    for (int64_t y = 0; y < out_rows; y++)
        enlarge_row(&component, top + y, out_width, out + y * out_width);
    return VLAE_OK;
}

int vlae_jfif(const uint8_t *y, const uint8_t *cb, const uint8_t *cr, int64_t n, uint8_t *out)
{
    REQUIRE(n >= 0);
    jfif_pixels(y, cb, cr, n, out);
    return VLAE_OK;
}

/* ---------------------------------------------------------------------------------------------------- exceptions */

int64_t vlae_residual_scratch(int32_t height, int32_t width)
{
    REQUIRE(height >= 1 && height <= VLAE_MAX_GRID && width >= 1 && width <= VLAE_MAX_GRID);
    return residual_scratch(height, width);
}

int64_t vlae_residual_encode(const uint8_t *base, const uint8_t *pixels, int32_t height, int32_t width, uint8_t *data,
                             int64_t room, void *scratch, int64_t scratch_size)
{
    int64_t needed = vlae_residual_scratch(height, width);
    vlae_residual *residual = scratch;
    REQUIRE(needed >= 0 && room >= 0);
    CHECK_SCRATCH(needed);
    binary_begin(&residual->coder, data, NULL, room);
    return residual_tile(residual, base, pixels, NULL, height, width);
}

int64_t vlae_residual_decode(const uint8_t *base, uint8_t *out, int32_t height, int32_t width, const uint8_t *data,
                             int64_t size, void *scratch, int64_t scratch_size)
{
    int64_t needed = vlae_residual_scratch(height, width);
    vlae_residual *residual = scratch;
    REQUIRE(needed >= 0 && size >= 1);
    CHECK_SCRATCH(needed);
    binary_begin(&residual->coder, NULL, data, size);
    int64_t used = residual_tile(residual, base, out, out, height, width);
    return used >= 0 && used < size ? VLAE_BOUND : used;
}

static int check_scan(const vlae_scan *scan, jpeg_state *state, int64_t intervals)
{
    int64_t mcus = (int64_t)scan->rows * scan->columns, interval = scan->interval ? scan->interval : mcus;
    REQUIRE(scan->count > 0 && scan->count <= 4 && scan->rows > 0 && scan->columns > 0 && scan->interval >= 0);
    REQUIRE(scan->rows <= 1 << 16 && scan->columns <= 1 << 16 && intervals == (mcus + interval - 1) / interval);
    REQUIRE(scan->begin >= 0 && scan->begin <= scan->end && scan->end < 64 && scan->low >= 0 && scan->low < 14);
    REQUIRE(scan->high == 0 || scan->begin > 0 || scan->end == 0);
    memset(state, 0, sizeof *state);
    for (int i = 0; i < scan->count; i++) {
        const vlae_scan_component *component = &scan->components[i];
        REQUIRE(component->h > 0 && component->h <= 4 && component->v > 0 && component->v <= 4);
        REQUIRE((int64_t)scan->rows * component->v <= component->rows);
        REQUIRE((int64_t)scan->columns * component->h <= component->columns);
        if (!jpeg_code_set(&state->dc[i], component->dc) || !jpeg_code_set(&state->ac[i], component->ac))
            return VLAE_BOUND;
    }
    return VLAE_OK;
}

int64_t vlae_read_scan(const vlae_scan *scan, const uint8_t *data, int64_t size, uint8_t *padding, int64_t intervals)
{
    jpeg_state state;
    jpeg_reader reader = {.data = data, .size = size};
    int error = check_scan(scan, &state, intervals);
    REQUIRE(size >= 0);
    if (!error)
        error = jpeg_scan(&reader, NULL, &state, scan, padding);
    return error ? error : reader.at;
}

int64_t vlae_write_scan(const vlae_scan *scan, uint8_t *padding, int64_t intervals, uint8_t *out, int64_t out_size)
{
    jpeg_state state;
    jpeg_writer writer = {.data = out, .size = out_size};
    int error = check_scan(scan, &state, intervals);
    REQUIRE(out_size >= 0);
    if (!error)
        error = jpeg_scan(NULL, &writer, &state, scan, padding);
    return error ? error : writer.at;
}

int64_t vlae_coefficients_scratch(const vlae_coefficients *picture)
{
    REQUIRE(picture->count > 0 && picture->count <= 4);
    for (int i = 0; i < picture->count; i++) {
        const vlae_plane *plane = &picture->planes[i];
        REQUIRE(plane->h > 0 && plane->h <= 4 && plane->v > 0 && plane->v <= 4);
        REQUIRE(plane->columns > 0 && plane->columns <= 1 << 16 && plane->rows > 0 && plane->rows <= 1 << 16);
        REQUIRE(plane->first >= 0 && plane->first <= plane->last && plane->last <= plane->rows);
        for (int at = 0; at < 64; at++)
            REQUIRE(plane->table[at] > 0 && plane->table[at] < 1 << 16);
    }
    return coefficients_scratch(picture);
}

int64_t vlae_push_coefficients(const vlae_coefficients *picture, uint8_t *out, int64_t out_size, void *scratch,
                               int64_t scratch_size)
{
    int64_t needed = vlae_coefficients_scratch(picture);
    CHECK_SCRATCH(needed);
    REQUIRE(needed > 0 && out_size >= 0);
    return chosen->code_coefficients(picture, out, NULL, out_size, scratch);
}

int vlae_pop_coefficients(const vlae_coefficients *picture, const uint8_t *data, int64_t size, void *scratch,
                          int64_t scratch_size)
{
    int64_t needed = vlae_coefficients_scratch(picture);
    CHECK_SCRATCH(needed);
    REQUIRE(needed > 0 && data && size >= 0);
    return chosen->code_coefficients(picture, NULL, data, size, scratch) < 0 ? VLAE_EMPTY : VLAE_OK;
}

int64_t vlae_jfif_back(const uint8_t *rgb, int64_t n, uint8_t *y, uint8_t *chroma, uint8_t *low, uint8_t *high)
{
    REQUIRE(n >= 0);
    return jfif_back(rgb, n, y, chroma, low, high);
}

int vlae_luma_range(const uint8_t *rgb, const uint8_t *cb, const uint8_t *cr, int64_t n, uint8_t *low, uint8_t *high)
{
    REQUIRE(n >= 0);
    luma_range(rgb, cb, cr, n, low, high);
    return VLAE_OK;
}

int vlae_chroma_beside(const uint8_t *rgb, const uint8_t *other, int32_t component, int64_t n, uint8_t *low,
                       uint8_t *high)
{
    REQUIRE(n >= 0 && component >= 0 && component <= 1);
    chroma_beside(rgb, other, component, n, low, high);
    return VLAE_OK;
}

static int check_halving(int64_t rows, int64_t width, int32_t across, int32_t down, int64_t height, int64_t columns)
{
    REQUIRE(rows >= 1 && rows <= MOST_SIDE && width >= 1 && width <= MOST_SIDE);
    REQUIRE(across >= 1 && across <= 4 && down >= 1 && down <= 4);
    REQUIRE(height == (rows + down - 1) / down && columns == (width + across - 1) / across);
    return VLAE_OK;
}

int vlae_halve(const uint8_t *pixels, const uint8_t *known, int64_t rows, int64_t width, int32_t across, int32_t down,
               int32_t sweeps, int32_t *excess, int32_t *fitted, int32_t *factors, uint8_t *samples, uint8_t *state,
               int64_t height, int64_t columns)
{
    CHECK(check_halving(rows, width, across, down, height, columns));
    REQUIRE(sweeps >= 0);
    vlae_component component = {samples, columns, 0, columns, height, across, down};
    halve(&component, samples, pixels, known, rows, width, sweeps, excess, fitted, factors, state);
    return VLAE_OK;
}

int vlae_narrow(const uint8_t *low, const uint8_t *high, int64_t rows, int64_t width, int32_t across, int32_t down,
                int32_t rounds, uint8_t *from, uint8_t *to, int64_t height, int64_t columns)
{
    CHECK(check_halving(rows, width, across, down, height, columns));
    REQUIRE(rounds >= 0);
    vlae_component component = {from, columns, 0, columns, height, across, down};
    narrow(&component, low, high, rows, width, rounds, from, to);
    return VLAE_OK;
}

int vlae_search_blocks(const uint8_t *low, const uint8_t *high, int64_t n, const int32_t *table, const int16_t *basis,
                       int32_t steps, int32_t patience, int16_t *blocks, uint8_t *wrong)
{
    CHECK(check_blocks(1, n, table));
    REQUIRE(steps >= 0 && patience >= 0);
    for (int i = 0; i < 64 * 64; i++)
        REQUIRE(basis[i] >= -BASIS_MOST && basis[i] <= BASIS_MOST);
    chosen->search_blocks(low, high, n, table, basis, steps, patience, blocks, wrong);
    return VLAE_OK;
}

int vlae_score_steps(const int32_t *values, int64_t n, const int16_t *scores, int32_t *sums)
{
    REQUIRE(n >= 0 && n <= MOST_SIDE);
    for (int64_t i = 0; i < 64 * n; i++)
        REQUIRE(values[i] >= -(1 << 15) && values[i] <= 1 << 15);
    score_steps(values, n, scores, sums);
    return VLAE_OK;
}
