/* Learning while coding: the local network follows the pixels that are known.
 *
 * The last layer learns, or all but the first one. A step is made after the wave with which VLAE_LEARN_PIXELS pixels or
 * more have come since the last one. For each of them a score says how an output of a layer should move, in int8. Those of
 * the last layer are of costs (`scores_of`). For a hidden layer, derivatives d of the costs by the outputs of the layer
 * behind it, for the last layer in int8 like scores, for a hidden one its scores, go back through that one's weights W':
 *
 *     back[j][o]    = clamp((W'[j][o] * factor[o] + half) >> VLAE_LEARN_SCALE_BITS)                int8
 *     score[j]      = clamp((scale[j] * sum_o back[j][o] * d[o] + half) >> VLAE_LEARN_SCALE_BITS)  int8, 0 where the
 *                     activation is at an end of its range
 *
 * With a the activations of a layer's inputs (0 .. 255 of a rectified one, -128 .. 127 of the network's own, and
 * VLAE_LEARN_BIAS for the bias) and o one of its outputs:
 *
 *     sum[j][o]     = sum over pixels of a[j] * score[o]
 *     x[o][j]       = clamp((sum[j][o] + half) >> reduce[j])       int8
 *     step[o][j]    = clamp((diagonal[j] * x[o][j] + net(x[o])[j] + half) >> VLAE_LEARN_STEP_BITS)  int16
 *     moved[j][o]  -= (step[o][j] * rate[o] + half) >> (VLAE_LEARN_RATE_BITS + slow), within +-LEARN_REACH; one bit more
 *                     for the last layer where hidden ones learn, too
 *     W'[j][o]      = clamp(W[j][o] + ((moved[j][o] + half) >> VLAE_LEARN_BITS), +-127 * 128, or +-127 of one digit)
 *
 * and what is at rest stays: an addend becomes addend - multiplier * sum_j zero[j] * (W' - W)[j, o], plus that of the
 * bias. So it is stochastic gradient descent, preconditioned by the inverse covariance of a layer's inputs and a diagonal
 * one of its scores (Martens and Grosse 2015, arXiv 1503.05671), both found when the model was made. That inverse is a
 * diagonal less what a network of two layers gives, which has as many hidden units as there are directions in which the
 * inputs vary most.
 */
#ifndef VLAE_LEARN_H
#define VLAE_LEARN_H

#include "mixture.h"

#define LEARN_REACH (4096 << VLAE_LEARN_BITS)
#define LEARN_MOST (1 << 18) /* of a score before it is scaled */
#define OCTAVE 16 /* scales in one */
#define FARTHEST (1 << 18) /* of a symbol from its offset, in 1/64 coarse level */
#define NO_SCORE (KIND == BYTES ? 128 : 0) /* as an activation */
#define WEIGHT_LIMIT (127 << VLAE_DIGIT_BITS)
#define STEP_LIMIT ((1 << 15) - 1)
#define NET_LIMIT (1 << 24) /* of the preconditioner's network */
#define SPARE (ROWS > STEP ? ROWS : STEP) /* rows of scores that are read besides */
#define STEEP_BITS 6         /* that inverse scales are without */
#define STEEPER_BITS 10      /* that derivatives are, besides */

/* What is known of a layer that learns, the last one among them. */
typedef struct {
    const vlae_taught *model;
    packed_layer *layer;         /* of the network that moves */
    const packed_net *step;      /* the preconditioner */
    activation *rows;            /* (rows, net->width) activations of its inputs that are not in panels */
    weight_t *panels;            /* those since the last step as `dot` takes weights: panels of all pixels in turn */
    activation *scores;          /* (outputs, room) */
    activation *back;            /* (hidden, passed) weights by which derivatives go back, if a layer before it learns */
    int32_t *of_inputs;          /* (width,) sums of what is in the panels, if activations are BYTES */
    int32_t *base, *moved;       /* (outputs, inputs + 1): weights at first, and how far they have moved */
    int64_t *addend;             /* (outputs,) at first */
    int32_t hidden, again;       /* inputs that are a hidden layer's units, and where the other ones stand */
    int32_t inputs, outputs, width, passed, limit;
} taught;

