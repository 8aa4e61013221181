"""What a dry run saw of a network: where sub-classifiers fit, where the classifier is."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass
class Visit:
    """One module's return during the dry run.

    Attributes:
        name, module: of the network.
        output: what it returned.
        version: of the tensor then.
        order: of its axes that makes it ``[B, C, H, W]`` or ``[B, T, D]``; None: it is so.
        is_map: its axes behind the second are places of a picture or volume, not tokens as in attention.
    """

    name: str
    module: nn.Module
    output: Tensor
    version: int
    order: tuple[int, ...] | None = None
    is_map: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """One sample's: ``(C, H, W)``, ``(T, D)`` or ``(D,)``; of volumes ``(D * H * W, C)``."""
        shape = self.output.shape
        if len(shape) == 5:
            return (math.prod(shape[2:]), shape[1])
        return tuple(shape[1:] if self.order is None else (shape[axis] for axis in self.order[1:]))

    @property
    def size(self) -> tuple[int, ...] | None:
        """Sides of a map, length of a sequence whose channels a convolution made; None for others."""
        if self.output.dim() == 5:
            return tuple(self.output.shape[2:])
        if self.output.dim() == 4:
            return self.shape[1:]
        return self.shape[:1] if self.order == (0, 2, 1) else None

    @property
    def depth(self) -> int:
        """How many modules it lies inside."""
        return self.name.count(".")

    @property
    def leaf(self) -> bool:
        """Whether it has no modules inside."""
        return next(self.module.children(), None) is None

    @property
    def overwritten(self) -> bool:
        """A later in-place operation changed the tensor that this module returned."""
        return self.output._version != self.version


