"""Needs that are told from shapes, against networks that are there."""

import re

import pytest
import tiny
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.needs import main
from soundctm.text import TextConditioning


@tiny.over_both
def test_what_is_told_is_what_networks_of_numbers_have(tmp_path, capsys, network):
    tiny.write_world(tmp_path)
    given = ["--latents", "8", "16", "16", "--text_width", "384", "--tokens", "5", "--batch_size", "4"]
    assert main(["--network", str(tmp_path / f"{network}.json"), *given]) == 0
    told = capsys.readouterr().out
    teacher, student = tiny.new_networks(network)
    parameters = sum(p.numel() for p in student.parameters())
    assert f": {parameters / 1e6:,.1f} M parameters, latents [8, 16, 16], 4 rows" in told
    held = {name: float(size) for name, size in re.findall(r"^  (.{32}) *([\d.e-]+) GB", told, re.M)}
    names = [name.strip() for name in held]
    assert names[:3] == ["student, float32", "its gradients", "two moments of RAdam"] and len(names) == 8
    values = list(held.values())
    assert values[0] == pytest.approx(4e-9 * parameters, rel=0.01) and values[2] == pytest.approx(2 * values[1], 0.01)
    assert values[7] == pytest.approx(sum(values[:6]), rel=0.02) and values[5] > values[6] > 0
    text = TextConditioning(torch.zeros(4, 5, 384), torch.ones(4, 5, dtype=torch.bool))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        teacher.predict(torch.zeros(4, 8, 16, 16), torch.zeros(4), text)
    call = float(re.search(r"a call of the network: ([\d.e-]+) GFLOP", told)[1])
    counted = counter.get_total_flops() / 4e9  # on a CPU without the products of queries, keys and values
    assert 0.99 * counted < call < 1.2 * counted
