"""`vitaclip index --watch`, a process that is asked to end by Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from search_case import WINDOWS, content
from small_world import Refusal
from vitaclip.data.config import DataConfig
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig
from vitaclip.search.archive import Archive


def test_a_file_copied_in_slowly_is_indexed_once_and_whole(
    model_folder: Path, video_folder: Path, tmp_path: Path
) -> None:
    watched, out = tmp_path / "watched", tmp_path / "archive"
    watched.mkdir()
    command = [sys.executable, "-m", "vitaclip", "index", str(watched), "--out", str(out), "--watch", "--workers", "0"]
    command += ["--model", str(model_folder), "--lengths_s", "0.4", "0.8", "--runtime.precision", "float32"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout
    try:
        assert f"0 videos embedded; {out} has 0 files" in process.stdout.readline()
        pieces = (video_folder / "clip1.mp4").read_bytes()
        with (watched / "slow.mp4").open("wb", buffering=0) as slow:
            for start in range(0, len(pieces), len(pieces) // 24):
                slow.write(pieces[start : start + len(pieces) // 24])
                time.sleep(0.2)
        assert f"1 video embedded; {out} has 1 file" in process.stdout.readline()
        (watched / "slow.mp4").rename(watched / "moved.mp4")  # its rows must outlast the look that misses it
        assert f"0 videos embedded, 1 known again, 1 gone; {out} has 1 file" in process.stdout.readline()
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert errors.splitlines()[-1] == "vitaclip: interrupted"
    predictor = Predictor(model_folder, runtime=RuntimeConfig(precision="float32"), data=DataConfig(workers=0))
    once = Archive.open(tmp_path / "once")
    once.add(predictor, [watched], WINDOWS)
    assert content(Archive.open(out)) == content(once)


def test_only_folders_are_watched(model_folder: Path, video_folder: Path, tmp_path: Path, refusal: Refusal) -> None:
    words = ["index", video_folder / "clip1.mp4", "--model", model_folder, "--out", tmp_path / "archive", "--watch"]
    assert "only folders are watched; name nothing else" in refusal(*words)
