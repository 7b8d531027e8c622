"""Repositories of a hub, by the client's real code against a hub on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import peers
from fake_hub import hub

CONVERT = (
    "import sys\nfrom vitaclip.cli import main\nfor name in sys.argv[2:]: main(['convert', name, sys.argv[1] + name])"
)


def convert(out: Path, *names: str, **environment: str) -> list[str]:
    """`vitaclip convert` of repositories, in a process of its own, since the client reads its settings when it is
    imported; the lines that it says of errors."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    env |= {"HF_HOME": str(out.parent / "cache"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", CONVERT, f"{out}/", *names]
    done = subprocess.run(command, env={**env, **environment}, capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


@pytest.mark.slow
def test_repositories_are_fetched_once(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "someone" / "tiny-clip"
    model = peers.transformers_clip()
    model.save_pretrained(repository)
    peers.write_tokenizer(repository)
    torch.save(model.state_dict(), repository / "pytorch_model.bin")  # the same weights again, not to be fetched
    (repository / "tf_model.h5").write_bytes(b"x")
    with hub(tmp_path / "hub") as server:
        errors = convert(tmp_path / "out", "someone/tiny-clip", "someone/absent", HF_ENDPOINT=server.address)
        assert sorted(server.fetched) == ["config.json", "model.safetensors", "tokenizer.json"]
        assert "nor a repository that can be read" in errors[-1]
    (offline,) = convert(tmp_path / "again", "someone/tiny-clip", "someone/other", HF_HUB_OFFLINE="1")
    assert "not in the cache of the Hugging Face hub" in offline
    first, again = (tmp_path / folder / "someone/tiny-clip/model.safetensors" for folder in ("out", "again"))
    assert first.read_bytes() == again.read_bytes()
