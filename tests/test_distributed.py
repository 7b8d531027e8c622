"""Exchanges between ranks, with a fake in place of the network. Real processes run in tests/training."""

import pytest
import torch

from vitaclip.distributed import DistEnv, FailedOnAnotherRank, init_distributed
from vitaclip.runtime import pick_device


def test_incomplete_launcher_variables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"LOCAL_RANK is not; start .* with torchrun"), init_distributed():
        pass


@pytest.mark.parametrize(
    ("messages", "reported"),
    [(["", "no such file"], "process 1: no such file"), (["bad list", "bad list"], "bad list")],
)
def test_only_rank_0_reports_an_error(monkeypatch: pytest.MonkeyPatch, messages: list[str], reported: str) -> None:
    monkeypatch.setattr(DistEnv, "gather", lambda self, value: messages)

    def work(rank: int) -> None:
        with DistEnv(rank, 2).shared_errors():
            if messages[rank]:
                raise ValueError(messages[rank])

    with pytest.raises(ValueError, match=f"^{reported}$"):
        work(0)
    with pytest.raises(FailedOnAnotherRank) as quiet:
        work(1)
    assert quiet.value.code == 2


def test_each_rank_gets_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert pick_device("auto", 0, 2) == torch.device("cuda", 0)
    assert pick_device("cuda", 1, 2) == torch.device("cuda", 1)
    assert taken == [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert pick_device("cpu", 7, 8) == torch.device("cpu")
    with pytest.raises(ValueError, match=r"this machine has 2 CUDA devices; start at most as many"):
        pick_device("auto", 2, 4)


def test_no_rank_takes_a_device_by_number() -> None:
    assert pick_device("cpu", 0, 1) == torch.device("cpu")
    with pytest.raises(ValueError, match=r"device 'cuda:1': each of several processes takes its own"):
        pick_device("cuda:1", 0, 2)
