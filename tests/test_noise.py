"""Every kind of label noise against the rates that its definition gives, and its mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import alasca.functional as AF
from alasca import InputError
from alasca.data.noise import apply_noise, labels_from_file
from alasca.data.sources.cifar import TEN_MAP, next_in_block, next_in_group
from doors import ran, read, ready
from lookalikes import cifar10_python

TEN = torch.arange(50_000) % 10
HUNDRED = torch.arange(50_000) % 100


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def matrix_of(clean: Tensor, noisy: Tensor, classes: int) -> Tensor:
    counts = AF.transition_counts(clean, noisy, classes).double()
    return counts / counts.sum(1, keepdim=True)


@pytest.mark.parametrize("rate", [0.0, 0.4, 0.8, 1.0])
def test_symmetric(rate: float):
    inclusive = AF.symmetric_noise(TEN, rate, 10, generator=seeded())
    exclusive = AF.symmetric_noise(TEN, rate, 10, False, seeded())
    assert (inclusive != TEN).double().mean().item() == pytest.approx(rate * 0.9, abs=0.006)
    assert (exclusive != TEN).double().mean().item() == pytest.approx(rate, abs=1e-9)
    others = matrix_of(TEN, exclusive, 10)[~torch.eye(10, dtype=torch.bool)]
    torch.testing.assert_close(others, torch.full_like(others, rate / 9), atol=0.02, rtol=0)
    torch.testing.assert_close(
        matrix_of(TEN, inclusive, 10).diagonal().mean().item(), 1 - 0.9 * rate, atol=0.006, rtol=0
    )
    assert torch.equal(inclusive, AF.symmetric_noise(TEN, rate, 10, generator=seeded()))


def test_asymmetric_from_clean_labels():
    """Truck to automobile, bird to airplane, deer to horse, cat to dog and back, each at 0.4: 20% overall."""
    found = matrix_of(TEN, AF.asymmetric_noise(TEN, 0.4, TEN_MAP, generator=seeded()), 10)
    expected = torch.eye(10, dtype=torch.float64)
    for source, target in {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}.items():
        expected[source, source], expected[source, target] = 0.6, 0.4
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    one_way = AF.asymmetric_noise(TEN, 0.4, {k: v for k, v in TEN_MAP.items() if k != 5})
    assert torch.equal(one_way[TEN == 5], TEN[TEN == 5])
    assert (one_way != TEN).double().mean().item() == pytest.approx(0.16)


def test_asymmetric_one_class_after_another():
    """The published code's rates at 0.4: cat to dog 0.24, dog to cat 0.40, overall 18.4% instead of 20%."""
    found = AF.asymmetric_noise(TEN, 0.4, TEN_MAP, sequential=True, generator=seeded())
    matrix = matrix_of(TEN, found, 10)
    assert matrix[3, 5].item() == pytest.approx(0.24, abs=0.02)
    assert matrix[5, 3].item() == pytest.approx(0.40, abs=0.02)
    assert (found != TEN).double().mean().item() == pytest.approx(0.184, abs=0.005)
    with pytest.raises(ValueError, match="class 1 maps to itself"):
        AF.asymmetric_noise(TEN, 0.4, {1: 1})


@pytest.mark.parametrize("kind", ["superclass", "id_block"])
def test_asymmetric_hundred(kind: str):
    coarse = HUNDRED.numpy() % 20
    mapping = next_in_group(HUNDRED, coarse) if kind == "superclass" else next_in_block(100)
    assert sorted(mapping) == sorted(mapping.values()) == list(range(100))
    for fine, following in mapping.items():
        group = (lambda k: k % 20) if kind == "superclass" else (lambda k: k // 5)
        assert group(fine) == group(following)
        assert fine != following
    assert mapping[0] == (20 if kind == "superclass" else 1), "the next one"
    assert mapping[80 if kind == "superclass" else 4] == 0, "the last to the first"
    found = matrix_of(HUNDRED, AF.asymmetric_noise(HUNDRED, 0.4, mapping, generator=seeded()), 100)
    torch.testing.assert_close(found.sum(1), torch.ones(100, dtype=torch.float64))
    assert (found.diagonal() - 0.6).abs().max() < 1e-3
    assert all(abs(found[k, mapping[k]].item() - 0.4) < 1e-3 for k in range(100))


def test_pair():
    found = matrix_of(TEN, AF.pair_noise(TEN, 0.45, 10, seeded()), 10)
    torch.testing.assert_close(
        found, 0.55 * torch.eye(10).double() + 0.45 * torch.eye(10).double().roll(1, 1), atol=1e-3, rtol=0
    )


def test_matrix():
    matrix = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.1, 0.2, 0.7]])
    clean = torch.arange(60_000) % 3
    noisy = AF.matrix_noise(clean, matrix, seeded())
    torch.testing.assert_close(matrix_of(clean, noisy, 3), matrix.double(), atol=0.01, rtol=0)
    for wrong, words in (
        (matrix[:2], "expected"),
        (matrix.clone().fill_(0.2), "row 0 adds up to 0.6"),
        (matrix - torch.tensor([0, 0, 0.1]), "row 0 has an entry that is negative"),
        (matrix / 0, "not finite"),
    ):
        with pytest.raises(ValueError, match=words):
            AF.matrix_noise(clean, wrong)