/* All of a band's learning. */
typedef struct {
    const vlae_learn *model;
    packed_net *net;            /* the local network, of which layers move */
    taught layers[VLAE_MAX_LAYERS];
    activation *kept[VLAE_MAX_LAYERS];
    activation *derivatives;    /* (outputs, room) of costs by outputs, if a hidden layer learns */
    weight_t *passed;           /* scores of a panel of pixels as `dot` takes weights */
    activation *memory;         /* of `forward` */
    int32_t *totals;            /* (outputs, width) of a layer */
    int32_t *steps;             /* ROWS rows of outputs of a preconditioner */
    int32_t *half, *hyperbolic; /* (VLAE_SCALES,) half a level h in scales, and h coth h */
    int32_t *steep;             /* (VLAE_SCALES,) inverse scales */
    int64_t room, count, packed; /* pixels: for how many there is room, how many there are and are in panels */
    int32_t depth;              /* layers that learn */
} learner;

/* Sizes of layer i that learns, from the last one on. */
static void describe_taught(const vlae_learn *model, packed_net *net, int32_t i, taught *t)
{
    packed_layer *layer = &net->layers[net->count - 1 - i];
    const int32_t again = i ? 0 : net->again;
    *t = (taught){.model = &model->layers[i], .layer = layer, .step = model->layers[i].net, .again = again,
                  .hidden = layer->inputs - (again ? net->inputs : 0), .inputs = layer->inputs, .outputs = layer->outputs,
                  .width = ROUND_UP(again ? again + net->inputs : layer->inputs, PANEL),
                  .passed = ROUND_UP(layer->outputs, UNIT), .limit = layer->two ? WEIGHT_LIMIT : 127};
}

static int64_t learner_parts(const vlae_learn *model, const packed_net *net, int64_t rows, learner *l, uint8_t *base)
{
    const int64_t room = ROUND_UP(VLAE_LEARN_PIXELS + rows, UNIT) + PANEL;
    const size_t stride = (size_t)net->width, depth = (size_t)model->count;
    size_t most[4] = {0}; /* of memory, totals, steps and passed */
    taught layers[VLAE_MAX_LAYERS];
    int64_t size = 0;
    for (size_t i = 0; i < depth; i++) {
        taught *t = &layers[i];
        describe_taught(model, (packed_net *)(uintptr_t)net, (int32_t)i, t);
        const size_t outputs = (size_t)t->outputs, weights = 4 * outputs * ((size_t)t->inputs + 1);
        const size_t passes = i + 1 < depth;
        const size_t sizes[8] = {sizeof(activation) * (size_t)(rows + UNIT + ROWS) * stride,
                                 sizeof(weight_t) * (size_t)(room * t->width),
                                 sizeof(activation) * (outputs + SPARE) * (size_t)room,
                                 sizeof(activation) * passes * (size_t)(t->hidden + ROWS) * (size_t)t->passed,
                                 4 * (size_t)t->width,
                                 weights,
                                 weights,
                                 8 * outputs};
        const size_t shared[4] = {forward_size(t->step), 4 * (outputs + ROWS) * (size_t)t->width,
                                  4 * ROWS * (size_t)t->step->columns, sizeof(weight_t) * PANEL * (size_t)t->passed};
        void *parts[8];
        size += carve(base ? base + size : NULL, sizes, 8, parts);
        t->rows = parts[0], t->panels = parts[1], t->scores = parts[2], t->back = parts[3];
        t->of_inputs = parts[4], t->base = parts[5], t->moved = parts[6], t->addend = parts[7];
        for (int k = 0; k < 4; k++)
            most[k] = shared[k] > most[k] ? shared[k] : most[k];
    }
    const size_t derivatives = depth > 1 ? (size_t)(layers[0].outputs + SPARE) * (size_t)room : 0;
    const size_t sizes[10] = {(size_t)net->size, sizeof(activation) * ROWS * stride * (size_t)net->count,
                              most[0], most[1], most[2], most[3], sizeof(activation) * derivatives,
                              4 * VLAE_SCALES, 4 * VLAE_SCALES, 4 * VLAE_SCALES};
    void *parts[10];
    size += carve(base ? base + size : NULL, sizes, 10, parts);
    if (l) {
        *l = (learner){.model = model, .net = parts[0], .memory = parts[2], .totals = parts[3], .steps = parts[4],
                       .passed = parts[5], .derivatives = parts[6], .half = parts[7], .hyperbolic = parts[8],
                       .steep = parts[9], .room = room, .depth = model->count};
        memcpy(l->layers, layers, sizeof *layers * depth);
        for (int i = 0; i < net->count; i++)
            l->kept[i] = (activation *)parts[1] + (size_t)i * ROWS * stride;
    }
    return size;
}

