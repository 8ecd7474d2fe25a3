"""Attention against Transformer-XL's formula, written out pair by pair in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memdt.models.parts import attention_pieces
from memdt.models.parts import geometry as geometry_module
from memdt.models.parts.attention import RelativeAttention, attend_by_library, attention_weights
from memdt.models.parts.attention_pieces import Attention, attend
from memdt.models.parts.geometry import Geometry, Layout, geometry
from memdt.models.parts.transformer import LayerTrace, Transformer

BATCH, WIDTH = 3, 6
# heads, width of a head: narrower than the model, odd, as wide, wider
HEADS = [(2, 4), (3, 3), (2, 6), (1, 8)]


def relative(distance: int) -> Tensor:
    """R(distance): cosine and sine of each frequency, side by side."""
    values = []
    for index in range(0, WIDTH, 2):
        angle = distance * 10000.0 ** (-index / WIDTH)
        values += [math.cos(angle), math.sin(angle)]
    return torch.tensor(values, dtype=torch.float64)


def by_pairs(
    module: RelativeAttention, keys: Tensor, allowed: Tensor, biases: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Results and weights for the last tokens as queries: formula of section 3.3, two loops."""
    heads, size, (queries, total) = module.heads, module.head_width, allowed.shape
    query, key, value = (keys @ module.query_key_value.weight.t()).chunk(3, dim=-1)
    query, key, value = (part.unflatten(-1, (heads, size)) for part in (query, key, value))
    first, rows = total - queries, []
    for i in range(queries):
        scores = []
        for j in range(total):
            position_key = (module.position.weight @ relative(first + i - j)).view(heads, size)
            content = ((query[:, first + i] + biases[0]) * key[:, j]).sum(-1)
            position = ((query[:, first + i] + biases[1]) * position_key).sum(-1)
            hidden = 0.0 if allowed[i, j] else -math.inf
            scores.append((content + position) / math.sqrt(size) + hidden)
        rows.append(torch.softmax(torch.stack(scores, dim=-1), dim=-1))
    weights = torch.stack(rows, dim=2)
    attended = torch.einsum("bhqk,bkhd->bqhd", weights, value).flatten(2)
    return attended @ module.output.weight.t(), weights


def mask_of(kinds: str) -> Tensor:
    """Cached, read, step and write tokens (c, r, s, w), as segments have them; c makes no query."""
    sees = {"r": "r", "s": "crs", "w": "rsw"}
    rows = [
        [k in sees[q] and not (q == k == "s" and j > i) for j, k in enumerate(kinds)]
        for i, q in enumerate(kinds)
        if q != "c"
    ]
    return torch.tensor(rows)


MASKS = {
    "causal": mask_of("ssssss"),
    "segment": mask_of("rrssssssww"),
    "cache": mask_of("cccrrssssssww"),
    "one query sees all": torch.ones(1, 7, dtype=torch.bool),
}


class Case:
    """An attention with random weights, its input, and what the formula makes of it."""

    def __init__(self, heads: int, size: int, allowed: Tensor) -> None:
        torch.manual_seed(0)
        self.module = RelativeAttention(WIDTH, heads, size, dropout=0.0).double()
        self.biases = tuple(torch.randn(2, heads, size, dtype=torch.float64).unbind(0))
        self.keys = torch.randn(BATCH, allowed.shape[1], WIDTH, dtype=torch.float64)
        self.allowed = allowed
        self.leaves = [*self.module.parameters(), *self.biases, self.keys]
        for leaf in self.leaves:
            leaf.requires_grad_()
        self.expected, self.weights = by_pairs(self.module, self.keys, allowed, self.biases)

    @property
    def geometry(self) -> Geometry:
        positions = torch.arange(self.allowed.shape[1]) - 2  # where counting starts cannot matter
        return geometry(self.allowed, positions, WIDTH, dtype=torch.float64)

    def inputs(self, shared: bool) -> tuple:
        """Queries, keys, values and projections, as attention takes them."""
        queries = self.keys[:, -self.allowed.shape[0] :]
        own = (self.keys[:, None],) * 2 if shared else self.module.keys_and_values(self.keys)
        return queries, *own, self.module.projections(self.biases, shared)

    def run(self, way: str, shared: bool) -> Tensor:
        """The result in one of the ways there are."""
        queries, key, value, projections = self.inputs(shared)
        if way == "library":
            return attend_by_library(queries, key, value, projections, self.geometry)
        if way == "no gradient":
            with torch.no_grad():
                return attend(queries, key, value, projections, self.geometry)
        return self.module(queries, key, value, self.geometry, projections)

    def gradients(self, result: Tensor) -> list[Tensor]:
        """Of a weighted sum of the result, for all weights, biases and tokens."""
        numbers = torch.arange(result.numel(), dtype=torch.float64).sin().view_as(result)
        return list(torch.autograd.grad((result * numbers).sum(), self.leaves))


