"""Graphs by their surroundings: what is recorded when, what is copied, and when the function is simply called.

A GPU is not needed: a recorder that runs the function again on the same places stands in for CUDA's.
"""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from recording import Again
from torch import nn

from soundctm.acceleration import Graphs
from soundctm.text import TextConditioning


@pytest.fixture
def recorder():
    return Again()


@torch.no_grad()
def test_one_recording_per_shape_and_results_of_their_own(recorder):
    graphs = Graphs(recorder)
    double = graphs.of("double", lambda x, factor=2.0: factor * x)
    first, second = torch.randn(3), torch.randn(3)
    one, two = double(first), double(second)
    assert torch.equal(one, 2 * first) and torch.equal(two, 2 * second)  # the second did not overwrite the first
    assert (recorder.recordings, recorder.repeats) == (1, 2)
    for value, given in ((torch.randn(4), {}), (first.double(), {}), (first, {"factor": 3.0})):
        assert torch.equal(double(value, **given), given.get("factor", 2.0) * value)
    assert recorder.recordings == 4 and [name for name, _ in graphs.seconds] == ["double"] * 4


@torch.no_grad()
def test_texts_and_missing_values_are_part_of_the_shape(recorder):
    def total(z, text, omega=None):
        found = z + (text.hidden * text.mask[..., None]).sum()
        return found if omega is None else found + omega

    graphed = Graphs(recorder).of("total", total)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        text = TextConditioning(torch.randn(1, 5, 2, generator=generator), torch.rand(1, 5, generator=generator) > 0.5)
        z, omega = torch.randn(3, generator=generator), torch.randn((), generator=generator)
        assert torch.equal(graphed(z, text), total(z, text))
        assert torch.equal(graphed(z, text, omega), total(z, text, omega))
        assert torch.equal(graphed(z, text=text, omega=omega), total(z, text, omega))
    assert recorder.recordings == 3


@torch.no_grad()
def test_the_shape_used_longest_ago_is_forgotten(recorder):
    graphed = Graphs(recorder, shapes=2).of("same", lambda x: x + 1)
    for size in (1, 2, 1, 3, 1, 2):  # 3 drives out 2, which is recorded again
        graphed(torch.zeros(size))
    assert recorder.recordings == 4


def test_gradients_and_other_devices_go_past_the_graphs(recorder):
    graphed = Graphs(recorder).of("square", lambda x: x**2)
    x = torch.tensor([3.0], requires_grad=True)
    graphed(x).sum().backward()
    assert x.grad.item() == 6 and recorder.recordings == 0
    on_gpus = Graphs().of("square", lambda x: x**2)
    with torch.no_grad():
        assert on_gpus(x.detach()).item() == 9
    assert not on_gpus.graphs.failures and not on_gpus.graphs.seconds


@torch.no_grad()
def test_after_a_failed_recording_the_function_is_called_and_one_line_says_why(caplog):
    def refuse(run):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    graphs = Graphs(refuse)
    graphed = graphs.of("vocoder", lambda x: x + 1)
    with caplog.at_level(logging.WARNING):
        assert [graphed(torch.zeros(size)).sum().item() for size in (1, 2)] == [1, 2]
    assert graphs.failures == {"vocoder": "operation not permitted when stream is capturing"}
    assert [record.getMessage() for record in caplog.records] == [
        "no CUDA graph of the vocoder, which runs without: operation not permitted when stream is capturing"
    ]


@torch.no_grad()
def test_the_copy_of_a_module_computes_with_its_own_weights(recorder):
    layer = nn.Linear(2, 2)
    layer.forward = Graphs(recorder).of("layer", layer.forward)
    x = torch.randn(1, 2)
    before = layer(x)
    other = copy.deepcopy(layer)
    other.weight.zero_(), other.bias.zero_()
    assert not other(x).any() and torch.equal(layer(x), before)
