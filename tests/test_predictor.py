"""Set the classes once, predict many."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

import av
import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import vitaclip
from small_world import NAMES, Refusal, small_model, train_config
from vitaclip.cli import main
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.sources import read_folder
from vitaclip.data.reading.container import VideoError
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.model import VideoModel
from vitaclip.moments.config import WindowsConfig
from vitaclip.moments.vectors import window_vectors
from vitaclip.predictor import Predictor, Video
from vitaclip.recipes import load_recipe
from vitaclip.runtime import RuntimeConfig


@pytest.fixture
def predictor(world: Path) -> Predictor:
    return Predictor(small_model(world), runtime=RuntimeConfig(precision="float32"), data=DataConfig(workers=0))


def test_predictions_are_ranked_probabilities(predictor: Predictor, world: Path) -> None:
    paths = sorted((world / "videos").rglob("*.mp4"))
    for path, prediction in zip(paths, predictor.predict_many(paths), strict=True):
        assert prediction == predictor.predict(path)
        assert prediction.path == path
        assert set(prediction.names) == set(NAMES)
        assert list(prediction.probabilities) == sorted(prediction.probabilities, reverse=True)
        assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-5)
    assert prediction.names[0] in str(prediction)


def test_classes_are_encoded_once(predictor: Predictor, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor.set_classes(["stand", "run"])

    def fail(*_: object) -> None:
        raise AssertionError("text was encoded again")

    monkeypatch.setattr(VideoModel, "encode_text", fail)
    paths = sorted((world / "videos").rglob("*.mp4"))[:2]
    assert all(set(p.names) == {"stand", "run"} for p in map(predictor.predict, paths))


@pytest.mark.parametrize("given", [np.array(["stand", "run"]), (name for name in ("stand", "run"))])
def test_set_classes_takes_what_has_an_order(predictor: Predictor, given: Iterable[str]) -> None:
    assert repr(predictor.set_classes(given).names) == "('stand', 'run')"
    assert predictor.set_classes({"run": 1, "stand": 2}.keys()).names == ("run", "stand")
    with pytest.raises(ValueError, match=r"set_classes: a set has no order; give a list"):
        predictor.set_classes({"stand", "run"})


def test_set_classes_refuses_repeated_and_missing_names(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="'run'"):
        predictor.set_classes(["run", "stand", "run"])
    with pytest.raises(ValueError, match="no class names"):
        predictor.set_classes([])


def test_a_plain_backbone_needs_classes_first(world: Path) -> None:
    plain = Predictor(VideoModel.from_backbone(world / "backbone", num_frames=4))
    path = world / "videos" / "jump_up" / "0.mp4"
    with pytest.raises(ValueError, match=r"call set_classes"):
        plain.predict(path)
    plain.set_classes(["jump", "run"])
    assert len(plain.predict(path).names) == 2


def test_pixels_are_read_as_the_settings_say(world: Path) -> None:
    model = VideoModel.from_backbone(world / "backbone", num_frames=4)
    stored = Predictor(model, data=DataConfig(pixel_aspect="stored"))
    assert stored.reader.view_config["pixel_aspect"] == "stored"
    other = Predictor(model, data=stored.data, views=ViewsConfig(pixel_aspect="display"))
    assert other.reader.view_config["pixel_aspect"] == "display"


@pytest.fixture
def clip(world: Path) -> Path:
    return world / "videos" / "jump_up" / "0.mp4"


def decoded(clip: Path) -> np.ndarray:
    """All frames (T, H, W, 3)."""
    with av.open(str(clip)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """A server of a folder's files on this machine; its address."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("workers", [0, 2])
def test_every_kind_of_video_is_predicted_alike(world: Path, clip: Path, workers: int) -> None:
    predictor, frames = (
        Predictor(small_model(world), data=DataConfig(workers=workers, eval_batch_size=3)),
        decoded(clip),
    )
    expected = predictor.predict(clip).scores
    assert expected is not None
    with web_server(clip.parent) as address:
        kinds: list[Video] = [
            *(clip, str(clip), f"{address}/{clip.name}", clip.read_bytes(), BytesIO(clip.read_bytes()), frames),
            *(torch.from_numpy(frames).permute(0, 3, 1, 2), [Image.fromarray(frame) for frame in frames]),
        ]
        found = list(predictor.predict_many(iter(kinds)))
    assert [each.error for each in found] == [""] * len(kinds)
    for each in found:
        torch.testing.assert_close(each.scores, expected)
    assert [str(each.path) for each in found[-2:]] == ["video 6", "video 7"]
    torch.testing.assert_close(predictor.encode(frames), predictor.encode(clip))


