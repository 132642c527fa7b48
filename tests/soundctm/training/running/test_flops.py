"""Counted arithmetic."""

import pytest
import torch

from soundctm.training.running.flops import FlopMeter, device_peak


def multiply(times):
    for _ in range(times):
        torch.ones(8, 16) @ torch.ones(16, 4)


def test_the_cost_of_a_step_grows_in_a_straight_line_with_its_solver_steps():
    meter, one = FlopMeter(peak=1e12), 2 * 8 * 16 * 4
    assert meter.flops(3) is None
    for solver_steps in (3, 3, 7, 20):
        with meter.counting(solver_steps):
            multiply(5 + 2 * solver_steps)
    assert meter.flops(3) == 11 * one and meter.flops(7) == 19 * one
    assert meter.flops(20) == pytest.approx(45 * one)  # told, not counted


def test_trainings_without_a_solver_are_counted_once():
    meter = FlopMeter(peak=1e12)
    with meter.counting():
        multiply(2)
    with meter.counting():
        multiply(7)
    assert meter.flops() == 2 * 2 * 8 * 16 * 4


def test_nothing_is_counted_where_the_peak_is_unknown(monkeypatch):
    assert device_peak(torch.device("cpu"), "no") is None
    meter = FlopMeter(None)
    with meter.counting():
        multiply(1)
    assert meter.flops() is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    assert device_peak(torch.device("cuda"), "bf16") == 989e12 and device_peak(torch.device("cuda"), "no") == 495e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "something new")
    assert device_peak(torch.device("cuda"), "bf16") is None


def test_a_compiled_network_is_counted_before_it_is_compiled():
    compiled = []

    class Network(torch.nn.Module):  # torch compiles none of its own modules alone
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(16, 4, bias=False)

        def forward(self, x):
            return self.linear(x)

    def backend(module, inputs):
        compiled.append(module)
        return module.forward

    network, meter = Network(), FlopMeter(peak=1e12)
    network.compile(backend=backend)
    for times in (1, 2):
        with meter.counting():
            network(torch.ones(8, 16))
        assert meter.flops() == 2 * 8 * 16 * 4 and len(compiled) == times - 1
