"""The examples in docstrings, of every module of the package whose source holds `>>>`. They run in a folder with
`videos/`, a clip of each of two classes of the miniature world, and `video.mp4`, the first of them.
"""

import doctest
import os
import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest

import vitaclip
from torchrun import fork, status_of
from vitaclip.miniature.videos import clip_path, encode_video
from vitaclip.miniature.world import class_id_of, render_video

CLASSES = ("red heart moving left", "red heart moving right")
PACKAGE, ROOT = Path(vitaclip.__file__).parent, Path(__file__).parents[2]
SOURCES = {
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): file.read_text("utf-8")
    for file in sorted(PACKAGE.rglob("*.py"))
}


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_examples_print_what_they_say(tmp_path: Path) -> None:
    for name in CLASSES:
        file = tmp_path / "videos" / clip_path(name, 1)
        file.parent.mkdir(parents=True)
        encode_video(file, render_video(0, class_id_of(name), 1, 64, 16))
    shutil.copy(tmp_path / "videos" / clip_path(CLASSES[0], 1), tmp_path / "video.mp4")

    def run() -> int:
        os.chdir(tmp_path)
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        names = [name for name, source in SOURCES.items() if ">>> " in source]
        found = [doctest.testmod(import_module(name), optionflags=flags) for name in names]
        written = sum(source.count(">>> ") - source.count("# doctest: +SKIP") for source in SOURCES.values())
        return sum(each.failed for each in found) or sum(each.attempted for each in found) - written

    # In a copy of this process: what an example registers must not reach other tests.
    assert status_of(fork(run)) == 0


def test_page_of_python_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert failed == 0
    assert attempted > 15


def test_python_of_the_readme_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    exec(example, {})
    assert capsys.readouterr().out == re.findall(r"print\(.*#( .*)", example)[0].strip() + "\n"
