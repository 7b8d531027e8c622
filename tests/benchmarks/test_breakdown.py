"""Where time is said to go."""

import pytest
from breakdown import spent_by_kind
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg


def event(name: str, device: DeviceType, cpu: float, gpu: float, *, annotation: bool = False) -> FunctionEventAvg:
    """Microseconds of an operation, or of a kernel."""
    made = FunctionEventAvg()
    made.key, made.device_type, made.is_user_annotation = name, device, annotation
    made.self_cpu_time_total, made.self_device_time_total = cpu, gpu  # type: ignore[assignment]
    return made


EVENTS = [
    event("aten::mm", DeviceType.CPU, 5, 100),
    event("ampere_sgemm_128x64", DeviceType.CUDA, 0, 100),
    event("aten::add", DeviceType.CPU, 3, 20),
    event("elementwise_kernel", DeviceType.CUDA, 0, 20),
    event("Optimizer.step", DeviceType.CUDA, 0, 120, annotation=True),
]


@pytest.mark.parametrize(
    ("on_gpu", "expected"),
    [(True, {"matrix products": 100, "other": 20}), (False, {"matrix products": 5, "other": 3, "optimiser": 0})],
)
def test_a_kernel_counts_once(on_gpu: bool, expected: dict[str, float]) -> None:
    spent = spent_by_kind(EVENTS, on_gpu=on_gpu)
    assert {kind: time for kind, time in spent.items() if time} == {k: t for k, t in expected.items() if t}
