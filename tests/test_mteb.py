"""Models in mteb: its video tasks run, and what it computes is what we compute."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from small_world import NAMES
from vitaclip.cli.main import main
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.miniature.world import class_names
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig

pytest.importorskip("mteb", reason="mteb is 600 MB with what it needs; `pip install 'vitaclip[mteb]'`")
from vitaclip.mteb import MtebModel

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:this model knows a small synthetic world")]


@pytest.fixture(scope="module")
def encoder(model_folder: Path) -> MtebModel:
    runtime, views = RuntimeConfig(precision="float32"), ViewsConfig(aggregation="features")
    return MtebModel(Predictor(model_folder, runtime=runtime, data=DataConfig(workers=0), views=views))


def videos_of(world: Path) -> Mapping[str, int]:
    return {
        str(path): label
        for label, name in enumerate(NAMES)
        for path in sorted((world / "videos" / name.replace(" ", "_")).iterdir())
    }


def test_every_video_task_of_mteb_runs(encoder: MtebModel) -> None:
    import mteb
    from mteb.mocks import MOCK_MVEB_TASK_GRID

    for task in MOCK_MVEB_TASK_GRID:
        (found,) = mteb.evaluate(encoder, task, cache=None, show_progress_bar=False).task_results
        assert 0 <= found.get_score() <= 1


def test_zero_shot_accuracy_is_that_of_eval(world: Path, tmp_path: Path) -> None:
    from outside import ZeroShot, scores

    videos = videos_of(world)  # of another colour and shape each; beside them all names of these
    names = [name for n in range(len(NAMES)) for name in class_names()[56 * n : 56 * n + 8]]
    labels = [8 * label for label in videos.values()]
    (tmp_path / "names.txt").write_text("\n".join(names))
    rows = [f"{path},{label}" for path, label in zip(videos, labels, strict=True)]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    options = ["--views.aggregation", "features", "--runtime.precision", "float32", "--data.workers", "0"]
    options += [
        "--classes",
        str(tmp_path / "names.txt"),
        "--model",
        "miniature",
        "--out",
        str(tmp_path / "result.json"),
    ]
    assert main(["eval", str(tmp_path / "list.csv"), *options]) == 0
    expected = json.loads((tmp_path / "result.json").read_text())["top1"]
    model = MtebModel(Predictor("miniature", runtime=RuntimeConfig(precision="float32"), data=DataConfig(workers=0)))
    assert scores(model, ZeroShot([*videos], labels, names))["accuracy"] == pytest.approx(expected)
    assert expected > 0.5


def test_retrieval_figures_are_those_of_our_loop(encoder: MtebModel, world: Path) -> None:
    from outside import Retrieval, retrieval_figures
    from retrieval import figures

    videos = videos_of(world)
    right = {name: {path for path, label in videos.items() if label == n} for n, name in enumerate(NAMES)}
    vectors = torch.stack([each.vector for each in encoder.predictor.embed(videos)])
    cosines = encoder.similarity(encoder.predictor.set_classes(NAMES).features, vectors)
    found = [[[*videos][n] for n in row.argsort(descending=True).tolist()] for row in cosines]
    expected = figures([*right.values()], found)
    assert retrieval_figures(encoder, Retrieval(NAMES, [*videos], right)) == pytest.approx(expected, abs=1e-5)


def test_texts_too_long_lose_their_end(encoder: MtebModel) -> None:
    words, model = ("red heart " * 50).split(), encoder.predictor.model
    for count in range(1, len(words)):
        try:
            expected = model.encode_text([" ".join(words[:count])])
        except ValueError:
            break
    assert torch.equal(encoder._encode_texts(["red", " ".join(words)])[1:], expected)
    assert 1 < count < len(words)