/* Notes the weights of a layer at first, and whether its totals and outputs fit 31 bits wherever they move. */
static void begin_layer(const packed_net *net, taught *t)
{
    packed_layer *layer = t->layer;
    const int64_t *addend = (const int64_t *)((const uint8_t *)net + layer->addend);
    const int32_t *multiplier = (const int32_t *)((const uint8_t *)net + layer->multiplier);
    const int32_t low = PANEL / 2 * STEP, share = PANEL / layer->digits;
    const int64_t reach = LEARN_REACH >> VLAE_LEARN_BITS;
    for (int32_t o = 0; o < t->outputs; o++) {
        int64_t size = 0, sum = 0;
        const weight_t *weights = (const weight_t *)((const uint8_t *)net + layer->weights) +
                                  (size_t)(o / share) * (size_t)layer->steps * STEP * PANEL + (size_t)(o % share) * STEP;
        for (int32_t j = 0; j < t->inputs; j++) {
            const size_t k = (size_t)(j < t->hidden ? j : t->again + j - t->hidden);
            const weight_t *at = weights + k / STEP * PANEL * STEP + k % STEP;
            const int32_t weight = layer->digits == 2 ? at[0] * (1 << VLAE_DIGIT_BITS) + at[low] : at[0];
            const int64_t most = (weight < 0 ? -weight : weight) + reach;
            t->base[o * (t->inputs + 1) + j] = weight;
            size += most < t->limit ? most : t->limit;
            sum += weight;
        }
        t->addend[o] = addend[addend_at(o)];
        const int64_t plain = t->addend[o] + (KIND == SIGNED ? 0 : 128 * multiplier[o] * sum);
        const int64_t most = (128 * size + (128 * t->inputs + VLAE_LEARN_BIAS) * reach) * multiplier[o] + (plain < 0 ? -plain : plain);
        if (255 * size >= INT32_MAX || most >= (int64_t)1 << (31 + layer->shift))
            layer->narrow = 0;
    }
}

