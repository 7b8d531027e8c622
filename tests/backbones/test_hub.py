"""Repositories of a hub, by the client's real code against a hub on this machine."""

from pathlib import Path

import pytest
import torch

import peers
from fake_hub import hub, use_hub
from small_world import Refusal
from vitaclip.cli import main


def test_repositories_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    repository = tmp_path / "hub" / "someone" / "tiny-clip"
    model = peers.transformers_clip()
    model.save_pretrained(repository)
    peers.write_tokenizer(repository)
    torch.save(model.state_dict(), repository / "pytorch_model.bin")  # the same weights again, not to be fetched
    (repository / "tf_model.h5").write_bytes(b"x")
    with hub(tmp_path / "hub") as server:
        use_hub(monkeypatch, tmp_path / "cache", server.address)
        assert main(["convert", "someone/tiny-clip", str(tmp_path / "out")]) == 0
        assert sorted(server.fetched) == ["config.json", "model.safetensors", "tokenizer.json"]
        assert "nor a repository that can be read" in refusal("convert", "someone/absent", tmp_path / "absent")
    use_hub(monkeypatch, tmp_path / "cache", offline=True)
    assert main(["convert", "someone/tiny-clip", str(tmp_path / "again")]) == 0
    assert "not in the cache of the Hugging Face hub" in refusal("convert", "someone/other", tmp_path / "other")
    first, again = (tmp_path / folder / "model.safetensors" for folder in ("out", "again"))
    assert first.read_bytes() == again.read_bytes()
