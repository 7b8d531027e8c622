"""Repositories of a hub, by the client's real code against a hub on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import torch

import peers
from fake_hub import hub


def convert(source: str, out: Path, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`vitaclip convert`, in a process of its own: the client reads its settings when it is imported."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    env |= {"HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", **environment}
    command = [sys.executable, "-m", "vitaclip", "convert", source, str(out)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_repository_is_fetched_once_and_then_found_without_a_network(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "someone" / "tiny-clip"
    model = peers.transformers_clip()
    model.save_pretrained(repository)
    peers.write_tokenizer(repository)
    torch.save(model.state_dict(), repository / "pytorch_model.bin")  # the same weights again, not to be fetched
    (repository / "tf_model.h5").write_bytes(b"x")
    cache = tmp_path / "cache"
    with hub(tmp_path / "hub") as server:
        done = convert("someone/tiny-clip", tmp_path / "out", cache, HF_ENDPOINT=server.address)
        assert done.returncode == 0, done.stderr
        assert sorted(server.fetched) == ["config.json", "model.safetensors", "tokenizer.json"]
        wrong = convert("someone/absent", tmp_path / "out2", cache, HF_ENDPOINT=server.address)
        assert wrong.returncode == 2
        assert "nor a repository that can be read" in wrong.stderr
    again = convert("someone/tiny-clip", tmp_path / "again", cache, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "out" / "model.safetensors"
    ).read_bytes()
    offline = convert("someone/other", tmp_path / "out3", cache, HF_HUB_OFFLINE="1")
    assert offline.returncode == 2
    assert "not in the cache of the Hugging Face hub" in offline.stderr
    assert offline.stderr.count("\n") == 1
