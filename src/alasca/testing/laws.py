"""The laws that hold in one process."""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alasca.core import Batch, Clock, Method, Phase, backbone
from alasca.engine import Stopped, Trainer, Workbench, accuracy
from alasca.engine.graphs import TapeGraph
from alasca.engine.tape import difference
from alasca.methods import WRAPPER, load, wrap
from alasca.stores import SampleStore
from alasca.testing.planted import BATCH, HELD, SAMPLES, job, kept_in, planted, settings, trained, trainer
from alasca.testing.recording import NOWHERE, noted_steps

Make = Callable[[], Method]


def everything(made: Trainer) -> dict[str, Tensor]:
    """All that a run ends with: networks, optimisers, the method's state, the trace."""
    return made.bench.tensors()


def require_same(first: dict[str, Tensor], second: dict[str, Tensor], what: str) -> None:
    """Raise `AssertionError` unless two sets of tensors are bit-identical."""
    assert first.keys() == second.keys(), f"{what}: {sorted(first.keys() ^ second.keys())}"
    different = [name for name in first if not same(first[name], second[name])]
    assert not different, f"{what}: {different[:5]} differ"


def same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are bit-identical, numbers that are none included."""
    return torch.equal(first, second) or (
        torch.equal(first.isnan(), second.isnan()) and torch.equal(first.nan_to_num(), second.nan_to_num())
    )


def backbones(made: Trainer) -> dict[str, Tensor]:
    """Parameters and buffers of the plain networks."""
    return {f"{k}/{n}": v for k, net in enumerate(made.bench.nets) for n, v in backbone(net).state_dict().items()}


def one_step(method: Method, epoch: int = 3, noise: int = 8) -> tuple[Workbench, Phase, dict[str, Batch], Clock]:
    """A bench of the last stage, and the first batches of the last phase of an epoch late in it."""
    last = len(method.stages(4)) - 1
    bench = Workbench(job(method, planted(noise, HELD), settings(4)), last)
    clock = Clock.at(last, epoch, bench.stage.epochs, 0, 4)
    phase = bench.plan(clock)[-1]
    batches = next(bench.batches(phase, epoch))
    return bench, phase, batches, clock._replace(draws=method.draws(phase, clock))


def is_alasca(method: Method) -> bool:
    """Whether a method is inside ALASCA."""
    return isinstance(method, load(WRAPPER))


def stores(method: Method) -> list[SampleStore]:
    """All per-sample stores of a method."""
    return [module for module in method.modules() if isinstance(module, SampleStore)]


def law_1_learns(make: Make) -> None:
    """It reaches 95% on 64 clean-labelled samples within 300 steps."""
    data = planted(0, HELD)
    assert data.test is not None
    made = trained(make(), data, settings(75))
    assert made.state.history, "no epoch was trained"
    reached = accuracy(made.job.method, made.bench.nets, data.test)
    assert reached >= 95, f"reached {reached:.1f}%"


def law_2_wrapping_adds_nothing(make: Make) -> None:
    """``Alasca(m, aux_weight=0, predict="main")`` leaves backbone parameters and buffers bit-identical to m alone."""
    method = make()
    if is_alasca(method) or method.owns_branches:
        return
    alone = trained(method, planted(8, HELD), settings(3))
    wrapped = trained(wrap(make(), aux_weight=0.0, warmup=1, predict="main"), planted(8, HELD), settings(3))
    require_same(backbones(alone), backbones(wrapped), "backbones")


def law_3_resumes_exactly(make: Make) -> None:
    """Stopped after every step of every phase and resumed each time, or once, it ends bit-identical.

    That is: networks, optimisers, stores, the trace.
    """
    data, training = planted(8, HELD), settings(3, select="noisy-val")
    whole = everything(trained(make(), data, training))
    for stops in ([1] * 200, [5]):
        with tempfile.TemporaryDirectory() as temporary:
            run, resumed = kept_in(Path(temporary)), 0
            for stop in (*stops, None):
                made = trainer(make(), data, training, run=run, stop_after=stop)
                torch.manual_seed(12345 + resumed)
                try:
                    made.fit(resume=bool(resumed))
                except Stopped:
                    resumed += 1
                else:
                    break
            assert resumed >= min(len(stops), SAMPLES // BATCH), f"it stopped {resumed} times"
            require_same(whole, everything(made), f"stopped {resumed} times")


def law_4_touches_named_rows(make: Make) -> None:
    """A step changes only the store rows named by ``batch.index``."""
    method = make()
    bench, phase, batches, clock = one_step(method)
    before = [store.value.clone() for store in stores(method)]
    method.step(bench.nets, batches, phase, clock)
    named = torch.zeros(SAMPLES + HELD, dtype=torch.bool)
    for batch in batches.values():
        named[batch.index] = True
    for store, old in zip(stores(method), before, strict=True):
        changed = (store.value != old).any(1)
        assert not bool((changed & ~named).any()), "rows of other samples changed"


def law_5_never_sees_clean_labels(make: Make) -> None:
    """Replacing clean labels by garbage changes nothing."""
    data = planted(8, HELD)
    assert data.test is not None
    garbage = replace(
        data, truth=torch.zeros(SAMPLES + HELD, dtype=torch.int64), test=replace(data.test, labels=data.test.labels * 0)
    )
    training = settings(3, select="noisy-val")
    require_same(
        everything(trained(make(), data, training)), everything(trained(make(), garbage, training)), "clean labels"
    )


def law_6_penalty_reaches_everything(make: Make) -> None:
    """The auxiliary loss alone gives a gradient to the first layer of every trained network, and its store changes."""
    method: Any = make()
    if not is_alasca(method):
        return
    bench, phase, batches, clock = one_step(method)
    gradients = []
    for weight in (0.0, 1.0):
        twin, nets = copy.deepcopy(method), copy.deepcopy(bench.nets)
        twin.aux_weight = weight
        torch.manual_seed(1)
        step = twin.step(nets, batches, phase, clock)
        firsts = [next(backbone(nets[k]).parameters()) for k in phase.train]
        gradients.append(torch.autograd.grad(step.loss, firsts))
        for k in phase.train:
            objective = twin.objectives[k]
            assert all(bool(store.value.any()) for store in objective.modules() if isinstance(store, SampleStore))
    for without, with_penalty in zip(*gradients, strict=True):
        assert float((with_penalty - without).abs().max()) > 1e-6, "no gradient in the first layer"


def law_8_precision_and_copies(make: Make) -> None:
    """One step's loss and gradients in float64 agree with float32's to 1e-4; deep copy works."""
    method: Any = make()
    bench, phase, batches, clock = one_step(method)
    twin, nets = copy.deepcopy(method), copy.deepcopy(bench.nets)
    for module in (*nets, *(module for module in twin.modules() if next(module.parameters(False), None) is not None)):
        module.double()
    double = {
        name: replace(batch, views=tuple(view.double() for view in batch.views), weight=batch.weight.double())
        for name, batch in batches.items()
    }
    results = []
    for owner, networks, given in ((method, bench.nets, batches), (twin, nets, double)):
        torch.manual_seed(2)
        with dropout_off(networks):
            step = owner.step(networks, given, phase, clock)
        parameters = [p for k in phase.train for p in networks[k].parameters() if p.requires_grad]
        parameters += [parameter for group in owner.trained() for parameter in group.parameters]
        found = torch.autograd.grad(step.loss, parameters, allow_unused=True)
        results.append([step.loss.detach(), *(g for g in found if g is not None)])
    assert len(results[0]) == len(results[1])
    for single, exact in zip(*results, strict=True):
        torch.testing.assert_close(single.double(), exact.double(), rtol=1e-4, atol=1e-4)


@contextlib.contextmanager
def dropout_off(nets: Sequence[nn.Module]) -> Iterator[None]:
    """Dropout's draws depend on the type of the input; leave it out of comparisons between types."""
    layers = [module for net in nets for module in net.modules() if isinstance(module, nn.Dropout)]
    rates = [layer.p for layer in layers]
    for layer in layers:
        layer.p = 0.0
    try:
        yield
    finally:
        for layer, rate in zip(layers, rates, strict=True):
            layer.p = rate


