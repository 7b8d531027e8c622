"""What processes say to each other; alone, and by a stand-in for the exchange. Real ones: tests/train."""

from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist

from vitaclip.processes import ALONE, LAUNCHER_VARIABLES, FailedElsewhere, Processes, connected
from vitaclip.runtime import pick_device_among, pick_own_device


def test_alone_everything_comes_back() -> None:
    values = torch.arange(3.0)
    ALONE.sum_(values)
    assert values.tolist() == [0, 1, 2]
    assert ALONE.gather("x") == ["x"]
    assert ALONE.from_first(lambda: 7) == 7
    assert ALONE.is_first


def test_without_a_launcher_one_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with connected() as processes:
        assert processes is ALONE


def test_half_a_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with (
        pytest.raises(ValueError, match=r"LOCAL_RANK, MASTER_ADDR, MASTER_PORT is not; start .* with torchrun"),
        connected(),
    ):
        pass


@pytest.mark.parametrize(("with_cuda", "backend"), [(False, "gloo"), (True, "cpu:gloo,cuda:nccl")])
def test_processes_wait_long_for_each_other(monkeypatch: pytest.MonkeyPatch, with_cuda: bool, backend: str) -> None:
    for name, value in zip(LAUNCHER_VARIABLES, ("3", "4", "1", "localhost", "1"), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "4")
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: with_cuda)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    monkeypatch.setattr(dist, "init_process_group", lambda *given, **named: started.append((*given, named)))
    monkeypatch.setattr(dist, "get_rank", lambda: 3)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    with connected() as processes:
        assert processes == Processes(3, 4, 1)
    assert started == [(backend, {"timeout": timedelta(hours=2)})]


@pytest.mark.parametrize(
    ("messages", "told"), [(["", "no such file"], "process 1: no such file"), (["bad list", "bad list"], "bad list")]
)
def test_a_mistake_is_told_by_the_first_process_alone(
    monkeypatch: pytest.MonkeyPatch, messages: list[str], told: str
) -> None:
    monkeypatch.setattr(Processes, "gather", lambda self, value: messages)

    def make(rank: int) -> int:
        if messages[rank]:
            raise ValueError(messages[rank])
        return rank

    with pytest.raises(ValueError, match=f"^{told}$"):
        Processes(0, 2).together(lambda: make(0))
    with pytest.raises(FailedElsewhere) as quiet:
        Processes(1, 2).together(lambda: make(1))
    assert quiet.value.code == 2


def test_each_process_takes_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert pick_own_device("auto", 0) == torch.device("cuda", 0)
    assert pick_own_device("cuda", 1) == torch.device("cuda", 1)
    assert taken == [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert pick_own_device("cpu", 7) == torch.device("cpu")
    with pytest.raises(ValueError, match=r"this machine has 2 CUDA devices; start at most as many"):
        pick_own_device("auto", 2)
    with pytest.raises(ValueError, match=r"device 'cuda:1': each of several processes takes its own"):
        pick_own_device("cuda:1", 0)


def test_one_process_alone_takes_any_device() -> None:
    assert pick_device_among("cpu", 0, 1) == torch.device("cpu")
    with pytest.raises(ValueError, match=r"device 'cuda:1': each of several processes takes its own"):
        pick_device_among("cuda:1", 0, 2)


def test_without_cuda_processes_share_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_own_device("auto", 3) == torch.device("cpu")
    with pytest.raises(ValueError, match=r"this machine has 0 CUDA devices"):
        pick_own_device("cuda", 0)