def bright(count: int, seed: int = 0) -> Tensor:
    """Positive pictures around a shared mean picture."""
    draw = seeded(seed)
    shared = torch.randint(60, 190, (1, 3, 32, 32), generator=draw)
    return (shared + torch.randint(-60, 60, (count, 3, 32, 32), generator=draw)).clamp(0, 255).to(torch.uint8)


def test_instance_dependent_rates():
    """The means of the cut normal distribution: 0.129, 0.2055, and r from 0.3 to 0.6."""
    labels, pictures = TEN[:20_000], bright(20_000)
    for rate, expected in ((0.1, 0.129), (0.2, 0.2055), (0.4, 0.4), (0.6, 0.6)):
        noisy = AF.instance_noise(pictures, labels, rate, 10, generator=seeded())
        assert (noisy != labels).double().mean().item() == pytest.approx(expected, abs=0.01)
    assert torch.equal(noisy, AF.instance_noise(pictures, labels, 0.6, 10, generator=seeded()))


def test_instance_dependent_targets_follow_the_input():
    """Raw pixels make the target all but certain, and most flips of all classes go to few classes."""
    pictures, labels = bright(4000).repeat(2, 1, 1, 1), TEN[:4000].repeat(2)
    noisy = AF.instance_noise(pictures, labels, 0.5, 10, generator=seeded())
    first, second = noisy.chunk(2)
    both = (first != labels[:4000]) & (second != labels[:4000])
    assert both.sum() > 500
    assert (first == second)[both].double().mean() > 0.98
    flips = noisy[noisy != labels].bincount(minlength=10)
    assert flips.max() / flips.sum() > 0.5


def test_instance_dependent_by_class():
    """Two samples of one picture and two classes: one W for all sends them to one target, a W a class does not."""
    pictures = bright(3000).repeat(2, 1, 1, 1)
    labels = torch.cat([torch.zeros(3000), torch.ones(3000)]).long()
    agree = {}
    for per_class in (False, True):
        noisy = AF.instance_noise(pictures, labels, 0.6, 10, per_class, seeded(3))
        first, second = noisy.chunk(2)
        both = (first != 0) & (second != 1) & (first != 1) & (second != 0)
        agree[per_class] = (first == second)[both].double().mean().item()
    assert agree[False] > 0.95
    assert agree[True] < 0.5


def test_majority_vote():
    votes = torch.tensor([[0, 0, 1], [2, -1, -1], [-1, -1, -1]]).repeat(1000, 1)
    found = AF.majority_vote(votes, 3, seeded())
    assert found[:3].tolist() == [0, 2, -1]
    tied = AF.majority_vote(torch.tensor([[0, 1]]).repeat(2000, 1), 3, seeded())
    assert 900 < int((tied == 0).sum()) < 1100
    assert int(tied.max()) == 1
    with pytest.raises(ValueError, match="from 0 to 3"):
        AF.majority_vote(torch.tensor([[0, 3]]), 3)


@pytest.mark.long
def test_specifications_name_every_kind(tmp_path: Path):
    maps = {"both": TEN_MAP, "one_way": {3: 5}, "sequential": TEN_MAP}
    labels = TEN[:5000]
    np.save(tmp_path / "t.npy", np.full((10, 10), 0.1))
    np.savetxt(tmp_path / "t.csv", np.eye(10), delimiter=",")
    rates = {
        "symmetric:0.6": 0.54, "symmetric-exclusive:0.6": 0.6, "asymmetric:0.4": 0.2, "asymmetric:0.4:one_way": 0.04,
        "asymmetric:0.4:sequential": 0.184, "pair:0.3": 0.3, f"matrix:{tmp_path / 't.npy'}": 0.9,
        f"matrix:{tmp_path / 't.csv'}": 0.0, "none": 0.0, "instance:0.4": 0.4, "instance:0.4:per-class": 0.4,
    }  # fmt: skip
    for spec, rate in rates.items():
        noisy = apply_noise(spec, labels, 10, 0, maps, bright(5000))
        assert (noisy != labels).double().mean().item() == pytest.approx(rate, abs=0.03), spec
        assert torch.equal(noisy, apply_noise(spec, labels, 10, 0, maps, bright(5000)))
    without = apply_noise("asymmetric:0.3", labels, 10, 0)
    assert torch.equal(without, apply_noise("pair:0.3", labels, 10, 0)), "without a published map it is pair noise"


