"""The examples in docstrings, of every module of the package whose source holds `>>>`. They run in a folder with
`videos/`, a clip of each of two classes of the miniature world, and `video.mp4`, the first of them.
"""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vitaclip
from vitaclip.miniature.videos import clip_path, encode_video
from vitaclip.miniature.world import class_id_of, render_video

CLASSES = ("red heart moving left", "red heart moving right")
PACKAGE, ROOT = Path(vitaclip.__file__).parent, Path(__file__).parents[2]
MODULES = [file for file in sorted(PACKAGE.rglob("*.py")) if ">>> " in file.read_text(encoding="utf-8")]


@pytest.mark.slow
def test_examples_print_what_they_say(tmp_path: Path) -> None:
    for name in CLASSES:
        file = tmp_path / "videos" / clip_path(name, 1)
        file.parent.mkdir(parents=True)
        encode_video(file, render_video(0, class_id_of(name), 1, 64, 16))
    shutil.copy(tmp_path / "videos" / clip_path(CLASSES[0], 1), tmp_path / "video.mp4")
    # A process of its own: what an example registers must not reach other tests.
    command = [sys.executable, "-m", "pytest", "--doctest-modules", "--import-mode=importlib", "-qc", os.devnull]
    command += ["-p", "no:cacheprovider", "-o", "doctest_optionflags=ELLIPSIS NORMALIZE_WHITESPACE"]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([*command, *MODULES], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_page_of_python_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert failed == 0
    assert attempted > 15


def test_python_of_the_readme_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    exec(example, {})
    assert capsys.readouterr().out == re.findall(r"print\(.*#( .*)", example)[0].strip() + "\n"
