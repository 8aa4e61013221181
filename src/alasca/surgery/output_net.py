"""OutputNet: any module made to return an `Output`; SubClassifiers: its public face for loops of one's own."""

from __future__ import annotations

import contextlib
import difflib
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from alasca.core import Holder, Output, full_precision
from alasca.surgery.branches import Branch, of_kind, require_gradient, require_rows
from alasca.surgery.calls import arguments, main_logits, padding_of
from alasca.surgery.classifiers import Pool, build_heads
from alasca.surgery.dry_run import survey
from alasca.surgery.survey import Visit
from alasca.surgery.tails import make_tail
from alasca.surgery.taps import EdgeTap, Tap

PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class OutputNet(Holder):
    """A network that always returns an `Output`, with sub-classifiers where `attach` put them.

    Args:
        net: any module whose result is logits ``[B, K]``, a tuple or a model-output object that holds them.
        feature_at: name of the layer whose input is `Output.feature`. Default: the linear layer that gives the
            logits, found when `example` is passed.
        example: a batch of inputs of two rows or more (a tensor, a tuple of arguments, a dict of keyword arguments).
        num_classes: K; read off the example's logits where it is not given.
    """

    def __init__(
        self, net: nn.Module, feature_at: str | None = None, example: Any = None, num_classes: int | None = None
    ) -> None:
        super().__init__()
        self.backbone = net
        self.branches = nn.ModuleList()
        self.windows = nn.ModuleList()
        self.autocast: torch.dtype | None = None
        self.compiled = False
        self.num_classes = num_classes
        self._feature = Tap()
        self._feature_at = feature_at
        self._logits_at: int | None = None
        self.taps: dict[str, EdgeTap] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        if example is not None:
            inputs, keywords = arguments(net, example)
            seen = survey(net, inputs, keywords, num_classes)
            self.num_classes = self.num_classes or seen.logits.shape[-1]
            self._feature_at = feature_at or seen.classifier()
            self._logits_at = seen.logits_at
        if self._feature_at is not None:
            self._handles.append(net.get_submodule(self._feature_at).register_forward_pre_hook(self._feature.read))

    @property
    def classifier(self) -> nn.Linear:
        """The linear layer that gives the logits.

        Raises:
            ValueError: none was found, or `feature_at` names something else.
        """
        layer = self.backbone.get_submodule(self._feature_at) if self._feature_at else None
        if not isinstance(layer, nn.Linear):
            raise ValueError(  # noqa: TRY004  # the name is wrong, not a type that was passed
                f"{type(self.backbone).__name__} has no linear layer whose output is the logits; "
                "name it: OutputNet(net, feature_at=...)"
            )
        return layer

    @property
    def places(self) -> list[str]:
        """Names of the modules that sub-classifiers are attached to, shallow to deep."""
        return [branch.place for branch in of_kind(self.branches)]

    def attach(self, at: str | Sequence[str] | None, example: Any, head: str = "bottleneck", seed: int = 0) -> None:
        """Attach sub-classifiers after the modules named in `at`; None picks the end of every stage but the last.

        The backbone, its buffers and the default random state are left bit for bit as they were.

        Raises:
            ValueError: a name that does not exist, does not run, runs twice or gives nothing to classify from.
        """
        inputs, keywords = arguments(self.backbone, example)
        seen = survey(self.backbone, inputs, keywords, self.num_classes)
        if self.num_classes not in (None, seen.logits.shape[-1]):
            raise ValueError(f"num_classes: {self.num_classes}, but the network gives {seen.logits.shape[-1]} logits")
        self.num_classes = seen.logits.shape[-1]
        at = [at] if isinstance(at, str) else at
        names = list(dict.fromkeys(at)) if at is not None else seen.places()
        if not names:
            raise ValueError("at: empty, expected the names of modules")
        order = [visit.name for visit in seen.visits]
        visits = sorted((seen.find(name) for name in names), key=lambda visit: order.index(visit.name))
        heads = build_heads([v.shape for v in visits], seen.final_shape(), self.num_classes, head, seed)
        for visit, classifier in zip(visits, heads, strict=True):
            self.hang(visit, classifier)

    def hang(self, visit: Visit, head: nn.Module) -> None:
        """Let ``head(feature, padding)`` run in line on what a module returns: a pair for `aux` and `aux_features`."""
        layer = next(visit.module.parameters(), next(self.backbone.parameters(), visit.output))
        head.to(device=visit.output.device, dtype=layer.dtype if layer.is_floating_point() else None)
        self.branches.append(self._branch(visit, head))

    def show(self, visit: Visit) -> None:
        """Let what a module returns, pooled, be one of `Output.shown`."""
        self.windows.append(self._branch(visit, Pool()))

    def _branch(self, visit: Visit, head: nn.Module) -> Branch:
        drops = any(isinstance(module, _DropoutNd) and module.inplace for module in self.backbone.modules())
        branch = Branch(visit.name, head, visit.overwritten or drops, visit.order)
        branch.train(self.training)
        self._handles.append(visit.module.register_forward_hook(branch.see))
        return branch

    def replicate(self, place: str | None, copies: int, example: Any, seed: int = 0) -> Visit:
        """Attach `copies` of all that follows a module, each initialised anew: their logits are `Output.aux`.

        Args:
            place: name of the module; None: the end of the last stage but one.
            copies: how many, beside the network's own.
            example: a batch of inputs.
            seed: of their weights.

        Returns:
            The module's visit in the dry run, with the shape of what it returns.

        Raises:
            ValueError: no such module, or what follows it can't run on its output alone.
        """
        inputs, keywords = arguments(self.backbone, example)
        seen = survey(self.backbone, inputs, keywords, self.num_classes)
        visit = seen.find(place or seen.places()[-1])
        for k in range(copies):
            tail = make_tail(self.backbone, seen, visit.name, inputs, keywords)
            tail.reset(seed + k)
            self.hang(visit, tail)
        return visit

    def tap(self, names: Sequence[str]) -> None:
        """Prepare `taps` that hold where in the graph these modules' outputs are made; see `alasca.surgery.opened`."""
        known = [name for name, _ in self.backbone.named_modules() if name]
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"some of its modules: {', '.join(known[:8])}"
                raise ValueError(f"at: the network has no module {name!r}; {hint}")
            tap = self.taps[name] = EdgeTap()
            self._handles.append(self.backbone.get_submodule(name).register_forward_hook(tap.see))

    def remove(self) -> nn.Module:
        """Take every hook off and give the plain network back, bit for bit as it would be without them."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.branches, self.windows = nn.ModuleList(), nn.ModuleList()
        return self.backbone

    def forward(self, *inputs: Any, **keywords: Any) -> Output:
        """The network's `Output`, the sub-classifiers' logits in it."""
        branches, windows = of_kind(self.branches), of_kind(self.windows)
        padding = padding_of(self.backbone, inputs, keywords)
        self._feature.open = True
        for branch in (*branches, *windows):
            branch.open, branch.padding = True, padding
        try:
            value = self._call(inputs, keywords)
            results = [branch.found() for branch in branches]
            require_gradient(branches)
            shown = [window.found()[0] for window in windows]
            feature = self._feature.value
        finally:
            self._feature.open, self._feature.value = False, None
            for branch in (*branches, *windows):
                branch.open, branch.result = False, None
        main = full_precision(main_logits(value, self.num_classes, self._logits_at))
        require_rows(branches, results, main)
        return Output(
            main,
            None if feature is None else full_precision(feature),
            tuple(logits for logits, _ in results),
            tuple(pooled for _, pooled in results),
            tuple(shown),
        )

    def _call(self, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """The backbone, its sub-classifiers in line, under mixed precision where `autocast` names a type."""
        fast = torch.backends.mha.get_fastpath_enabled() and not self.training
        if fast and not torch.compiler.is_compiling():
            torch.backends.mha.set_fastpath_enabled(False)  # it hands on nested tensors
            try:
                return self._call(inputs, keywords)
            finally:
                torch.backends.mha.set_fastpath_enabled(True)
        with contextlib.ExitStack() as entered:
            if self.autocast is not None:
                device = next(self.backbone.parameters()).device.type
                entered.enter_context(torch.autocast(device, self.autocast))
            if self.compiled and self.training and torch.is_grad_enabled():
                guarded = torch._dynamo.config.patch(skip_nnmodule_hook_guards=False)
                entered.enter_context(guarded)  # code compiled for a network without sub-classifiers is not this one's
            elif self.compiled:
                entered.enter_context(torch.compiler.set_stance("force_eager"))
            return self.backbone(*inputs, **keywords)


class SubClassifiers(OutputNet):
    """Sub-classifiers on any network, for a training loop of one's own.

    In training mode it returns an `alasca.Output`, which `alasca.AlascaLoss` reads; in eval mode exactly what the
    network itself returns, so that code that evaluates keeps working. Build the optimiser after wrapping, from
    ``parameters()`` of the result, or the heads do not learn. `remove()` gives the plain network back.

    Args:
        net: the network.
        at: names of modules to attach to, as in ``net.named_modules()``; None picks the end of every stage but
            the last.
        num_classes: K; default: as many as the example has logits.
        example: a batch of two rows or more as the network takes it: a tensor, a tuple of arguments, or a mapping of
            keyword arguments. Run once, in eval mode. Required.
        head: ``"bottleneck"`` (the paper's), ``"pooled"`` (pool first, cheaper) or ``"linear"`` (pool + linear).
        seed: of the heads' initial weights; the default random state is not touched.

    Raises:
        ValueError: no example; a place that does not exist, does not run, runs twice or gives nothing to classify
            from.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> net = SubClassifiers(net, num_classes=3, example=torch.zeros(2, 4))
    >>> net.places
    ['1']
    >>> len(net(torch.randn(5, 4)).aux), type(net.eval()(torch.randn(5, 4))).__name__
    (1, 'Tensor')
    """

    def __init__(
        self,
        net: nn.Module,
        at: str | Sequence[str] | None = None,
        num_classes: int | None = None,
        example: Any = None,
        head: str = "bottleneck",
        seed: int = 0,
    ) -> None:
        if example is None:
            raise ValueError("example: missing; pass a batch of two rows or more, such as example=images[:2]")
        super().__init__(net, example=example, num_classes=num_classes)
        self.train(net.training)
        self.attach(at, example, head, seed)
        self._forwards = 0
        self._first: list[Tensor] = []

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """`Output` in training mode, what the wrapped network returns in eval mode."""
        if not self.training:
            return self.backbone(*inputs, **keywords)
        if not torch.compiler.is_compiling() and self._forwards < 50:
            self._watch_heads()
        return super().forward(*inputs, **keywords)

    def _watch_heads(self) -> None:
        if not torch.is_grad_enabled():
            return
        weights = [branch.head.get_parameter("classifier.weight").detach() for branch in of_kind(self.branches)]
        self._forwards += 1
        if self._forwards == 1:
            self._first = [weight.clone() for weight in weights]
        elif self._forwards == 50 and all(
            torch.equal(weight, first.to(weight)) for weight, first in zip(weights, self._first, strict=True)
        ):
            warnings.warn(
                "no sub-classifier has changed in 50 training steps: build the optimiser after SubClassifiers(...), "
                "from its parameters()",
                stacklevel=3,
            )


def compile_training(net: nn.Module) -> None:
    """Let the training forward and backward of a network run as fused code; without gradient it runs as it is."""
    if isinstance(net, OutputNet):
        net.compiled = True
        net.backbone.compile()


def set_arithmetic(net: nn.Module, precision: str, channels_last: bool) -> None:
    """Let a network compute in ``"float32"``, or under autocast in ``"bf16"`` or ``"fp16"``, in a memory format."""
    if isinstance(net, OutputNet):
        net.autocast = PRECISIONS[precision]
    if channels_last:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own signature lacks it