def test_wrong_specifications_are_one_line(tmp_path: Path):
    np.save(tmp_path / "t.npy", np.full((10, 10), 0.2))
    np.save(tmp_path / "small.npy", np.eye(3))
    (tmp_path / "t.csv").write_text("a,b\n")
    for spec, words in (
        ("asymmetric:0.4:sideways", "map 'sideways' .* there is both"),
        ("asymmetric", "rate '' .* is no number"),
        ("pair:2", "expected a number from 0 to 1"),
        ("pair:nan", "expected a number from 0 to 1"),
        ("symmetric:0.4:both", "one part too many"),
        ("instance:0.4:all", "expected instance:0.4:per-class"),
        ("matrix:", "no such file"),
        (f"matrix:{tmp_path / 't.npy'}", "row 0 adds up to 2"),
        (f"matrix:{tmp_path / 'small.npy'}", r"is \[3, 3\]; expected \[10, 10\]"),
        (f"matrix:{tmp_path / 't.csv'}", "can't be read as a matrix"),
    ):
        with pytest.raises(InputError, match=words) as error:
            apply_noise(spec, TEN, 10, 0, {"both": TEN_MAP}, bright(1).expand(50_000, -1, -1, -1))
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="held in memory"):
        apply_noise("instance:0.4", TEN, 10, 0)
    with pytest.raises(InputError, match="none for these data"):
        apply_noise("asymmetric:0.4:both", TEN, 10, 0)


def test_labels_from_a_file(tmp_path: Path):
    path = tmp_path / "labels.npz"
    np.savez(
        path, good=np.arange(50) % 10, short=np.arange(40, dtype=np.uint8) % 10, bad=np.arange(50), float=np.ones(50)
    )
    torch.save({"worse_label": np.arange(50) % 10}, tmp_path / "labels.pt")
    assert labels_from_file(f"{path}#good", 50, 10).tolist() == [k % 10 for k in range(50)]
    assert len(labels_from_file(f"{path}#short", 50, 10)) == 40
    assert labels_from_file(f"{tmp_path / 'labels.pt'}#worse_label", 50, 10).tolist() == [k % 10 for k in range(50)]
    for name, words in (
        (f"{path}#bad", "bad row 10: label 10, expected 0 to 9"),
        (f"{path}#none", "no array 'none', only good, short, bad, float"),
        (f"{path}#float", "expected 50 whole numbers"),
        (f"{path}", "no array ''"),
        (f"{tmp_path / 'x.npz'}#good", "no such file"),
    ):
        with pytest.raises(InputError, match=words):
            labels_from_file(name, 50, 10)
    with pytest.raises(InputError, match="expected 30 whole numbers, or fewer"):
        labels_from_file(f"{path}#good", 30, 10)


def test_a_run_trains_on_labels_from_a_file_and_keeps_what_it_made(tmp_path: Path):
    cifar10_python(tmp_path)
    clean = read("cifar10", data_dir=str(tmp_path), checksums=False).labels
    given = (clean + (torch.arange(50) % 2)) % 10
    np.savez(tmp_path / "noisy.npz", half=given[:40].numpy().astype(np.uint8))
    noise = f"file:{tmp_path / 'noisy.npz'}#half"
    prepared = ready(data="cifar10", noise=noise, data_dir=str(tmp_path), checksums=False)
    assert torch.equal(prepared.split.samples.labels, given[:40])
    assert prepared.split.truth is not None
    assert torch.equal(prepared.split.truth, clean[:40])
    assert prepared.split.noise_rate == 0.5
    assert "the other 10 samples are left out" in prepared.notes[0]
    from alasca.files import read_tensors

    quick = {"noise": "asymmetric:0.4", "noise_seed": 7, "limit": 100, "epochs": 1}
    run = ran(tmp_path / "run", **quick)
    kept = read_tensors(run.path / "labels.safetensors")
    source = read("digits")
    assert int(kept["transitions"].sum()) == len(kept["given"]) == 100
    moved = kept["transitions"].double() / kept["transitions"].sum(1, keepdim=True)
    assert (moved.diagonal().roll(0) < 0.75).all()
    assert run.settings()["recipe"]["noise_seed"] == 7
    assert len(source.classes) == len(kept["transitions"])
    again = ready(**quick).split.samples.labels
    assert torch.equal(again, kept["given"])
    assert not torch.equal(again, ready(**{**quick, "noise_seed": 8}).split.samples.labels)
