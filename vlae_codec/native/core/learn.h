/* Learning while coding: the last layer of the local network follows the pixels that are known.
 *
 * A step is made after the wave with which VLAE_LEARN_PIXELS pixels or more have come since the last one. For each of
 * them a score says how an output should move, in int8 (`scores`). With a the activations of the last layer's inputs
 * (0 .. 255 of a rectified one, -128 .. 127 of the network's own, and VLAE_LEARN_BIAS for the bias) and o an output:
 *
 *     sum[j][o]     = sum over pixels of a[j] * score[o]
 *     x[o][j]       = clamp((sum[j][o] + half) >> reduce[j])       int8
 *     step[o][j]    = clamp((diagonal[j] * x[o][j] + net(x[o])[j] + half) >> VLAE_LEARN_STEP_BITS)  int16
 *     moved[j][o]  -= (step[o][j] * rate[o] + half) >> (VLAE_LEARN_RATE_BITS + slow), within +-LEARN_REACH
 *     W'[j][o]      = clamp(W[j][o] + ((moved[j][o] + half) >> VLAE_LEARN_BITS), +-127 * 128)
 *
 * and what is at rest stays: an addend becomes addend - multiplier * sum_j zero[j] * (W' - W)[j, o], plus that of the
 * bias. So it is stochastic gradient descent, preconditioned by the inverse covariance of the layer's inputs and a
 * diagonal one of the scores (Martens and Grosse 2015, arXiv 1503.05671), both found when the model was made. That
 * inverse is a diagonal less what a network of two layers gives, which has as many hidden units as there are directions
 * in which the inputs vary most.
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

/* All of a band's learning. */
typedef struct {
    const vlae_learn *model;
    packed_net *net;            /* the local network, of which the last layer moves */
    const packed_net *step;     /* the preconditioner */
    activation *kept[VLAE_MAX_LAYERS];
    activation *rows;           /* (rows, net->width) activations of the last layer's inputs that are not in panels */
    weight_t *panels;           /* those since the last step as `dot` takes weights: panels of all pixels in turn */
    activation *scores;         /* (outputs, room) */
    activation *memory;         /* of `forward` */
    int32_t *totals;            /* (outputs, width) */
    int32_t *of_inputs;         /* (width,) sums of what is in the panels, if activations are BYTES */
    int32_t *steps;             /* ROWS rows of outputs of `step` */
    int32_t *base, *moved;      /* (outputs, inputs + 1): weights at first, and how far they have moved */
    int64_t *addend;            /* (outputs,) at first */
    int32_t *half, *hyperbolic; /* (VLAE_SCALES,) half a level h in scales, and h coth h */
    int64_t room, count, packed; /* pixels: for how many there is room, how many there are and are in panels */
    int32_t hidden, inputs, outputs, width;
} learner;

INLINE int32_t learner_hidden(const packed_net *net)
{
    return net->layers[net->count - 1].inputs - net->inputs;
}

static int64_t learner_parts(const vlae_learn *model, const packed_net *net, int64_t rows, learner *l, uint8_t *base)
{
    const packed_layer *last = &net->layers[net->count - 1];
    const packed_net *step = model->net;
    const int64_t room = ROUND_UP(VLAE_LEARN_PIXELS + rows, UNIT) + ROWS;
    const size_t stride = (size_t)net->width, outputs = (size_t)last->outputs, inputs = (size_t)last->inputs;
    const int32_t width = ROUND_UP(net->again + net->inputs, PANEL);
    const size_t sizes[14] = {(size_t)net->size,
                              sizeof(activation) * ROWS * stride * (size_t)net->count,
                              sizeof(activation) * (size_t)(rows + UNIT + ROWS) * stride,
                              sizeof(weight_t) * (size_t)(room * width),
                              sizeof(activation) * (outputs + ROWS) * (size_t)room,
                              forward_size(step),
                              4 * (outputs + ROWS) * (size_t)width,
                              4 * (size_t)width,
                              4 * ROWS * (size_t)step->columns,
                              4 * (inputs + 1) * outputs,
                              4 * (inputs + 1) * outputs,
                              8 * outputs,
                              4 * VLAE_SCALES,
                              4 * VLAE_SCALES};
    void *parts[14];
    int64_t size = carve(base, sizes, 14, parts);
    if (l) {
        *l = (learner){.model = model, .net = parts[0], .step = step, .rows = parts[2], .panels = parts[3],
                       .scores = parts[4], .memory = parts[5], .totals = parts[6], .of_inputs = parts[7],
                       .steps = parts[8], .base = parts[9], .moved = parts[10], .addend = parts[11],
                       .half = parts[12], .hyperbolic = parts[13], .room = room,
                       .hidden = learner_hidden(net), .inputs = last->inputs,
                       .outputs = last->outputs, .width = width};
        for (int i = 0; i < net->count; i++)
            l->kept[i] = (activation *)parts[1] + (size_t)i * ROWS * stride;
    }
    return size;
}

