"""Set before torch is imported anywhere: two processes with default threads stall each other."""

import multiprocessing
import os
import signal
import sys
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).parent))

import docstring_parser
import pytest

from small_world import Refusal, small_model, write_small_world
from video_files import write_video
from vitaclip.cli import main
from vitaclip.data.reading.decode import open_video

# A command reads the help of its settings, a sixth of a second; tests run hundreds of the same commands.
docstring_parser.parse_from_object = cache(docstring_parser.parse_from_object)
# Shells start background jobs with this signal ignored; processes that tests signal must not inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world, written once a session."""
    return write_small_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def model_folder(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for the small world, saved once a session as a run saves it: its folder is called `model`."""
    return small_model(world).save_pretrained(tmp_path_factory.mktemp("run") / "model")


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Runs a command that ends with one error; its text, of which further lines are indented."""

    def run(*arguments: object, status: int = 2) -> str:
        capsys.readouterr()
        assert main([*map(str, arguments)]) == status
        printed = capsys.readouterr().err
        _, _, said = f"\n{printed}".partition("\nvitaclip: error: ")
        first, *others = said.splitlines() or [""]
        assert first, printed
        assert all(line.startswith("  ") for line in others), printed
        return "\n".join([first, *others])

    return run


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten small H.264 files, clip0.mp4 to clip9.mp4, of 20 to 38 frames each, all different."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(10):
        write_video(folder / f"clip{number}.mp4", frames=20 + 2 * number, seed=number)
    return folder


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start as copies of this process, with all that a test has changed in it."""
    monkeypatch.setattr("vitaclip.data.workers.process_context", lambda: multiprocessing.get_context("fork"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The videos that this process opens to make samples of them, from now on."""
    paths: list[Path] = []

    def counted(path: Path, *arguments: Any) -> Any:
        paths.append(path)
        return open_video(path, *arguments)

    monkeypatch.setattr("vitaclip.data.loading.clips.open_video", counted)
    return paths