@pytest.fixture(params=["whole", "in pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything at once, or a row and two or three queries at a time."""
    if request.param == "in pieces":
        monkeypatch.setattr(attention_pieces, "NUMBERS_AT_ONCE", 1)
        monkeypatch.setattr(geometry_module, "STRETCH", 2)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("way", ["pieces", "no gradient", "library"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("heads", "size"), HEADS)
def test_results_are_those_of_the_formula(
    heads: int, size: int, mask: str, way: str, shared: bool
) -> None:
    case = Case(heads, size, MASKS[mask])
    torch.testing.assert_close(case.run(way, shared), case.expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("way", ["pieces", "library"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("heads", "size"), HEADS)
def test_gradients_are_those_of_the_formula(
    heads: int, size: int, mask: str, way: str, shared: bool
) -> None:
    case = Case(heads, size, MASKS[mask])
    expected = case.gradients(case.expected)
    for gradient, reference in zip(case.gradients(case.run(way, shared)), expected, strict=True):
        assert reference.abs().max() > 1e-3
        torch.testing.assert_close(gradient, reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_agree_with_finite_differences(shared: bool) -> None:
    case = Case(2, 4, MASKS["segment"])
    queries, key, value, projections = case.inputs(shared)
    leaves = [t.detach()[:2].clone().requires_grad_() for t in (queries, key, value)]
    weights = [t.detach().clone().requires_grad_() for t in projections]
    assert torch.autograd.gradcheck(
        lambda *inputs: Attention.apply(*inputs, case.geometry), (*leaves, *weights)
    )


@pytest.mark.parametrize("shared", [False, True])
def test_recorded_weights_are_those_of_the_formula(shared: bool) -> None:
    case = Case(2, 4, MASKS["cache"])
    queries, key, _, projections = case.inputs(shared)
    weights = attention_weights(queries, key, projections, case.geometry)
    torch.testing.assert_close(weights, case.weights, rtol=0, atol=1e-6)


def test_single_precision_is_enough() -> None:
    """Many positions, as in a long context: errors stay those of float32."""
    torch.manual_seed(0)
    module, length = RelativeAttention(64, 4, 16, dropout=0.0), 300
    biases = torch.randn(2, 4, 16).unbind(0)
    tokens, allowed = torch.randn(2, length, 64), torch.ones(length, length).tril().bool()
    exact = module.double(), tokens.double(), tuple(bias.double() for bias in biases)
    results = []
    for part, inputs, both in ((exact[0], exact[1], exact[2]), (None, tokens, biases)):
        module = part or module.float()
        relations = geometry(allowed, torch.arange(length), 64, dtype=inputs.dtype)
        own, projections = module.keys_and_values(inputs), module.projections(both, shared=False)
        results.append(module(inputs, *own, relations, projections).detach())
    torch.testing.assert_close(results[1].double(), results[0], rtol=0, atol=1e-5)


def test_the_same_input_gives_the_same_bits() -> None:
    case = Case(2, 4, MASKS["segment"])
    first, second = (case.gradients(case.run("pieces", shared=False)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_dropout_of_weights_keeps_the_mean() -> None:
    case = Case(2, 4, MASKS["causal"])
    case.module.dropout = 0.3
    queries, key, value, projections = case.inputs(shared=False)
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = [case.module(queries, key, value, case.geometry, projections) for _ in range(4000)]
        assert not torch.equal(drawn[0], drawn[1])
        torch.testing.assert_close(torch.stack(drawn).mean(0), case.expected, rtol=0, atol=0.05)
        still = case.module.eval()(queries, key, value, case.geometry, projections)
    torch.testing.assert_close(still, case.expected, rtol=0, atol=1e-6)


def test_mixed_precision_stays_close() -> None:
    torch.manual_seed(0)
    module, biases = RelativeAttention(16, 2, 8, dropout=0.0), torch.randn(2, 2, 8).unbind(0)
    tokens = torch.randn(2, 6, 16, requires_grad=True)
    relations = geometry(MASKS["causal"], torch.arange(6), 16)
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            projections = module.projections(biases, shared=False)
            own = module.keys_and_values(tokens)
            results.append(module(tokens, *own, relations, projections).float())
    assert not torch.equal(*results)
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0.05)
    results[1].sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.isfinite().all()


@settings(deadline=None)
@given(st.integers(1, 150), st.integers(0, 50), st.integers(0, 2**31))
def test_stretches_hide_no_key_that_may_be_seen(queries: int, earlier: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    allowed = torch.rand(queries, queries + earlier, generator=draws) < 0.02
    allowed[:, 0] = True  # a query that sees nothing has no softmax
    stretches = geometry(allowed, torch.arange(queries + earlier), 4).stretches
    assert [q for part, _ in stretches for q in range(part.start, part.stop)] == list(
        range(queries)
    )
    for part, keys in stretches:
        assert not allowed[part, keys:].any()
        assert allowed[part, :keys].any(dim=0)[-1]


def stack(normalization: str, head_width: int) -> Transformer:
    torch.manual_seed(0)
    return Transformer(2, WIDTH, 2, head_width, 12, normalization, 0.0, 0.0).eval()


@pytest.mark.parametrize("normalization", ["post", "pre"])
@pytest.mark.parametrize("head_width", [4, 6])
def test_the_top_layer_computes_the_selected_tokens_and_nothing_else_changes(
    normalization: str, head_width: int
) -> None:
    transformer, tokens = stack(normalization, head_width), torch.randn(BATCH, 10, WIDTH)
    every = geometry(MASKS["segment"], torch.arange(10), WIDTH)
    whole, some = LayerTrace(weights=[]), LayerTrace(weights=[])
    expected = transformer(tokens, Layout.of(every, None), recording=whole)
    outputs = transformer(tokens, Layout.of(every, (3, 5, 9)), recording=some)
    torch.testing.assert_close(outputs, expected[:, [3, 5, 9]], rtol=0, atol=1e-6)
    assert whole.weights is not None
    assert some.weights is not None
    for name in ("hidden", "weights"):
        pairs = zip(getattr(whole, name), getattr(some, name), strict=True)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


@pytest.mark.parametrize("normalization", ["post", "pre"])
@pytest.mark.parametrize("head_width", [4, 6])
def test_tokens_one_after_the_other_give_what_they_give_together(
    normalization: str, head_width: int
) -> None:
    transformer, tokens = stack(normalization, head_width), torch.randn(BATCH, 9, WIDTH)
    keep, causal = torch.tensor([True, False, True]), torch.ones(9, 9).tril().bool()
    causal_layout = Layout.of(geometry(causal, torch.arange(9), WIDTH), None)
    with torch.inference_mode():
        expected = transformer(tokens, causal_layout)
        past = transformer.empty_past(BATCH, capacity=11)
        for first, last in ((0, 4), (4, 5), (5, 9)):
            if first == 5:
                past, tokens, expected = past.rows(keep), tokens[keep], expected[keep]
            part = geometry(causal[first:last, :last], torch.arange(last), WIDTH)
            outputs = transformer(tokens[:, first:last], Layout.of(part, None), past=past)
            torch.testing.assert_close(outputs, expected[:, first:last], rtol=0, atol=1e-6)