INLINE int32_t limit_to(int32_t v, int32_t low, int32_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* Puts n weights, STEP of them at a time, into a column of a panel; what is beyond them there is zero. */
INLINE void put_column(const int32_t *weights, size_t n, const int split, weight_t *to)
{
    weight_t high[VLAE_LEARN_WIDTH + STEP], low[VLAE_LEARN_WIDTH + STEP];
    memset(high + n, 0, sizeof *high * STEP);
    memset(low + n, 0, sizeof *low * STEP);
    for (size_t k = 0; k < n; k++) {
        const int32_t digit = split ? (weights[k] + 64) >> VLAE_DIGIT_BITS : weights[k];
        high[k] = (weight_t)digit;
        low[k] = (weight_t)(weights[k] - digit * (1 << VLAE_DIGIT_BITS));
    }
    for (size_t k = 0; k < n; k += STEP) {
        memcpy(to + k * PANEL, high + k, sizeof *to * STEP);
        if (split)
            memcpy(to + k * PANEL + PANEL / 2 * STEP, low + k, sizeof *to * STEP);
    }
}

/* The weights and the addend of an output by how far they have moved; `passes` gets those by which derivatives go back. */
INLINE void put_weights_of(learner *l, const taught *t, int32_t o, activation *passes)
{
    const packed_layer *layer = t->layer;
    const int32_t share = PANEL / layer->digits, *base = t->base + o * (t->inputs + 1), *moved = t->moved + o * (t->inputs + 1);
    const int32_t half = 1 << (VLAE_LEARN_BITS - 1), hidden = t->hidden, inputs = t->inputs, limit = t->limit;
    weight_t *weights = (weight_t *)((uint8_t *)l->net + layer->weights) +
                        (size_t)(o / share) * (size_t)layer->steps * STEP * PANEL + (size_t)(o % share) * STEP;
    int32_t now[VLAE_LEARN_WIDTH], change = 0; /* of the inputs whose activations are stored with another zero */
    for (int32_t j = 0; j < inputs; j++)
        now[j] = limit_to(base[j] + ((moved[j] + half) >> VLAE_LEARN_BITS), -limit, limit);
    for (int32_t j = KIND == SIGNED ? 0 : hidden; j < (KIND == SIGNED ? hidden : inputs); j++)
        change += now[j] - base[j];
    weight_t *again = weights + (size_t)t->again * PANEL; /* a multiple of STEP */
    if (layer->digits == 2) {
        put_column(now, (size_t)hidden, 1, weights);
        put_column(now + hidden, (size_t)(inputs - hidden), 1, again);
    } else {
        put_column(now, (size_t)hidden, 0, weights);
        put_column(now + hidden, (size_t)(inputs - hidden), 0, again);
    }
    const int64_t rest = VLAE_LEARN_BIAS * ((moved[inputs] + half) >> VLAE_LEARN_BITS) +
                         (int64_t)(KIND == SIGNED ? 128 : -128) * change; /* that the accumulator has too little */
    const int32_t *multiplier = (const int32_t *)((uint8_t *)l->net + layer->multiplier);
    ((int64_t *)((uint8_t *)l->net + layer->addend))[addend_at(o)] = t->addend[o] + multiplier[o] * rest;
    const int32_t factor = t->model->back ? t->model->back[o] : 0;
    for (int32_t j = 0; j < hidden; j++) {
        const int32_t passed = (now[j] * factor + (1 << (VLAE_LEARN_SCALE_BITS - 1))) >> VLAE_LEARN_SCALE_BITS;
        passes[j] = (activation)(limit_to(passed, -127, 127) + NO_SCORE);
    }
}

/* Those of ROWS outputs or fewer. */
static void put_moved(learner *l, const taught *t, int32_t first, int32_t rows)
{
    activation passes[ROWS][VLAE_LEARN_WIDTH];
    for (int32_t r = 0; r < rows; r++)
        put_weights_of(l, t, first + r, passes[r]);
    if (t == &l->layers[l->depth - 1])
        return;
    for (int32_t j = 0; j < t->hidden; j++)
        for (int32_t r = 0; r < rows; r++)
            t->back[j * t->passed + first + r] = passes[r][j];
}

static void begin_learning(const vlae_learn *model, const packed_net *net, const vlae_tables *tables, int64_t rows,
                           learner *l, uint8_t *base)
{
    learner_parts(model, net, rows, l, base);
    memcpy(l->net, net, (size_t)net->size);
    for (int32_t i = 0; i < l->depth; i++) {
        taught *t = &l->layers[i];
        t->layer = &l->net->layers[net->count - 1 - i];
        begin_layer(l->net, t);
        for (int32_t o = 0; o < (i + 1 < l->depth ? t->outputs : 0); o += ROWS)
            put_moved(l, t, o, t->outputs - o < ROWS ? t->outputs - o : ROWS); /* as they are, and as derivatives take them */
    }
    if (KIND == BYTES) { /* outputs of channels that are not coded have no scores */
        const size_t scores = (size_t)(l->layers[0].outputs + SPARE) * (size_t)l->room;
        memset(l->layers[0].scores, NO_SCORE, sizeof(activation) * scores);
        if (l->depth > 1)
            memset(l->derivatives, NO_SCORE, sizeof(activation) * scores);
    }
    for (int i = 0; i < VLAE_SCALES; i++) {
        const int64_t half = tables->inverse[i] >> 11;
        int64_t argument = 64 * tables->inverse[i] >> 16; /* 2 h in 1/256 */
        argument = argument < 0 ? 0 : argument < VLAE_SIGMOID_HALF ? argument : VLAE_SIGMOID_HALF;
        int64_t tangent = 2 * (int64_t)tables->sigmoid[VLAE_SIGMOID_HALF + argument] - (1 << VLAE_SIGMOID_BITS);
        l->half[i] = (int32_t)(half < VLAE_SIGMOID_HALF ? half : VLAE_SIGMOID_HALF);
        l->hyperbolic[i] = argument < 16 || tangent < 1 ? 1 << VLAE_LEARN_UNITS
                                                        : (int32_t)((argument << (VLAE_LEARN_UNITS - 9 + VLAE_SIGMOID_BITS)) / tangent);
        l->steep[i] = (int32_t)(tables->inverse[i] >> STEEP_BITS);
    }
}

/* Puts what an output of `count` of SIDE rows has, times a factor, from pixel n on. */
INLINE void put_scores(activation *to, ints score, int32_t factor, int64_t count)
{
    score = clamp(score, -LEARN_MOST, LEARN_MOST) * factor + (1 << (VLAE_LEARN_SCALE_BITS - 1));
    score = clamp(score >> VLAE_LEARN_SCALE_BITS, -127, 127) + NO_SCORE;
    for (int64_t i = 0; i < count; i++)
        to[i] = (activation)score[i];
}

/* The score of output o of `count` of SIDE rows, and the derivative that goes back. */
INLINE void put_both(learner *l, int64_t n, int64_t count, int32_t o, ints score, ints derivative)
{
    const size_t at = (size_t)o * (size_t)l->room + (size_t)n;
    put_scores(l->layers[0].scores + at, score, l->layers[0].model->scale[o], count);
    if (l->depth > 1)
        put_scores(l->derivatives + at, derivative, l->model->slope[o], count);
}

/* Scores of rows whose symbols are known: derivatives of their costs, those of locations in scales.
 *
 * With below and above the sigmoids at the borders of a symbol, t = 1 - below - above, d the middle's distance from the
 * mean and h half a level, both in scales, and p a component's posterior, the derivatives by location and by the
 * logarithm of the scale are p t and p (d t + h coth h - h (above - below)), or p (d +- h) t at the ends of the range.
 * The scores of the restricted form are those of the plain one. What goes back to a hidden layer is derivatives by
 * locations as they are.
 */
INLINE void scores_of(const vlae_rows *rows, const vlae_tables *tables, const void *symbols, learner *l, int k_count,
                      int channels, const int deep)
{
    const int32_t half = 1 << (VLAE_LEVEL_BITS - 1), last = rows->levels - 1, one = certain(deep)[0];
    const int pairs = rows->coupled ? channels * (channels - 1) / 2 : 0;
    const int down = VLAE_SIGMOID_BITS + (deep ? MORE_BITS : 0) - VLAE_LEARN_UNITS;
    for (int64_t begin = 0; begin < rows->n; begin += SIDE) {
        int64_t count = rows->n - begin < SIDE ? rows->n - begin : SIDE;
        const int32_t *params[SIDE];
        state s;
        channel now;
        ints share[VLAE_MAX_MIXTURES], by_mean[VLAE_MAX_MIXTURES][3], by_scale[VLAE_MAX_MIXTURES][3];
        ints steep[VLAE_MAX_MIXTURES][3];
        side_rows(rows, begin, count, params);
        load_weights(params, tables, k_count, &s);
        for (int k = 0; k < k_count; k++)
            for (int i = 0; i < SIDE; i++)
                share[k][i] = (s.weight[k][i] << VLAE_LEARN_UNITS) / s.total[i];
        for (int c = 0; c < rows->coded; c++) {
            longs product[VLAE_MAX_MIXTURES];
            ints x;
            load_channel(rows, params, begin, count, tables, k_count, channels, c, &s, &now, deep);
            for (int64_t i = 0; i < SIDE; i++)
                x[i] = symbol_at(symbols, (begin + (i < count ? i : count - 1)) * channels + c, rows->levels, deep);
            ints middle = x << VLAE_LEVEL_BITS, first = x == 0, final = x == last;
            for (int k = 0; k < k_count; k++) {
                ints below = ~first & sigmoids(tables->sigmoid, middle - half, &now, k, deep);
                ints above = pick(final, certain(deep), sigmoids(tables->sigmoid, middle + half, &now, k, deep));
                ints t = (one - below - above) >> down, part = (above - below) >> down, scale;
                longs far = LONGS(middle - now.mean[k]) * LONGS(now.inverse[k]) >> 16;
                ints d = clamp(INTS(deep ? far >> now.shift : far), -VLAE_SIGMOID_HALF, VLAE_SIGMOID_HALF);
                for (int i = 0; i < SIDE; i++)
                    scale[i] = params[i][k_count * (1 + channels) + k * channels + c];
                steep[k][c] = entries(l->steep, scale);
                scale = clamp(deep ? scale + INTS(now.shift) * OCTAVE : scale, 0, VLAE_SCALES - 1); /* of levels */
                ints h = entries(l->half, scale), around = entries(l->hyperbolic, scale);
                around -= (h * part) >> VLAE_ARGUMENT_BITS;
                ints inside = ((d * t) >> VLAE_ARGUMENT_BITS) + around;
                ints ends = (pick(first, d + h, d - h) * t) >> VLAE_ARGUMENT_BITS;
                by_mean[k][c] = t;
                by_scale[k][c] = pick(first | final, ends, inside);
                product[k] = LONGS(s.weight[k]) * LONGS(above - below);
            }
            observe(&s, product, k_count, x, &now, c, deep);
        }
        const int64_t n = l->count + begin;
        for (int k = 0; k < k_count; k++) {
            ints p;
            for (int i = 0; i < SIDE; i++)
                p[i] = (s.weight[k][i] << VLAE_LEARN_UNITS) / s.total[i];
            put_both(l, n, count, k, share[k] - p, share[k] - p);
            for (int c = 0; c < rows->coded; c++) {
                const ints moved = (p * by_mean[k][c]) >> VLAE_LEARN_UNITS, scaled = (p * by_scale[k][c]) >> VLAE_LEARN_UNITS;
                const ints steeper = (moved * steep[k][c]) >> STEEPER_BITS;
                put_both(l, n, count, k_count + k * channels + c, moved, steeper);
                put_both(l, n, count, k_count * (1 + channels) + k * channels + c, scaled, scaled);
                for (int e = 0; e < (pairs ? c : 0); e++) {
                    const ints u = clamp(s.u[e], -FARTHEST, FARTHEST);
                    const longs product = LONGS(steeper) * LONGS(deep ? u >> INTS(now.shift) : u);
                    put_both(l, n, count, k_count * (1 + 2 * channels) + k * pairs + c * (c - 1) / 2 + e,
                             (moved * u) >> VLAE_LEVEL_BITS, INTS(product >> VLAE_LEVEL_BITS));
                }
            }
        }
    }
}

/* Puts the first rows of a layer's inputs into panels, as `dot` takes weights, until those have `end` pixels, a multiple of
 * STEP; `left` rows stay and go to the front. Activations stay as they are if they are WORDS, else they become what they
 * stand for. */
static void pack_rows(const learner *l, taught *t, int64_t end, int64_t left)
{
    const size_t stride = (size_t)l->net->width, width = (size_t)t->width;
    const activation *row = t->rows;
    for (int64_t n = l->packed; n < end; n += STEP, row += STEP * stride) {
        const activation *from = row;
        weight_t *to = t->panels + (size_t)n * PANEL;
        for (size_t first = 0; first < width; first += PANEL, to += (size_t)l->room * PANEL, from += PANEL) {
            activation rows[STEP][PANEL];
            weight_t panel[PANEL][STEP];
            for (size_t r = 0; r < STEP; r++)
                memcpy(rows[r], from + r * stride, sizeof rows[r]);
            for (size_t j = 0; j < PANEL; j++)
                for (size_t r = 0; r < STEP; r++)
                    panel[j][r] = (weight_t)(rows[r][j] ^ (KIND == BYTES ? 128 : 0));
            memcpy(to, panel, sizeof panel);
            for (size_t j = 0; j < (KIND == BYTES ? PANEL : 0); j++)
                for (size_t r = 0; r < STEP; r++)
                    t->of_inputs[first + j] += panel[j][r];
        }
    }
    if (end > l->packed)
        memcpy(t->rows, row, sizeof *row * stride * (size_t)left);
}

/* Has the activations of the next rows of pixels put behind those that `pack_rows` left. */
INLINE void keep_next(learner *l, int64_t begin)
{
    const size_t at = (size_t)(l->count - l->packed + begin) * (size_t)l->net->width;
    for (int32_t i = 0; i < l->depth; i++)
        l->kept[l->net->count - 2 - i] = l->layers[i].rows + at;
}

/* Takes note of the activations of n pixels more. */
INLINE void keep_rows(learner *l, int64_t n)
{
    const int64_t end = (l->count + n) / STEP * STEP;
    for (int32_t i = 0; i < l->depth; i++)
        pack_rows(l, &l->layers[i], end, l->count + n - end);
    l->packed = end;
}

/* Inputs of the preconditioner: n sums, each with `more`. */
INLINE void put_sums(const int32_t *total, const int32_t *of_inputs, int32_t more, const int32_t *reduce, int32_t n,
                     activation *to)
{
    for (int32_t j = 0; j < n; j++) {
        const int32_t x = total[j] - (KIND == BYTES ? 128 * of_inputs[j] : 0) + more;
        to[j] = ACTIVATION((uint8_t)(limit_to((x + (1 << reduce[j] >> 1)) >> reduce[j], -127, 127) + 128));
    }
}

/* Fills up the pixels since the last step with ones of no score, to a multiple of UNIT, and returns how many there are. */
static int64_t fill_up(learner *l)
{
    const size_t filled = ROUND_UP((size_t)l->count, UNIT), stride = (size_t)l->net->width;
    const size_t left = (size_t)(l->count - l->packed);
    for (int32_t i = 0; i < l->depth; i++) {
        taught *t = &l->layers[i];
        memset(t->rows + left * stride, 0, sizeof *t->rows * stride * (filled - (size_t)l->count));
        pack_rows(l, t, (int64_t)filled, 0);
    }
    for (size_t o = 0; o < (size_t)l->layers[0].outputs; o++)
        for (size_t n = (size_t)l->count; n < filled; n++) {
            l->layers[0].scores[o * (size_t)l->room + n] = (activation)NO_SCORE;
            if (l->depth > 1)
                l->derivatives[o * (size_t)l->room + n] = (activation)NO_SCORE;
        }
    return (int64_t)filled;
}

/* Scores of a hidden layer's units, those of the inputs of the layer behind it: of `from`, which has the derivatives by
 * that one's outputs, what goes back by its weights as they are, where a unit is neither at rest nor clamped. */
static void go_back(learner *l, const taught *behind, const activation *from, taught *to, int64_t filled)
{
    const size_t room = (size_t)l->room, passed = (size_t)behind->passed;
    const int32_t lowest = KIND == WORDS ? 0 : -128, highest = lowest + 255;
    int32_t sums[ROWS * PANEL], of_pixels[PANEL];
    begin_products();
    for (size_t n = 0; n < (size_t)filled; n += PANEL) { /* what a panel has beyond `filled` is of no use */
        for (size_t o = 0; o < (size_t)behind->outputs; o += STEP) {
            const activation *at = from + o * room + n;
            weight_t *to = l->passed + o * PANEL; /* beyond the outputs it meets what is zero */
            for (size_t i = 0; i < PANEL; i++)
                for (size_t s = 0; s < STEP; s++)
                    to[i * STEP + s] = (weight_t)(at[s * room + i] ^ (KIND == BYTES ? 128 : 0));
        }
        memset(of_pixels, 0, sizeof of_pixels);
        for (size_t o = 0; o < (KIND == BYTES ? (size_t)behind->outputs : 0); o++)
            for (size_t i = 0; i < PANEL; i++)
                of_pixels[i] += 128 * ((int32_t)from[o * room + n + i] - 128);
        for (size_t first = 0; first < (size_t)behind->hidden; first += ROWS) {
            dot(behind->back + first * passed, passed, l->passed, passed / STEP, sums, VECTORS, NULL);
            for (size_t r = 0; r < ROWS && first + r < (size_t)behind->hidden; r++) {
                const size_t j = first + r;
                const int32_t scale = to->model->scale[j];
                const weight_t *unit = behind->panels + j / PANEL * PANEL * room + n * PANEL + j % PANEL * STEP;
                activation *score = to->scores + j * room + n;
                weight_t units[PANEL];
                for (size_t i = 0; i < PANEL; i += STEP)
                    memcpy(units + i, unit + i * PANEL, sizeof *unit * STEP);
                for (size_t i = 0; i < PANEL; i++) {
                    const int32_t a = units[i], sum = limit_to(sums[r * PANEL + i] - of_pixels[i], -LEARN_MOST, LEARN_MOST);
                    const int32_t made = (sum * scale + (1 << (VLAE_LEARN_SCALE_BITS - 1))) >> VLAE_LEARN_SCALE_BITS;
                    score[i] = (activation)((a == lowest || a == highest ? 0 : limit_to(made, -127, 127)) + NO_SCORE);
                }
            }
        }
    }
    end_products();
}

/* Sums over the pixels since the last step, for all outputs of a layer. */
static void sum_scores(const learner *l, const taught *t, int64_t filled)
{
    const size_t room = (size_t)l->room, width = (size_t)t->width;
    int32_t sums[ROWS * PANEL];
    begin_products();
    for (size_t at = 0; at < width; at += PANEL)
        for (size_t first = 0; first < (size_t)t->outputs; first += ROWS) {
            dot(t->scores + first * room, room, t->panels + at * room, (size_t)filled / STEP, sums, VECTORS, NULL);
            for (size_t r = 0; r < ROWS; r++)
                memcpy(l->totals + (first + r) * width + at, sums + r * PANEL, sizeof(int32_t) * PANEL);
        }
    end_products();
}

/* Sums of output o as inputs of the preconditioner. */
static void put_sums_of(const learner *l, const taught *t, int32_t o, activation *to)
{
    const int32_t again = t->again, hidden = t->hidden, inputs = t->inputs, *reduce = t->model->reduce;
    const int32_t *total = l->totals + (size_t)o * (size_t)t->width;
    const activation *scores = t->scores + (size_t)o * (size_t)l->room;
    int32_t all = 0;
    for (int64_t n = 0; n < l->count; n++)
        all += scores[n] - NO_SCORE;
    put_sums(total, t->of_inputs, KIND == WORDS ? 0 : 128 * all, reduce, hidden, to);
    put_sums(total + again, t->of_inputs + again, KIND == WORDS ? -128 * all : 0, reduce + hidden, inputs - hidden,
             to + hidden);
    const int32_t bias = VLAE_LEARN_BIAS * all, none = 0;
    put_sums(&bias, &none, 0, reduce + inputs, 1, to + inputs);
}

/* How far an output's weights have moved after the step of its sums x, to which the preconditioner's network gave y. */
INLINE void move(const activation *x, const int32_t *y, const int32_t *diagonal, int32_t n, int32_t rate, int32_t down,
                 int32_t *restrict moved)
{
    const int32_t half = 1 << (down - 1);
    for (int32_t j = 0; j < n; j++) {
        int32_t step = diagonal[j] * (x[j] - (KIND == SIGNED ? 0 : 128)) + limit_to(y[j], -NET_LIMIT, NET_LIMIT);
        step = limit_to((step + (1 << (VLAE_LEARN_STEP_BITS - 1))) >> VLAE_LEARN_STEP_BITS, -STEP_LIMIT, STEP_LIMIT);
        moved[j] = limit_to(moved[j] - ((step * rate + half) >> down), -LEARN_REACH, LEARN_REACH);
    }
}

/* Moves a layer by its sums. */
static void move_layer(learner *l, taught *t)
{
    const size_t stride = (size_t)t->step->width;
    const int32_t down = VLAE_LEARN_RATE_BITS + l->model->slow + (l->depth > 1 && t == l->layers);
    for (int32_t first = 0; first < t->outputs; first += ROWS) {
        const int32_t rows = t->outputs - first < ROWS ? t->outputs - first : ROWS;
        for (int32_t r = 0; r < rows; r++)
            put_sums_of(l, t, first + r, l->memory + (size_t)r * stride);
        forward(t->step, l->memory, l->steps, NULL);
        for (int32_t r = 0; r < rows; r++) {
            const int32_t o = first + r;
            move(l->memory + (size_t)r * stride, l->steps + r * t->step->columns, t->model->diagonal, t->inputs + 1,
                 t->model->rate[o], down, t->moved + o * (t->inputs + 1));
        }
        put_moved(l, t, first, rows);
    }
    memset(t->of_inputs, 0, 4 * (size_t)t->width);
}

/* Moves all layers that learn by what the pixels since the last step say. */
static void learn(learner *l)
{
    const int64_t filled = fill_up(l);
    for (int32_t i = 0; i + 1 < l->depth; i++)
        go_back(l, &l->layers[i], i ? l->layers[i].scores : l->derivatives, &l->layers[i + 1], filled);
    for (int32_t i = 0; i < l->depth; i++) {
        sum_scores(l, &l->layers[i], filled);
        move_layer(l, &l->layers[i]);
    }
    l->count = l->packed = 0;
}

/* Takes note of rows of pixels, whose activations `keep_rows` has; learns when it is time. */
INLINE void observe_rows(const vlae_rows *rows, const vlae_tables *tables, const void *symbols, learner *l)
{
    if (is_deep(rows))
        scores_of(rows, tables, symbols, l, rows->mixtures, rows->channels, 1);
    else if (rows->mixtures == 5 && rows->channels == 3)
        scores_of(rows, tables, symbols, l, 5, 3, 0);
    else
        scores_of(rows, tables, symbols, l, rows->mixtures, rows->channels, 0);
    l->count += rows->n;
    if (l->count >= VLAE_LEARN_PIXELS)
        learn(l);
}

#endif