static void begin_learning(const vlae_learn *model, const packed_net *net, const vlae_tables *tables, int64_t rows,
                           learner *l, uint8_t *base)
{
    learner_parts(model, net, rows, l, base);
    memcpy(l->net, net, (size_t)net->size);
    if (KIND == BYTES) /* outputs of channels that are not coded have no scores */
        memset(l->scores, NO_SCORE, sizeof(activation) * (size_t)(l->outputs + ROWS) * (size_t)l->room);
    packed_layer *layer = &l->net->layers[l->net->count - 1];
    const int64_t *addend = (const int64_t *)((uint8_t *)l->net + layer->addend);
    const int32_t low = PANEL / 2 * STEP, share = PANEL / layer->digits;
    const int32_t *multiplier = (const int32_t *)((const uint8_t *)net + layer->multiplier);
    const int64_t reach = LEARN_REACH >> VLAE_LEARN_BITS;
    for (int32_t o = 0; o < l->outputs; o++) {
        int64_t size = l->inputs * reach, sum = 0;
        const weight_t *weights = (const weight_t *)((const uint8_t *)net + layer->weights) +
                                  (size_t)(o / share) * (size_t)layer->steps * STEP * PANEL + (size_t)(o % share) * STEP;
        for (int32_t j = 0; j < l->inputs; j++) {
            const size_t k = (size_t)(j < l->hidden ? j : net->again + j - l->hidden);
            const weight_t *at = weights + k / STEP * PANEL * STEP + k % STEP;
            const int32_t weight = layer->digits == 2 ? at[0] * (1 << VLAE_DIGIT_BITS) + at[low] : at[0];
            l->base[o * (l->inputs + 1) + j] = weight;
            size += weight < 0 ? -weight : weight;
            sum += weight;
        }
        l->addend[o] = addend[addend_at(o)];
        const int64_t plain = l->addend[o] + (KIND == SIGNED ? 0 : 128 * multiplier[o] * sum);
        const int64_t most = (128 * size + (128 * l->inputs + VLAE_LEARN_BIAS) * reach) * multiplier[o] + (plain < 0 ? -plain : plain);
        if (255 * size >= INT32_MAX || most >= (int64_t)1 << (31 + layer->shift))
            layer->narrow = 0;
    }
    for (int i = 0; i < VLAE_SCALES; i++) {
        const int64_t half = tables->inverse[i] >> 11;
        int64_t argument = 64 * tables->inverse[i] >> 16; /* 2 h in 1/256 */
        argument = argument < 0 ? 0 : argument < VLAE_SIGMOID_HALF ? argument : VLAE_SIGMOID_HALF;
        int64_t tangent = 2 * (int64_t)tables->sigmoid[VLAE_SIGMOID_HALF + argument] - (1 << VLAE_SIGMOID_BITS);
        l->half[i] = (int32_t)(half < VLAE_SIGMOID_HALF ? half : VLAE_SIGMOID_HALF);
        l->hyperbolic[i] = argument < 16 || tangent < 1 ? 1 << VLAE_LEARN_UNITS
                                                        : (int32_t)((argument << (VLAE_LEARN_UNITS - 9 + VLAE_SIGMOID_BITS)) / tangent);
    }
}

