"""The processors that a script runs on."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import mxnet as mx
from mxnet.contrib import amp
from mxnet.contrib.amp.lists import symbol_bf16, symbol_fp16

_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_FAST_FLOAT16 = (7, 0)  # below it cuDNN converts float16 convolutions to float32 first


def contexts(gpus: str | None) -> list[mx.Context]:
    """Contexts for `--gpus`.

    Args:
        gpus: numbers such as "0,1", "none" for the CPU, or None for GPU 0 if there is one, else the CPU.

    Raises:
        ValueError: a GPU that is not there, or text that is no number.
    """
    available = 0 if gpus == "none" else _gpu_count()
    if gpus == "none" or (gpus is None and not available):
        return [mx.cpu()]
    if gpus is None:
        return [mx.gpu(0)]
    try:
        numbers = [int(part) for part in gpus.split(",")]
    except ValueError:
        raise ValueError(f"--gpus {gpus}: give numbers such as 0,1, or none for the CPU") from None
    for number in numbers:
        if not 0 <= number < available:
            raise ValueError(f"--gpus {gpus}: there are {available} GPUs here; run make check-gpu, or pass --gpus none")
    return [mx.gpu(number) for number in numbers]


def idle_cores_advice(contexts: list[mx.Context]) -> str | None:
    """Advice if MXNet leaves cores idle: it uses half of the processors, as if each core had two hyperthreads."""
    used, cores = max(1, (os.cpu_count() or 1) // 2), physical_cores()
    if contexts[0].device_type != "cpu" or "OMP_NUM_THREADS" in os.environ or used >= cores:
        return None
    return f"MXNet uses {used} of {cores} cores; set OMP_NUM_THREADS={cores} in the environment to use all"


def physical_cores(topology: Path = Path("/sys/devices/system/cpu")) -> int:
    """Number of cores that this process may use; two hyperthreads count as one."""
    processors = os.sched_getaffinity(0)
    siblings = [topology / f"cpu{number}" / "topology" / "thread_siblings_list" for number in processors]
    if not all(path.is_file() for path in siblings):
        return len(processors)
    return len({path.read_text(encoding="ascii").strip() for path in siblings})


def half_precision(context: mx.Context, processor: Path = Path("/proc/cpuinfo")) -> str | None:
    """The half-precision type that a device multiplies faster than float32, if any.

    A CPU without such instructions emulates bfloat16, which is slow.
    """
    if context.device_type == "gpu":
        return "float16"
    known = processor.read_text(encoding="utf-8", errors="replace").split() if processor.is_file() else ()
    return "bfloat16" if "avx512_bf16" in known or "amx_bf16" in known else None


def use_half_precision(context: mx.Context) -> None:
    """Turns on half precision for every network built afterwards; weights stay float32.

    Only convolutions use it. In a dense layer it would round landmarks: to 1/256 of the crop in bfloat16, to 0.11 px of
    224 in float16. MXNet's ReLU is seven times as slow on bfloat16 as on float32.
    """
    if half_precision(context) == "bfloat16":
        kept = [*symbol_bf16.FP32_FUNCS, "FullyConnected", "relu", "dot"]
        amp.init("bfloat16", target_precision_ops=["Convolution"], fp32_ops=kept)
    else:
        kept = [*symbol_fp16.FP32_FUNCS, "FullyConnected"]
        amp.init("float16", target_precision_ops=["Convolution", "Deconvolution"], fp32_ops=kept)


def half_precision_advice(context: mx.Context) -> str | None:
    """What half precision does not do on this device, if anything."""
    capability = compute_capability(context.device_id) if context.device_type == "gpu" else None
    if capability is None or capability >= _FAST_FLOAT16:
        return None
    card = f"GPU {context.device_id} has compute capability {capability[0]}.{capability[1]}"
    return f"--amp: {card}; below 7.0 cuDNN computes float16 convolutions in float32: less memory, but no faster"


def compute_capability(number: int) -> tuple[int, int] | None:
    """The compute capability (major, minor) of a GPU, None if its driver cannot be asked."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, values = ctypes.c_int(), (ctypes.c_int(), ctypes.c_int())
    failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), number)
    for value, attribute in zip(values, _CAPABILITY):
        failed = failed or driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return None if failed else (values[0].value, values[1].value)


def settle_before_fork() -> None:
    """Finishes and frees what waits on the devices; call it before processes are forked.

    A forked process cannot use CUDA, and ends if it frees what its parent left there; MXNet's own loader does the same.
    """
    mx.nd.waitall()
    gc.collect()
    mx.nd.waitall()


def _gpu_count() -> int:
    try:
        return mx.context.num_gpus()
    except mx.MXNetError:
        return 0