def law_9_says_what_it_is(make: Make) -> None:
    """Its docstring has a summary, the paper, and "Differences from the authors' code"."""
    text = type(make()).__doc__ or ""
    assert len(text.strip().splitlines()[0]) > 20, "no summary"
    for words in ("Paper:", "Differences from the authors' code:"):
        assert words in text, f"docstring lacks {words!r}"


def law_10_may_be_recorded(make: Make) -> None:
    """Its steps may be recorded and replayed: a run ends bit-identical, and no step reads a number back or lends one.

    Two successive steps of any phase do the same, operator by operator, with the same shapes and Python numbers.
    """
    if not make().captures:
        return
    data, training = planted(8, HELD), settings(3, batch_size=8)
    eager = trained(make(), data, training)
    recorded = trained(make(), data, training, graph=TapeGraph)
    assert not recorded.notes, recorded.notes[0]
    assert recorded.stepper.replayed, "no step was replayed"
    require_same(everything(eager), everything(recorded), "replayed steps")
    for epoch in (0, 3):
        for first, second in noted_steps(make(), epoch):
            found = second.obstacle(NOWHERE) or difference(first, second)
            assert found is None, f"epoch {epoch}: {found}"


LAWS: dict[str, Callable[[Make], None]] = {
    "1 learns": law_1_learns,
    "2 wrapping adds nothing": law_2_wrapping_adds_nothing,
    "3 resumes exactly": law_3_resumes_exactly,
    "4 touches named rows": law_4_touches_named_rows,
    "5 never sees clean labels": law_5_never_sees_clean_labels,
    "6 penalty reaches everything": law_6_penalty_reaches_everything,
    "8 precision and copies": law_8_precision_and_copies,
    "9 says what it is": law_9_says_what_it_is,
    "10 may be recorded": law_10_may_be_recorded,
}
"""Law 7, two processes, is `law_7_ranks_agree`: it needs processes of its own and names instead of makers."""