@pytest.mark.parametrize("workers", [0, 2])
def test_many_takes_videos_as_needed(world: Path, clip: Path, workers: int) -> None:
    taken = []

    def endless() -> Iterator[Path]:
        while True:
            taken.append(clip)
            yield clip

    data, counts = DataConfig(workers=workers, eval_batch_size=2), list[int]()
    many = Predictor(small_model(world), data=data).predict_many(endless(), on_progress=counts.append)
    assert len([*islice(many, 5)]) == 5
    assert counts == [1] * 4
    assert len(taken) <= 6 + 4 * bool(workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_videos_are_errors_in_place(world: Path, clip: Path, workers: int) -> None:
    frames = decoded(clip)
    with web_server(clip.parent) as address:
        videos: list[Video] = [b"no video", clip, f"{address}/none.mp4", "http://[", frames[:, :1, :40]]
        data = DataConfig(workers=workers, eval_batch_size=2)
        found = list(Predictor(small_model(world), data=data).predict_many(videos))
        texts = [
            "video 0 cannot be read as a video",
            "",
            "404",
            "http://[ cannot be reached",
            "video 4 has frames of 40 x 1",
        ]
        for each, text in zip(found, texts, strict=True):
            assert text in each.error
            assert (each.label == "") == bool(text)
        with pytest.raises(VideoError, match="404"):
            list(Predictor(small_model(world), data=replace(data, on_error="raise")).predict_many(videos[2:]))


def test_what_is_no_video_is_refused(predictor: Predictor, clip: Path) -> None:
    frames = decoded(clip)
    wrong: list[tuple[Any, str]] = [
        (frames / 255, "frames of float64; give uint8"),
        (frames[0], r"shape \(48, 48, 3\)"),
        (frames[:0], r"shape \(0, 48, 48, 3\)"),
        (StringIO("text"), "not open in binary mode"),
        ([clip, clip], "list is no video"),
        ([Image.fromarray(frames[0]), Image.fromarray(frames[0, :9])], "images of 2 sizes"),
    ]
    for video, problem in wrong:
        with pytest.raises(ValueError, match=problem):
            predictor.predict(video)


def test_one_text_is_no_list(predictor: Predictor, clip: Path) -> None:
    for ask in (
        lambda: predictor.set_classes("run"),
        lambda: predictor.set_classes(["run"], templates="a {}"),
        lambda: list(predictor.predict_many(str(clip))),
        lambda: predictor.model.encode_text("run"),
        lambda: predictor.model.encode_text(["run"], "a {}"),
    ):
        with pytest.raises(ValueError, match="is one text; give a list, "):
            ask()


def test_prediction_tells_itself(predictor: Predictor, clip: Path, world: Path) -> None:
    predictor.set_classes(["run", "<stand>"])
    found = predictor.predict(clip)
    assert (found.label, found.score) == (found.names[0], found.probabilities[0])
    assert json.loads(json.dumps(found.to_dict()))["classes"][1] == {
        "name": found.names[1],
        "probability": found.probabilities[1],
    }
    assert "<td>&lt;stand&gt;</td>" in found._repr_html_()
    assert str(clip) in found._repr_html_()
    (missing,) = predictor.predict_many([world / "none.mp4"])
    assert missing.to_dict()["error"] in missing._repr_html_()


def test_results_have_no_gradient(predictor: Predictor, clip: Path) -> None:
    scores, model, video = predictor.predict(clip).scores, predictor.model, predictor.load(clip)[:1]
    assert scores is not None
    assert not any(each.requires_grad for each in (scores, predictor.encode(clip), predictor.texts.features))
    assert not model(video, model.encode_text(["run"])).requires_grad
    assert model.train()(video, model.encode_text(["run"])).requires_grad


def test_predictor_loads_what_a_run_made(model_folder: Path, clip: Path) -> None:
    runtime = RuntimeConfig(precision="float32")
    named, loaded = (
        Predictor(each, runtime=runtime) for each in (model_folder.parent, VideoModel.from_pretrained(model_folder))
    )
    assert named.predict(clip) == loaded.predict(clip)


def test_package_shows_its_public_names_alone() -> None:
    assert dir(vitaclip) == sorted(vitaclip.__all__)
    assert all(getattr(vitaclip, name) for name in dir(vitaclip))
    with pytest.raises(AttributeError, match="no attribute 'x'; it has DataConfig, "):
        _ = vitaclip.x


def test_package_trains_evaluates_and_embeds(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path / "run")
    model = vitaclip.train(replace(config, optim=replace(config.optim, steps=1)))
    data, runtime = DataConfig(workers=0), RuntimeConfig(precision="float32")
    result = vitaclip.evaluate(tmp_path / "run", world / "videos", data=data, runtime=runtime)
    listed = read_folder(world / "videos")
    assert result == Evaluator(model, runtime, data).run(listed.samples, NAMES, ViewsConfig()).result
    found = vitaclip.embed(tmp_path / "run", world / "videos", data=data, runtime=runtime)
    assert found.paths == tuple(str(sample.path) for sample in listed.samples)
    assert dict(found.about)["fingerprint"] != model.fingerprint
    with pytest.warns(UserWarning, match=r"no vector: none\.mp4 does not exist"):
        some = vitaclip.embed(tmp_path / "run", ["none.mp4", listed.samples[0].path], data=data, runtime=runtime)
    assert (len(some.vectors), len(some.errors)) == (1, 1)


def test_recipe_changes_named_settings_alone() -> None:
    changed, plain = load_recipe("evl", data={"workers": 5}, seed=3), load_recipe("evl")
    assert changed == replace(plain, seed=3, data=replace(plain.data, workers=5))


def test_windows_are_those_of_moments_and_views_those_of_videos(world: Path, clip: Path) -> None:
    predictor = Predictor(small_model(world), data=DataConfig(workers=0, eval_batch_size=2))
    windows = WindowsConfig(lengths_s=(5 / 12,), hop=1.0)
    (expected,) = window_vectors([clip], predictor.reader, predictor.encoder, windows, predictor.data)
    found = list(predictor.embed([clip, clip], window_seconds=5 / 12))
    assert [(each.start, each.end) for each in found] == [tuple(span) for span in expected.times.tolist()] * 2
    torch.testing.assert_close(torch.stack([each.vector for each in found]), expected.vectors.repeat(2, 1))
    (whole,) = predictor.embed([clip])
    torch.testing.assert_close(whole.vector, predictor.model.head.mean(predictor.encode(clip)[None])[0])
    assert (whole.start, whole.end) == (0, 1)
    for wrong in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ValueError, match=r"window_seconds = .*: must be a finite number, at least 0"):
            next(predictor.embed([clip], window_seconds=wrong))


