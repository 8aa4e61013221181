"""The device that a run computes on, its precisions, and its random generators."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from alasca.errors import InputError
from alasca.recipe import Place


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a processor has instructions for bf16 numbers: convolutions take about half as long in them."""
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def precision_on(device: torch.device, named: str) -> str:
    """What ``"auto"`` means on a device: bf16 on a GPU that multiplies such numbers, else float32."""
    if named != "auto":
        return named
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if able else "float32"


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: str, deterministic: bool) -> Iterator[None]:
    """Let a GPU compute as a precision says (see `computed_as`), and leave the caller's settings as they were."""
    if device.type != "cuda":
        yield
        return
    backends = torch.backends
    parts = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)  # type: ignore[attr-defined]  # newer
    before, tried, how = (
        [part.fp32_precision for part in parts],
        backends.cudnn.benchmark,
        computed_as(device, precision, deterministic),
    )
    try:
        backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = bool(how["tf32"])
        backends.cudnn.benchmark = bool(how["autotuner"])
        yield
    finally:
        backends.cudnn.benchmark = tried
        backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32 = before[0] == "tf32", before[1] == "tf32"
        for part, value in zip(parts, before, strict=True):
            if part.fp32_precision != value:
                part.fp32_precision = value


def computed_as(device: torch.device, precision: str, deterministic: bool) -> dict[str, str | bool]:
    """How numbers are multiplied: ``precision``, ``tf32``, ``autotuner``.

    With float32 they are float32 throughout. With bf16 and fp16 a GPU multiplies what is left of float32 as TF32, with
    10 bits of a fraction. cuDNN tries which of its algorithms is fastest, unless results must repeat bit by bit.
    """
    gpu = device.type == "cuda"
    return {"precision": precision, "tf32": gpu and precision != "float32", "autotuner": gpu and not deterministic}


def resolve_device(name: str) -> torch.device:
    """The device that a name means.

    Raises:
        InputError: it is unknown or not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device: {name!r}, expected auto, cpu, cuda, cuda:N or mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise InputError(f"device: {name!r} is not there on this machine; use --device auto")
    if device.type != "cuda":
        return device
    if device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    if device.index >= torch.cuda.device_count():
        raise InputError(f"device: {name!r}, but this machine's last is cuda:{torch.cuda.device_count() - 1}")
    return device


def seed_generators(device: torch.device, seed: int) -> None:
    """Seed the default generators of the CPU and of the training device."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextlib.contextmanager
def borrowed_process(place: Place) -> Iterator[torch.device]:
    """Set threads and determinism as a place says, and leave the caller's as they were: random states too."""
    device, cores = resolve_device(place.device), os.cpu_count() or 1
    if place.threads is not None and place.threads > cores:
        raise InputError(f"threads: {place.threads}, but this machine has {cores}; give --threads {cores} or fewer")
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        if place.threads is not None:
            torch.set_num_threads(place.threads)
        if place.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
            torch.use_deterministic_algorithms(True)
        try:
            yield device
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict, warn_only=warns)
            if workspace is None:
                os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
