"""Files from anywhere: tensors come out, nothing in them runs, and what is damaged is said in one line."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import peers
from vitaclip.backbones.reading import open_state

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(3, dtype=torch.float16)}


class CfgNode(dict[str, Any]):
    """What yacs, which X-CLIP and ViFi-CLIP are trained with, calls its settings: pickled by that name."""

    __module__ = "yacs.config"


class Boom:
    """A pickle of this runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("open('boom', 'w').close()",))


def assert_same(path: Path) -> None:
    state = open_state(path).read()
    assert set(state) == set(STATE)
    for name, tensor in STATE.items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor)


def test_safetensors_and_archives(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "weights.bin")  # told by its content, not by its name
    assert_same(tmp_path / "weights.bin")
    torch.save(STATE, tmp_path / "weights.pt")
    assert_same(tmp_path / "weights.pt")


OPTIMIZER = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))]).state_dict()
WRAPPED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a trainer's": lambda state: {"model": state, "optimizer": OPTIMIZER, "step": 3},
    "Lightning's": lambda state: {"state_dict": state, "epoch": 3, "loops": {"a": [1, (2.0, None)]}},
    "DeepSpeed's": lambda state: {"module": state, "optimizer": None, "global_steps": 7},
    "nested": lambda state: {"state_dict": {"model": {"module": state}}},
    "timm's average": lambda state: {"state_dict_ema": state, "epoch": 1},
    "an average": lambda state: {"model_ema": state},
    "torch's average": lambda state: {"n_averaged": torch.tensor(7), **{f"module.{k}": v for k, v in state.items()}},
    "yacs's": lambda state: {"model": state, "config": CfgNode(DATA=CfgNode(ROOT="x"), BASE=[""], KEYS={"a"})},
    "parameters": lambda state: {name: torch.nn.Parameter(value) for name, value in state.items()},
}
PREFIXES = ("", "module.", "_orig_mod.module.", "module.module.")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("wrapping", WRAPPED)
def test_wrapped_weights_are_found(tmp_path: Path, wrapping: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    yacs = ModuleType("yacs.config")
    yacs.CfgNode = CfgNode  # type: ignore[attr-defined]
    for module in ("yacs", "yacs.config"):  # for saving
        monkeypatch.setitem(sys.modules, module, yacs)
    torch.save(WRAPPED[wrapping]({f"{prefix}{name}": value for name, value in STATE.items()}), tmp_path / "x.pth")
    monkeypatch.undo()
    assert_same(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "middle", ["a._orig_mod.{}", "a._fsdp_wrapped_module.{}", "a.module._checkpoint_wrapped_module.{}"]
)
def test_wrappers_inside_names_are_taken_out(tmp_path: Path, middle: str) -> None:
    torch.save({middle.format(name[2:]): value for name, value in STATE.items()}, tmp_path / "x.pth")
    assert_same(tmp_path / "x.pth")


def test_one_of_several_sets_is_named(tmp_path: Path) -> None:
    other = {name: value + 1 for name, value in STATE.items()}
    torch.save({"model_ema": other, "model": STATE}, tmp_path / "x.pth")
    with pytest.warns(UserWarning, match=r"holds several sets of weights; 'model' is read, not \['model_ema'\]"):
        assert_same(tmp_path / "x.pth")


@pytest.mark.parametrize("kind", ["safetensors", "archive", "torchscript"])
def test_weights_do_not_change_with_their_file(tmp_path: Path, kind: str) -> None:
    """Overwritten in place, and then cut to nothing: a mapped file would change the weights, then end the process."""
    path = tmp_path / "x.pt"
    if kind == "torchscript":
        peers.openai_archive(peers.openai_clip(), path)
    else:
        (save_file if kind == "safetensors" else torch.save)(STATE, path)
    state = open_state(path).read()
    before = {name: tensor.clone() for name, tensor in state.items()}
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    with path.open("r+b") as file:
        file.truncate(0)
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())


def test_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(1), "b": Boom()}, "archive.pt")
    with pytest.raises(ValueError, match="only running it could rebuild"):
        open_state("archive.pt").read()
    Path("bare.bin").write_bytes(pickle.dumps(Boom()))
    with pytest.raises(ValueError, match="bare pickles"):
        open_state("bare.bin").read()
    torch.save(STATE, "old.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="bare pickles"):
        open_state("old.bin").read()
    assert not Path("boom").exists()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98])
@pytest.mark.parametrize("kind", ["safetensors", "archive", "torchscript"])
def test_truncated_files_are_errors_of_one_line(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "weights.pt"
    if kind == "safetensors":
        save_file(STATE, path)
    elif kind == "archive":
        torch.save(STATE, path)
    else:
        peers.openai_archive(peers.openai_clip(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"weights\.pt") as error:
        open_state(path).read()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "no weights by name in it"),
        ({"epoch": 3}, "no weights by name in it"),
        ({}, "no weights by name in it"),
        ({"generator": STATE, "discriminator": STATE}, r'with the keys \["generator", "discriminator"\]'),
        ({"a": torch.ones(1), "b": 3}, "beside weights it holds"),
        ({"a": torch.ones(1), "module.a": torch.ones(1)}, "the same names with and without"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=message):
        open_state(tmp_path / "x.pt")


def test_an_index_may_only_name_files_beside_it(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    save_file(STATE, tmp_path.parent / "outside.safetensors")
    for part in ("../outside.safetensors", "absent.safetensors"):
        index.write_text(f'{{"weight_map": {{"a.weight": "{part}"}}}}')
        with pytest.raises(ValueError, match="which is not beside it"):
            open_state(index).read()
    index.write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        open_state(index).read()
