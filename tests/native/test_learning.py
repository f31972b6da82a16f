"""Learning while coding: a plain twin in Python's integers, on every target, and what it is for."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_deep import picture as deep_picture  # type: ignore[import-not-found]
from test_mixture import plain_cdfs  # type: ignore[import-not-found]
from test_network import exact  # type: ignore[import-not-found]
from test_pixels import null_context, picture  # type: ignore[import-not-found]
from test_restricted import converted  # type: ignore[import-not-found]
from test_waves import plain_pixel_row  # type: ignore[import-not-found]

from vlae_codec.coder.tile import TileCodec
from vlae_codec.contract import (
    LEARN_BIAS,
    LEARN_BITS,
    LEARN_PIXELS,
    LEARN_RATE_BITS,
    LEARN_STEP,
    LEARN_STEP_BITS,
    LEARN_UNITS,
    LEARN_WIDTH,
    LEVEL_BITS,
    MAX_LEVELS,
    MAX_SLOW,
    SIGMOID_HALF,
    Pace,
    window_offsets,
)
from vlae_codec.errors import WeightsError
from vlae_codec.models.export import integer_tensors
from vlae_codec.models.learning import Moments, learning_tensors
from vlae_codec.native import ans, waves
from vlae_codec.native.library import CoreError
from vlae_codec.native.pixels import Pixels
from vlae_codec.weights import model

MODELS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "grey": {"channels": 1, "layers": 2},
    "bilevel": {"channels": 1, "levels": 2},
    "photo": {"mixtures": 5, "layers": 3, "hidden": 40},
    "wide": {"window": (13, 3), "hidden": 21, "mixtures": 3, "context": 6, "stride": 16, "layers": 2},
}


def some_moments(vlae, seed=3):
    """Moments of no sense of the layers that learn."""
    rng, found = np.random.default_rng(seed), []
    for layer in (vlae.local.out, *reversed(list(vlae.local.hidden)[1:])):
        inputs, outputs = layer.in_features + 1, layer.out_features
        f = rng.normal(size=(4 * inputs, inputs)) * rng.uniform(0.1, 1.5, inputs) + 0.2
        squares = rng.uniform(0.02, 0.3, (2, outputs)) ** 2
        found.append(Moments(f.T @ f / len(f), *squares))
    return found


def learning_model(vlae, seed=3):
    """The integer twin of a float model, with preconditioners."""
    tensors = integer_tensors(vlae)
    return model.build(vlae.config.to_dict(), tensors | learning_tensors(vlae, tensors, some_moments(vlae, seed)))


@pytest.fixture(params=[(name, whole) for name in MODELS for whole in (False, True)], ids=str)
def learner(request, random_vlae, random_codec):
    """(codec, pixels that learn, their learning): of the last layer, or of all but the first."""
    name, whole = request.param
    codec, made = random_codec(**MODELS[name]), learning_model(random_vlae(**MODELS[name]))
    learning = made.learning.at(Pace(0, whole))
    return codec, pixels_of(codec, learning), learning


def pixels_of(codec, learning, slow=0):
    own = codec.nets.pixels
    return Pixels(own.setting._replace(learning=replace(learning, slow=slow)), own.null)


def waves_of(height, width, slope):
    """Positions (row, column) of each wave, from the top down."""
    for wave in range(width + slope * (height - 1)):
        rows = range(max(0, (wave - width + slope) // slope), min(height, wave // slope + 1))
        yield [(r, wave - slope * r) for r in rows]


def plain_scores(codec, learning, params, offsets, symbols, coded):
    """(scores, derivatives) of one pixel's outputs, from the formulas."""
    tables, k, channels = codec.model.tables, codec.config["mixtures"], codec.config["channels"]
    sigmoid, one, last = tables.sigmoid.tolist(), 1 << 20, codec.levels - 1
    params = params.tolist()
    weights = [int(tables.exp[min(max(params[:k]) - p, 511)]) for p in params[:k]]
    share = [(w << LEARN_UNITS) // sum(weights) for w in weights]
    u: list[int] = []
    by_mean, by_scale, steep = {}, {}, {}
    for c in range(coded):
        x, masses = symbols[c], []
        for i in range(k):
            at = k * (1 + 2 * channels) + i * (channels * (channels - 1) // 2) + c * (c - 1) // 2
            moved = sum(params[at + e] * u[e] for e in range(c)) >> 8
            mean = offsets[c] + params[k + i * channels + c] + moved
            index = params[k * (1 + channels) + i * channels + c]
            inverse = int(tables.inverse[index])

            def argument(position, mean=mean, inverse=inverse):
                return min(max((position - mean) * inverse >> 16, -SIGMOID_HALF), SIGMOID_HALF)

            below = 0 if x == 0 else sigmoid[argument(64 * x - 32) + SIGMOID_HALF]
            above = one if x == last else sigmoid[argument(64 * x + 32) + SIGMOID_HALF]
            t, part, d = (one - below - above) >> 8, (above - below) >> 8, argument(64 * x)
            h = min(inverse >> 11, SIGMOID_HALF)
            double = min(64 * inverse >> 16, SIGMOID_HALF)
            tangent = 2 * sigmoid[SIGMOID_HALF + double] - one
            around = 1 << LEARN_UNITS if double < 16 or tangent < 1 else (double << (LEARN_UNITS + 11)) // tangent
            by_mean[i, c], steep[i, c] = t, inverse >> 6
            if x in (0, last):
                by_scale[i, c] = (d + h if x == 0 else d - h) * t >> 8
            else:
                by_scale[i, c] = (d * t >> 8) + around - (h * part >> 8)
            masses.append(weights[i] * (above - below))
        shift = max(0, max(masses).bit_length() - 12)
        weights = [max(mass >> shift, 1) for mass in masses] if max(masses) else weights
        u.append(64 * x - offsets[c])
    scores, slopes = [0] * len(params), [0] * len(params)
    for i in range(k):
        posterior = (weights[i] << LEARN_UNITS) // sum(weights)
        scores[i] = slopes[i] = share[i] - posterior
        for c in range(coded):
            moved = posterior * by_mean[i, c] >> LEARN_UNITS
            steeper = moved * steep[i, c] >> 10
            scores[k + i * channels + c], slopes[k + i * channels + c] = moved, steeper
            at = k * (1 + channels) + i * channels + c
            scores[at] = slopes[at] = posterior * by_scale[i, c] >> LEARN_UNITS
            at = k * (1 + 2 * channels) + i * (channels * (channels - 1) // 2) + c * (c - 1) // 2
            for e in range(c):
                scores[at + e], slopes[at + e] = moved * u[e] >> LEVEL_BITS, steeper * u[e] >> LEVEL_BITS
    found = [scaled(np.array(scores), learning.layers[0].scale)]
    return [*found, scaled(np.array(slopes), learning.slope) if len(learning.layers) > 1 else found[0]]


def scaled(scores, scale):
    """Scores (.., outputs) in int8."""
    return (scores.clip(-(1 << 18), 1 << 18) * scale.astype(np.int64) + (1 << 15) >> 16).clip(-127, 127)


def whole(layer):
    """The weights of a layer, (inputs, outputs)."""
    outputs, digits = layer.multiplier.size, layer.weight.astype(np.int64)
    return 128 * digits[:, :outputs] + digits[:, outputs:] if digits.shape[1] > outputs else digits


class PlainLearner:
    """A local network, and how its layers move."""

    def __init__(self, codec, learning):
        self.start = self.network = codec.model.local
        self.learning = learning
        self.layers = [len(self.network.layers) - 1 - i for i in range(len(learning.layers))]
        sizes = {i: whole(self.network.layers[i]).shape for i in self.layers}
        self.moved = {i: np.zeros((inputs + 1, outputs), np.int64) for i, (inputs, outputs) in sizes.items()}
        self.inputs, self.scores, self.slopes = [], [], []

    def take(self, rows, found):
        self.inputs += self.seen(rows)
        self.scores += [scores for scores, _ in found]
        self.slopes += [slopes for _, slopes in found]
        if len(self.inputs) >= LEARN_PIXELS:
            self.step()
            self.inputs, self.scores, self.slopes = [], [], []

    def seen(self, rows):
        """Of each row the activations of the inputs of each layer that learns."""
        found, layers = [], self.network.layers
        for i in self.layers:
            units = exact(replace(self.network, layers=layers[:i], skip=False), rows) + 128
            found.append(np.concatenate([units, rows], axis=1) if i == len(layers) - 1 else units)
        return list(zip(*found))

    def step(self):
        scores, back = np.array(self.scores), np.array(self.slopes)
        made = []
        for k, (i, own) in enumerate(zip(self.layers, self.learning.layers)):
            f = np.array([row[k] for row in self.inputs])
            made.append((i, own, f, scores))
            if k + 1 < len(self.layers):
                hidden = self.network.layers[i - 1].multiplier.size
                weights = whole(self.network.layers[i])[:hidden] * own.back.astype(np.int64) + (1 << 15) >> 16
                units = f[:, :hidden]
                passed = scaled(back @ weights.clip(-127, 127).T, self.learning.layers[k + 1].scale)
                scores = back = np.where((units == 0) | (units == 255), 0, passed)
        self.network = replace(self.network, layers=tuple(self.stepped(made)))

    def stepped(self, made):
        """The layers after a step."""
        layers = [*self.network.layers]
        for i, own, f, scores in made:
            sums = np.concatenate([f, np.full((len(f), 1), LEARN_BIAS)], axis=1).T @ scores
            shift = own.reduce[:, None].astype(np.int64)
            x = (sums + (1 << shift >> 1) >> shift).clip(-127, 127)
            steps = own.diagonal[:, None] * x + exact(own.net.network, x.T.astype(np.int8)).T
            steps = (steps + (1 << LEARN_STEP_BITS >> 1) >> LEARN_STEP_BITS).clip(-LEARN_STEP, LEARN_STEP)
            last = i == len(layers) - 1
            down = LEARN_RATE_BITS + self.learning.slow + (last and len(made) > 1)
            moved = self.moved[i] - (steps * own.rate.astype(np.int64) + (1 << (down - 1)) >> down)
            self.moved[i] = moved.clip(-(4096 << LEARN_BITS), 4096 << LEARN_BITS)
            layers[i] = self.now(i, self.moved[i] + (1 << (LEARN_BITS - 1)) >> LEARN_BITS, last)
        return layers

    def now(self, i, change, last):
        """A layer whose weights are moved by this from those at first."""
        first, limit = self.start.layers[i], 127 * 128 if last else 127
        begun = whole(first)
        weight = (begun + change[:-1]).clip(-limit, limit)
        hidden = len(begun) - (len(self.start.layers[0].weight) if last else 0)
        more = 128 * (weight - begun)[:hidden].sum(0) + LEARN_BIAS * change[-1]
        high = (weight + 64) >> 7
        digits = np.concatenate([high, weight - 128 * high], axis=1) if last else weight
        return replace(first, weight=digits.astype(np.int8), addend=first.addend + first.multiplier * more)


def plain_intervals(codec, learning, x, coded):
    """(starts, freqs) of a tile, pixel by pixel in the order of the waves."""
    config, context, stretch = codec.config, null_context(codec, *x.shape[:2]), {256: 0, 2: 6}[codec.levels]
    learner = PlainLearner(codec, learning)
    starts, freqs = np.zeros((2, *x.shape), np.int64)
    for wave in waves_of(x.shape[0], x.shape[1], codec.nets.slope):
        rows, scores = [], []
        for r, c in wave:
            row, reference = plain_pixel_row(x << stretch, context, x.shape[1], r, c, window_offsets(config["window"]))
            params = exact(learner.network, np.array([row], np.int8))[0]
            symbols, offset = x[r, c].tolist(), [v >> stretch for v in reference]
            cdfs = plain_cdfs(params, offset, [64] * len(symbols), symbols, config["mixtures"], True, codec.levels)
            for ch in range(coded):
                starts[r, c, ch] = cdfs[ch, symbols[ch]]
                freqs[r, c, ch] = cdfs[ch, symbols[ch] + 1] - starts[r, c, ch]
            rows.append(row)
            scores.append(plain_scores(codec, learning, params, offset, symbols, coded))
        if wave:
            learner.take(np.array(rows), scores)
    return starts, freqs


def test_plain(each_target, learner):
    """What the core gives is what the formulas say, across steps of learning, on every target."""
    codec, pixels, learning = learner
    x = picture(codec, 17, 25 if len(learning.layers) < 3 else 48)  # one step or two
    coded = codec.config["channels"]
    expected = plain_intervals(codec, learning, x, coded)
    still = codec.pixel_codec.intervals(x[:0], x, None, coded)
    assert not np.array_equal(still[1], expected[1])
    for target in each_target():
        starts, freqs = pixels.intervals(x[:0], x, None, coded)
        assert np.array_equal(starts, expected[0]), target
        assert np.array_equal(freqs, expected[1])


@pytest.mark.parametrize(("height", "width", "lanes"), [(1, 1, 1), (3, 300, 1), (90, 5, 3), (27, 31, 7)])
def test_pop(target, learner, height, width, lanes):
    """A decoder learns as its encoder did, whatever the shape, the lanes and the channels that are coded."""
    codec, pixels, _ = learner
    for coded in {1, codec.config["channels"]}:
        x = picture(codec, height, width, coded)
        starts, freqs = pixels.intervals(x[:0], x, None, coded)
        begun = ans.empty(lanes, 5)
        message = waves.push_region(begun, starts, freqs, codec.nets.slope, coded)
        (left,), (found,) = pixels.pop([message], [x[:0]], [height], None, coded)
        assert np.array_equal(found, x)
        assert left == begun


@pytest.mark.parametrize(("levels", "shift"), [(101, 0), (1000, 0), (4096, 1), (MAX_LEVELS, 6), (256, 2)])
def test_deep(each_target, random_codec, random_vlae, levels, shift):
    """Samples of other levels: the same on every target, and a decoder learns as its encoder did."""
    for changes in MODELS.values():
        learning = learning_model(random_vlae(**changes)).learning
        codec = random_codec(**changes).scaled(levels, shift)
        pixels, coded, found = pixels_of(codec, learning), codec.config["channels"], set()
        x = deep_picture(levels, 29, 33, coded)
        for _ in each_target():
            starts, freqs = pixels.intervals(x[:0], x, None, coded)
            found.add(starts.tobytes() + freqs.tobytes())
            message = waves.push_region(ans.empty(2, 5), starts, freqs, codec.nets.slope, coded)
            (left,), (popped,) = pixels.pop([message], [x[:0]], [29], None, coded)
            assert np.array_equal(popped, x)
            assert left == ans.empty(2, 5)
        assert len(found) == 1
        assert not np.array_equal(freqs, codec.nets.pixels.intervals(x[:0], x, None, coded)[1])


def test_restricted(each_target, random_codec, random_vlae):
    """Pixels of an origin's values have the scores of the plain form, so that the first channel's intervals, which the
    set does not change, are those of the plain form after any steps.
    """
    learning = learning_model(random_vlae()).learning
    codec, x = random_codec(), converted(27, 41)
    plain, narrow = pixels_of(codec, learning), pixels_of(codec.restricted("jfif", 7), learning)
    for _ in each_target():
        starts, freqs = narrow.intervals(x[:0], x, None, 3)
        expected = plain.intervals(x[:0], x, None, 3)
        assert np.array_equal(freqs[..., 0], expected[1][..., 0])
        assert not np.array_equal(freqs[..., 2], expected[1][..., 2])
        message = waves.push_region(ans.empty(3, 5), starts, freqs, codec.nets.slope, 3)
        (left,), (found,) = narrow.pop([message], [x[:0]], [27], None, 3)
        assert np.array_equal(found, x)
        assert left == ans.empty(3, 5)


def test_slower(learner):
    """Rates that are halved often enough move nothing."""
    codec, _, learning = learner
    x, coded = picture(codec, 41, 37), codec.config["channels"]
    freqs = [pixels_of(codec, learning, slow).intervals(x[:0], x, None, coded)[1] for slow in (0, 2, MAX_SLOW)]
    assert not np.array_equal(freqs[0], freqs[1])
    with pytest.raises(CoreError):
        pixels_of(codec, learning, MAX_SLOW + 1).intervals(x[:0], x, None, coded)


def test_gain(learns, synthetic):
    """A model that learns with moments of its own pictures takes fewer bits for a picture of another kind."""
    codec = TileCodec(model.load_weights(learns))
    x = 255 - synthetic(128, 128, 9) // 2
    still, moved = (each.pixel_codec.intervals(x[:0], x, None, 3)[1] for each in (codec, codec.learning(Pace())))
    assert np.log2(moved).sum() - np.log2(still).sum() > 0.01 * x.size


def test_tensors(random_vlae):
    """A weight file has all tensors of learning or none, and numbers out of range are refused."""
    vlae = random_vlae(layers=3)
    config, tensors = vlae.config.to_dict(), integer_tensors(vlae)
    more = learning_tensors(vlae, tensors, some_moments(vlae))
    assert model.build(config, tensors).learning is None
    assert model.build(config, tensors | more).id != model.build(config, tensors).id
    learning = model.build(config, tensors | more).learning
    assert learning is not None
    assert [layer.back is None for layer in learning.layers] == [False, False, True]
    for name in more:
        with pytest.raises(WeightsError, match="lacks"):
            model.build(config, tensors | {key: value for key, value in more.items() if key != name})
    limits = {"diagonal": 1 << 17, "reduce": 25, "scale": 4097, "rate": -1, "back": 1 << 17}
    cases = {f"learn.{layer}.{part}": value for layer in ("out", "hidden.2") for part, value in limits.items()}
    for name, value in {**cases, "learn.slope": 4097}.items():
        with pytest.raises(WeightsError, match="out of their range"):
            model.build(config, tensors | more | {name: np.full_like(more[name], value)})
    with pytest.raises(WeightsError, match="lacks"):
        model.build(config, tensors | more | {"learn.hidden.1.back": more["learn.out.back"]})


def test_one_hidden_layer(random_vlae):
    """Of a network with one hidden layer the last layer learns, and nothing goes back."""
    vlae = random_vlae(layers=1)
    tensors = integer_tensors(vlae)
    found = model.build(vlae.config.to_dict(), tensors | learning_tensors(vlae, tensors, some_moments(vlae))).learning
    assert found is not None
    assert (len(found.layers), found.layers[0].back, found.slope) == (1, None, None)
    assert found.multiply_adds == found.at(Pace(0, False)).multiply_adds


def test_width(random_vlae):
    """Beyond some width the bounds would not hold wherever the weights move: such models do not learn."""
    vlae = random_vlae(hidden=480)
    config, tensors = vlae.config.to_dict(), integer_tensors(vlae)
    assert vlae.local.out.in_features >= LEARN_WIDTH
    more = learning_tensors(vlae, tensors, some_moments(vlae))
    with pytest.raises(WeightsError, match="too wide"):
        model.build(config, tensors | more)


def test_digits(random_vlae):
    """A last layer with weights of two digits learns, and hidden ones with weights of one."""
    vlae = random_vlae(layers=2)
    config, tensors = vlae.config.to_dict(), integer_tensors(vlae)
    tensors |= learning_tensors(vlae, tensors, some_moments(vlae))
    out, hidden = tensors["local.out.weight"], tensors["local.hidden.1.weight"]
    cases = {"out": out[:, : out.shape[1] // 2], "hidden.1": np.tile(hidden, 2)}
    for name, weight in cases.items():
        with pytest.raises(WeightsError, match="digits with which it could learn"):
            model.build(config, tensors | {f"local.{name}.weight": np.ascontiguousarray(weight)})
