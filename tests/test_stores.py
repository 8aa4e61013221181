"""The per-sample store: hand values, duplicates, rows that are no numbers, types."""

from __future__ import annotations

import pytest
import torch

from alasca.stores import SampleStore, mean_by_index

LOGITS = torch.tensor([[2.0, 0.0, -1.0]])


def test_two_visits_by_hand():
    store = SampleStore(4, 3)
    store.update(torch.tensor([2]), LOGITS, 0.7)
    torch.testing.assert_close(store.read(torch.tensor([2])), torch.tensor([[0.6, 0.0, -0.3]]))
    store.update(torch.tensor([2]), LOGITS, 0.7)
    torch.testing.assert_close(store.value[2], torch.tensor([1.02, 0.0, -0.51]))
    assert store.value[[0, 1, 3]].abs().max() == 0
    assert store.visits.tolist() == [0, 0, 2, 0]


def test_duplicates_give_their_mean_once():
    store = SampleStore(4, 3)
    rows = torch.tensor([[1.0, 2.0, 3.0], [9.0, 9.0, 9.0], [3.0, 2.0, 1.0]])
    store.update(torch.tensor([1, 3, 1]), rows, 0.5)
    torch.testing.assert_close(store.value[1], torch.tensor([1.0, 1.0, 1.0]))
    torch.testing.assert_close(store.value[3], torch.tensor([4.5, 4.5, 4.5]))
    assert store.visits.tolist() == [0, 1, 0, 1]


def test_means_are_deterministic_and_leave_single_rows_alone():
    index = torch.tensor([5, 2, 5, 5, 0])
    rows = torch.randn(5, 7)
    ordered, means = mean_by_index(index, rows)
    assert ordered.tolist() == [0, 2, 5, 5, 5]
    assert torch.equal(means[:2], rows[[4, 1]])
    assert torch.equal(means[2], means[3])
    assert torch.equal(means[2], means[4])
    torch.testing.assert_close(means[2], rows[[0, 2, 3]].mean(0))


def test_rows_that_are_no_numbers_keep_the_old_ones():
    store = SampleStore(3, 2)
    store.update(torch.arange(3), torch.ones(3, 2), 0.0)
    bad = torch.tensor([[float("nan"), 1.0], [5.0, 5.0], [float("inf"), 0.0]])
    store.update(torch.arange(3), bad, 0.0)
    assert store.value.tolist() == [[1, 1], [5, 5], [1, 1]]
    assert store.skipped.item() == 2
    assert store.visits.tolist() == [1, 2, 1]


def test_half_precision_tables_are_clamped_to_their_range():
    store = SampleStore(2, 2, torch.float16)
    store.update(torch.tensor([0]), torch.tensor([[1e6, -1e6]]), 0.0)
    assert store.value[0].tolist() == [65504, -65504]
    assert store.read(torch.tensor([0])).dtype == torch.float32


def test_state_is_saved_and_updates_are_in_place():
    store = SampleStore(3, 2)
    where = store.value.data_ptr()
    store.update(torch.tensor([1]), torch.ones(1, 2), 0.7)
    assert store.value.data_ptr() == where
    twin = SampleStore(3, 2)
    twin.load_state_dict(store.state_dict())
    assert torch.equal(twin.value, store.value)
    assert set(store.state_dict()) == {"value", "visits", "skipped"}


def test_no_samples_is_refused():
    with pytest.raises(ValueError, match="num_samples"):
        SampleStore(0, 3)