/* Scores of an output of `count` of SIDE rows, from pixel n on. */
INLINE void put_scores(learner *l, int64_t n, int64_t count, int32_t o, ints score)
{
    score = clamp(score, -LEARN_MOST, LEARN_MOST) * l->model->scale[o] + (1 << (VLAE_LEARN_SCALE_BITS - 1));
    score = clamp(score >> VLAE_LEARN_SCALE_BITS, -127, 127) + NO_SCORE;
    activation *to = l->scores + (size_t)o * (size_t)l->room + n;
    for (int64_t i = 0; i < count; i++)
        to[i] = (activation)score[i];
}

/* Scores of rows whose symbols are known: derivatives of their costs, those of locations in scales.
 *
 * With below and above the sigmoids at the borders of a symbol, t = 1 - below - above, d the middle's distance from the
 * mean and h half a level, both in scales, and p a component's posterior, the derivatives by location and by the
 * logarithm of the scale are p t and p (d t + h coth h - h (above - below)), or p (d +- h) t at the ends of the range.
 * The scores of the restricted form are those of the plain one.
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
            put_scores(l, n, count, k, share[k] - p);
            for (int c = 0; c < rows->coded; c++) {
                const ints moved = (p * by_mean[k][c]) >> VLAE_LEARN_UNITS;
                put_scores(l, n, count, k_count + k * channels + c, moved);
                put_scores(l, n, count, k_count * (1 + channels) + k * channels + c, (p * by_scale[k][c]) >> VLAE_LEARN_UNITS);
                for (int e = 0; e < (pairs ? c : 0); e++)
                    put_scores(l, n, count, k_count * (1 + 2 * channels) + k * pairs + c * (c - 1) / 2 + e,
                               (moved * clamp(s.u[e], -FARTHEST, FARTHEST)) >> VLAE_LEVEL_BITS);
            }
        }
    }
}

/* Puts the first rows into panels, as `dot` takes weights, until those have `end` pixels, a multiple of STEP; `left` rows
 * stay and go to the front. Activations stay as they are if they are WORDS, else they become what they stand for. */
static void pack_rows(learner *l, int64_t end, int64_t left)
{
    const size_t stride = (size_t)l->net->width, width = (size_t)l->width;
    const activation *row = l->rows;
    for (int64_t n = l->packed; n < end; n += STEP, row += STEP * stride) {
        const activation *from = row;
        weight_t *to = l->panels + (size_t)n * PANEL;
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
                    l->of_inputs[first + j] += panel[j][r];
        }
    }
    if (end > l->packed)
        memcpy(l->rows, row, sizeof *row * stride * (size_t)left);
    l->packed = end;
}

/* Takes note of the activations of n pixels more, which are behind those that `pack_rows` left. */
INLINE void keep_rows(learner *l, int64_t n)
{
    pack_rows(l, (l->count + n) / STEP * STEP, (l->count + n) % STEP);
}