@pytest.mark.parametrize("suffix", ["parquet", "npz", "safetensors"])
def test_vectors_are_written_with_their_origin(
    suffix: str, world: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, bad = tmp_path / f"out.{suffix}", tmp_path / "bad.mp4"
    bad.write_text("no video")
    arguments = [str(world / "videos"), str(bad), "--model", str(model_folder), "--window_seconds", "0.5"]
    assert main(["embed", *arguments, "--out", str(out), "--workers", "0"]) == 1
    predictor = Predictor(model_folder, data=DataConfig(workers=0))
    expected = list(predictor.embed(sorted((world / "videos").rglob("*.mp4")), window_seconds=0.5))
    columns, about = read_vectors(out)
    assert columns["path"] == [str(each.path) for each in expected]
    assert list(zip(columns["start"], columns["end"], strict=True)) == [(each.start, each.end) for each in expected]
    torch.testing.assert_close(torch.tensor(columns["vector"]), torch.stack([each.vector for each in expected]))
    assert main(["embed", str(bad), "--model", str(model_folder), "--out", str(tmp_path / f"no.{suffix}")]) == 1
    assert "no video could be read" in capsys.readouterr().err
    assert not (tmp_path / f"no.{suffix}").exists()
    assert (about["model"], about["fingerprint"]) == (str(model_folder), predictor.provenance()["fingerprint"])


def read_vectors(file: Path) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Columns and metadata, by each format's own library."""
    if file.suffix == ".npz":
        with np.load(file) as found:
            columns = {name: found[name].tolist() for name in ("path", "start", "end", "vector")}
            return columns, json.loads(str(found["about"]))
    if file.suffix == ".parquet":
        table = pyarrow.parquet.read_table(file)
        return table.to_pydict(), {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    with safe_open(file, framework="pt") as opened:
        (start, end), about = opened.get_tensor("times").T.tolist(), opened.metadata()
        vector = opened.get_tensor("vectors").tolist()
    return {"path": json.loads(about["paths"]), "start": start, "end": end, "vector": vector}, about


def test_vectors_need_a_known_ending(world: Path, model_folder: Path, refusal: Refusal) -> None:
    said = refusal("embed", world / "videos", "--model", model_folder, "--out", "out.csv")
    assert said == "out.csv: name a file that ends in .parquet, .npz, .safetensors"