@dataclass
class Survey:
    """What a dry run saw: every module that returned a tensor a sample, in the order they finished.

    `logits_at` is where the logits are in what the network returns, where that is a tuple.
    """

    visits: list[Visit]
    logits: Tensor
    batch: int
    names: dict[str, nn.Module] = field(repr=False)
    net: nn.Module = field(repr=False)
    logits_at: int | None = None

    def find(self, name: str) -> Visit:
        """The visit to a named module.

        Raises:
            ValueError: no such module, not run, run twice, or nothing to classify from.
        """
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"some of its modules: {', '.join(self.offer())}"
            raise ValueError(f"at: the network has no module {name!r}; {hint}")
        found = [visit for visit in self.visits if visit.name == name]
        if not found:
            raise ValueError(f"at: module {name!r} did not run, or returned no tensor with one row a sample")
        if len(found) > 1:
            raise ValueError(
                f"at: module {name!r} runs {len(found)} times in one forward; name a module that runs once"
            )
        shape = list(found[0].output.shape)
        if len(shape) > 5:
            raise ValueError(f"at: module {name!r} returns {shape}; expected [B, C, (D,) H, W], [B, T, D] or [B, D]")
        return found[0]

    def offer(self) -> list[str]:
        """A few names worth trying: of modules that run once and do not give the logits."""
        names = [visit.name for visit in self.visits]
        hidden = [v for v in self.visits if v.name and names.count(v.name) == 1 and not self._gives_logits(v)]
        return list(dict.fromkeys(v.name for v in hidden if not v.leaf))[:8] or [visit.name for visit in hidden][:8]

    def _gives_logits(self, visit: Visit) -> bool:
        output = visit.output
        return output is self.logits or (
            output.data_ptr() == self.logits.data_ptr() and output.shape == self.logits.shape
        )

    def classifier(self) -> str | None:
        """Name of the last linear layer whose output is the logits, if there is one."""
        for visit in reversed(self.visits):
            if isinstance(visit.module, nn.Linear) and self._gives_logits(visit):
                return visit.name
        return None

    def final_shape(self) -> tuple[int, ...]:
        """Shape of one sample after the last stage: a map where the network ends in maps, else a sequence or vector.

        What has a value a class at the end is scores of classes already, of tokens or places, and no stage.
        """
        classes = self.logits.shape[-1]
        maps = [k for k, visit in enumerate(self.visits) if visit.is_map and visit.output.dim() == 4]
        while len(maps) > 1 and self.visits[maps[-1]].shape[0] == classes:
            maps.pop()
        if maps and not self._ends_in_sequences():
            shapes = [self.visits[k].shape for k in maps]
            wide = [shape for shape in shapes if shape[1] * shape[2] > 1]
            return (wide or shapes)[-1]
        name = self.classifier()
        linear = self.names.get(name) if name else None
        if isinstance(linear, nn.Linear):
            return (linear.in_features,)
        hidden = [v.shape for v in self.visits if v.output is not self.logits and (v.is_map or v.output.dim() < 4)]
        while len(hidden) > 1 and hidden[-1][-1] == classes:
            hidden.pop()
        return hidden[-1] if hidden else tuple(self.logits.shape[1:])

    def _ends_in_sequences(self) -> bool:
        """Whether blocks on sequences follow the last map, as in a transformer of patches."""
        maps = [k for k, visit in enumerate(self.visits) if visit.is_map]
        blocks = [k for k, visit in enumerate(self.visits) if visit.output.dim() == 3 and not visit.leaf]
        return bool(blocks) and (not maps or blocks[-1] > maps[-1])

    def places(self) -> list[str]:
        """Default places: the end of every stage but the last.

        Stages are those that the network names in `feature_info`, as timm's do; else resolutions where it has maps,
        quarters of its blocks where it repeats blocks on sequences, layers where it is a stack of linear layers, and
        else what the last hidden layer with weights reads.

        Raises:
            ValueError: where none of these is found.
        """
        found = self._named() or (self._blocks() if self._ends_in_sequences() else [])
        found = found or self._stages() or self._blocks()
        if not found and (shared := self._shared()) is not None:
            raise ValueError(
                f"at: the blocks of this network share their weights ({shared!r} runs more than once in a forward), so "
                "that sub-classifiers have no place between them; name a module that runs once, or train it without "
                "ALASCA (--no-alasca)"
            )
        found = found or self._layers() or self._before_last()
        if not found:
            such = ", ".join(self.offer())
            mend = (
                f"name modules, such as {such}"
                if such
                else "no module in it gives a hidden layer; train it without ALASCA (--no-alasca)"
            )
            raise ValueError(f"at: found no place for sub-classifiers; {mend}")
        return found

    def last_stage(self) -> str | None:
        """The module at the end of the last stage, of a network that names its stages; None of others."""
        info = getattr(self.net, "feature_info", None)
        stages = list(getattr(info, "info", info) or [])
        if not stages:
            return None
        name = str(stages[-1]["module"])
        return name if [visit.name for visit in self.visits].count(name) == 1 else None

    def _shared(self) -> str | None:
        """A module with modules inside that ran more than once, on maps or sequences, if there is one."""
        names = [visit.name for visit in self.visits]
        return next(
            (v.name for v in self.visits if not v.leaf and v.output.dim() > 2 and names.count(v.name) > 1), None
        )

    def _once(self, dims: int) -> list[Visit]:
        """Visits with outputs of that many dimensions to modules that ran once, the network itself left out.

        Of four dimensions or more, those that are maps.
        """
        names = [visit.name for visit in self.visits]
        found = [v for v in self.visits if v.output.dim() == dims and v.name and names.count(v.name) == 1]
        return [visit for visit in found if dims < 4 or visit.is_map]

    def _named(self) -> list[str]:
        """All but the last of the stages that the network names itself, three at most; quarters of equal blocks."""
        info = getattr(self.net, "feature_info", None)
        stages = list(getattr(info, "info", info) or [])
        ends = {stage["reduction"]: stage["module"] for stage in stages}  # the last module of each resolution
        found = list(ends.values())[:-1][-3:] if len(ends) > 1 else quarters([stage["module"] for stage in stages])
        ran = [visit.name for visit in self.visits]
        return found if all(ran.count(name) == 1 for name in found) else []

    def _stages(self) -> list[str]:
        spread = [visit for visit in self._once(3) if visit.size is not None]
        maps = self._row(self._once(4) or self._once(5) or ([] if self._blocks() else spread))
        ends: dict[tuple[int, ...], Visit] = {}
        for visit in maps:
            known = ends.get(visit.size or ())
            if known is None or (visit.leaf, visit.depth) <= (known.leaf, known.depth):
                ends[visit.size or ()] = visit
        wide = [visit for size, visit in ends.items() if math.prod(size) > 1] or list(ends.values())
        if len(wide) < 2:
            return []
        blocks = [visit for visit in wide if not visit.leaf]
        return [visit.name for visit in (blocks if len(blocks) > 1 else wide)[:-1][-3:]]

    def _row(self, maps: list[Visit]) -> list[Visit]:
        """Those of a row of modules of three or more resolutions, as ``stages.0`` to ``stages.3``; else all."""
        rows: dict[str, list[Visit]] = {}
        for visit in maps:
            if not visit.leaf and visit.name.rpartition(".")[2].isdecimal() and visit.depth:
                rows.setdefault(visit.name.rstrip("0123456789"), []).append(visit)
        best = max(rows.values(), key=lambda row: len({visit.size or visit.shape for visit in row}), default=[])
        return best if len({visit.size or visit.shape for visit in best}) > 2 else maps

    def _blocks(self) -> list[str]:
        sequences = [visit for visit in self._once(3) if visit.size is None]
        row = self._row(sequences)
        if len(row) < len(sequences):  # stages of sequences, each shorter than the one before
            return [visit.name for visit in row][:-1][-3:]
        families: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        for visit in self._once(3) + self._once(4):
            family = visit.name.rstrip("0123456789")
            if family != visit.name and not visit.leaf:
                families.setdefault((family, visit.shape), []).append(visit.name)
        blocks = max(families.values(), key=len, default=[])
        return quarters(blocks)

    def _layers(self) -> list[str]:
        vectors = [visit for visit in self._once(2) if visit.leaf]
        linear = [k for k, visit in enumerate(vectors) if isinstance(visit.module, nn.Linear)]
        ends = [vectors[k - 1].name for k in linear[1:]]
        return ends[:-1] or ends

    def _before_last(self) -> list[str]:
        """What the last hidden layer with weights reads, or gives where it is the only one."""
        once = [visit for dims in (2, 3, 4) for visit in self._once(dims)]
        row = [v for v in self.visits if v in once and v.leaf and not self._gives_logits(v)]
        weighted = [k for k, visit in enumerate(row) if next(visit.module.parameters(), None) is not None]
        if not weighted:
            return []
        return [row[weighted[-1] - 1].name] if len(weighted) > 1 else [row[-1].name]


def quarters(blocks: list[str]) -> list[str]:
    """The ends of the first three quarters of a row of blocks, as far as they differ.

    >>> quarters([f"block{k}" for k in range(8)])
    ['block1', 'block3', 'block5']
    """
    ends = [max(0, round(len(blocks) * k / 4) - 1) for k in (1, 2, 3)]
    return [blocks[k] for k in dict.fromkeys(ends) if k < len(blocks) - 1]