INLINE int32_t limit_to(int32_t v, int32_t low, int32_t high)
{
    return v < low ? low : v > high ? high : v;
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

/* Sums over the pixels since the last step, for all outputs. */
static void sum_scores(learner *l)
{
    const size_t room = (size_t)l->room, width = (size_t)l->width, filled = ROUND_UP((size_t)l->count, UNIT);
    const size_t stride = (size_t)l->net->width, left = (size_t)(l->count - l->packed);
    int32_t sums[ROWS * PANEL];
    memset(l->rows + left * stride, 0, sizeof *l->rows * stride * (filled - (size_t)l->count));
    pack_rows(l, (int64_t)filled, 0);
    for (size_t o = 0; o < (size_t)l->outputs; o++)
        for (size_t n = (size_t)l->count; n < filled; n++)
            l->scores[o * room + n] = (activation)NO_SCORE;
    begin_products();
    for (size_t at = 0; at < width; at += PANEL)
        for (size_t first = 0; first < (size_t)l->outputs; first += ROWS) {
            dot(l->scores + first * room, room, l->panels + at * room, filled / STEP, sums, VECTORS, NULL);
            for (size_t r = 0; r < ROWS; r++)
                memcpy(l->totals + (first + r) * width + at, sums + r * PANEL, sizeof(int32_t) * PANEL);
        }
    end_products();
}

/* Sums of output o as inputs of the preconditioner. */
static void put_sums_of(const learner *l, int32_t o, activation *to)
{
    const int32_t again = l->net->again, hidden = l->hidden, inputs = l->inputs, *reduce = l->model->reduce;
    const int32_t *total = l->totals + (size_t)o * (size_t)l->width;
    const activation *scores = l->scores + (size_t)o * (size_t)l->room;
    int32_t all = 0;
    for (int64_t n = 0; n < l->count; n++)
        all += scores[n] - NO_SCORE;
    put_sums(total, l->of_inputs, KIND == WORDS ? 0 : 128 * all, reduce, hidden, to);
    put_sums(total + again, l->of_inputs + again, KIND == WORDS ? -128 * all : 0, reduce + hidden, inputs - hidden,
             to + hidden);
    const int32_t bias = VLAE_LEARN_BIAS * all, none = 0;
    put_sums(&bias, &none, 0, reduce + inputs, 1, to + inputs);
}

/* Puts n weights into a column of a panel. */
INLINE void put_column(const int32_t *weights, size_t n, const int split, weight_t *to)
{
    for (size_t k = 0; k < n; k++) {
        const size_t at = k / STEP * PANEL * STEP + k % STEP;
        const int32_t high = split ? (weights[k] + 64) >> VLAE_DIGIT_BITS : weights[k];
        to[at] = (weight_t)high;
        if (split)
            to[at + PANEL / 2 * STEP] = (weight_t)(weights[k] - high * (1 << VLAE_DIGIT_BITS));
    }
}

/* The weights and the addend of an output by how far they have moved. */
static void put_weights_of(learner *l, int32_t o)
{
    const packed_layer *layer = &l->net->layers[l->net->count - 1];
    const int32_t share = PANEL / layer->digits, *base = l->base + o * (l->inputs + 1), *moved = l->moved + o * (l->inputs + 1);
    const int32_t half = 1 << (VLAE_LEARN_BITS - 1), hidden = l->hidden, inputs = l->inputs;
    weight_t *weights = (weight_t *)((uint8_t *)l->net + layer->weights) +
                        (size_t)(o / share) * (size_t)layer->steps * STEP * PANEL + (size_t)(o % share) * STEP;
    int32_t now[VLAE_LEARN_WIDTH], change = 0; /* of the inputs whose activations are stored with another zero */
    for (int32_t j = 0; j < inputs; j++)
        now[j] = limit_to(base[j] + ((moved[j] + half) >> VLAE_LEARN_BITS), -WEIGHT_LIMIT, WEIGHT_LIMIT);
    for (int32_t j = KIND == SIGNED ? 0 : hidden; j < (KIND == SIGNED ? hidden : inputs); j++)
        change += now[j] - base[j];
    weight_t *again = weights + (size_t)l->net->again * PANEL; /* a multiple of STEP */
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
    ((int64_t *)((uint8_t *)l->net + layer->addend))[addend_at(o)] = l->addend[o] + multiplier[o] * rest;
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

/* Moves the last layer by what the pixels since the last step say. */
static void learn(learner *l)
{
    const size_t stride = (size_t)l->step->width;
    sum_scores(l);
    for (int32_t first = 0; first < l->outputs; first += ROWS) {
        const int32_t rows = l->outputs - first < ROWS ? l->outputs - first : ROWS;
        for (int32_t r = 0; r < rows; r++)
            put_sums_of(l, first + r, l->memory + (size_t)r * stride);
        forward(l->step, l->memory, l->steps, NULL);
        for (int32_t r = 0; r < rows; r++) {
            const int32_t o = first + r;
            move(l->memory + (size_t)r * stride, l->steps + r * l->step->columns, l->model->diagonal, l->inputs + 1,
                 l->model->rate[o], VLAE_LEARN_RATE_BITS + l->model->slow, l->moved + o * (l->inputs + 1));
            put_weights_of(l, o);
        }
    }
    memset(l->of_inputs, 0, 4 * (size_t)l->width);
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
