"""What processes say to each other; alone, and by a stand-in for the exchange. Real ones: tests/train."""

import pytest
import torch

from vitaclip.processes import ALONE, FailedElsewhere, Processes, connected
from vitaclip.runtime import pick_own_device


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


def test_without_cuda_processes_share_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_own_device("auto", 3) == torch.device("cpu")
    with pytest.raises(ValueError, match=r"this machine has 0 CUDA devices"):
        pick_own_device("cuda", 0)
