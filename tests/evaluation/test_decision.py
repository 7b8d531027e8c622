"""None of these, sets of classes, several classes: against scikit-learn, brute force and the miniature world."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score, roc_curve

from small_world import NAMES, Refusal, small_model, write_list
from tiny import learned_text
from vitaclip.cli import main
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.evaluation.class_texts import encode_classes
from vitaclip.evaluation.decision import (
    NONE_OF_THESE,
    Calibration,
    Decider,
    DecisionConfig,
    auroc,
    best_thresholds,
    fpr,
    make_background,
    recombined_names,
)
from vitaclip.evaluation.metrics import Scores
from vitaclip.miniature import world as miniature
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_unseen_pairs_are_recombined_from_seen() -> None:
    made = recombined_names(miniature.trained_classes())
    assert made == sorted(miniature.novel_classes())


def test_recombination_exchanges_words_of_minimal_pairs() -> None:
    names = ["red key", "blue key", "Red_fish", "a red fish", "dive"]
    words = [tuple(name.lower().replace("_", " ").split()) for name in names]
    pairs = {
        (a, b)
        for first, second in itertools.permutations(words, 2)
        if len(first) == len(second) and sum(x != y for x, y in zip(first, second, strict=True)) == 1
        for a, b in zip(first, second, strict=True)
        if a != b
    }
    expected = {
        " ".join((*row[:n], other, *row[n + 1 :]))
        for row in words
        for n, word in enumerate(row)
        for one, other in pairs
        if word == one
    }
    assert set(recombined_names(names)) == expected - {" ".join(row) for row in words}
    many = [f"{n} {m}" for n in range(120) for m in range(120) if n != m]
    assert len(recombined_names(many)) <= 4096


def test_background_leaves_out_kinds_of_a_candidate() -> None:
    model = Predictor("miniature").model
    background = make_background(model, encode_classes(model, ["a heart", "red key growing"]))
    assert background is not None
    assert "blue fish growing" in background.names
    assert not [name for name in background.names if "heart" in name or name == "red key growing"]


def test_background_has_words_that_the_tower_read() -> None:
    model = VideoModel.from_backbone("miniature")
    assert make_background(model, encode_classes(model, ["blue key growing"])) is None
    background = make_background(model, encode_classes(model, ["red key growing", "blue key growing", "red moon up"]))
    assert background is not None
    assert background.names == ("blue moon up",)
    for config in (DecisionConfig(), DecisionConfig(reject=True)):  # a single candidate is a question anyhow
        with pytest.raises(ValueError, match="can read no text beside 1 candidate that"):
            Decider(model, encode_classes(model, ["blue key growing"]), config)


def test_few_candidates_take_names_of_data_sets(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitaclip.model.SMALL_VOCABULARY", 0)
    model = small_model(world, head="templates")
    texts = encode_classes(model, ["jump up", "moving left", "moving right", "surfing water"])
    background = make_background(model, texts)
    assert background is not None
    assert len(background.names) > 100
    assert not [name for name in background.names if {"surfing", "water", "jump"} & {*name.split()}]


def test_auroc_and_fpr_equal_those_of_scikit_learn() -> None:
    positive, negative = (random(200) * 10).round() / 10 + 0.2, (random(150, seed=1) * 10).round() / 10
    truth, scores = [1] * 200 + [0] * 150, torch.cat([positive, negative]).numpy()
    assert auroc(positive, negative) == pytest.approx(roc_auc_score(truth, scores))
    rates, recalls, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert fpr(positive, negative) == pytest.approx(rates[(recalls >= 0.95).argmax()])


def test_thresholds_have_the_best_f1() -> None:
    scores, hot = (random(60, 4) * 20).round() / 20, random(60, 4, seed=1) < 0.3
    hot[:, 3] = False
    found = best_thresholds(scores, hot.long())
    for k in range(3):
        tried = [f1_score(hot[:, k], scores[:, k] >= t, zero_division=0) for t in scores[:, k].unique()]
        assert f1_score(hot[:, k], scores[:, k] >= found[k]) == pytest.approx(max(tried))
    assert found[3] > 1


def scored(count: int, seed: int) -> Scores:
    """Probabilities of five classes whose labels are drawn by them."""
    probabilities = (random(count, 5, seed=seed) * 4).softmax(dim=1)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
    return Scores(probabilities, labels, torch.arange(count))


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
def test_sets_cover_as_stated(coverage: float) -> None:
    covered = []
    for seed in range(300):
        calibration = Calibration.fit(scored(39, seed), torch.empty(0), "abcde")
        new = scored(50, 1000 + seed)
        covered.append(calibration.sets(new.probabilities, coverage).gather(1, new.labels[:, None]).double().mean())
    assert torch.stack(covered).mean() == pytest.approx(coverage, abs=0.015)  # 39 videos: (39 + 1) * coverage is whole


def test_calibration_keeps_as_stated() -> None:
    kept = []
    for seed in range(300):
        calibration = Calibration.fit(scored(39, seed), random(39, seed=seed), "abcde")
        kept.append(1 - calibration.strange(random(50, seed=seed + 5_000), 0.9).double().mean())
    assert torch.stack(kept).mean() == pytest.approx(0.9, abs=0.015)


def test_calibration_is_read_as_written(tmp_path: Path) -> None:
    calibration = Calibration.fit(scored(20, 0), random(20), "abcde", "5 recombined names")
    calibration.write(tmp_path / "c.json")
    assert Calibration.read(tmp_path / "c.json") == calibration


def test_unseen_pair_is_none_of_these() -> None:
    decision = DecisionConfig(reject=True)
    predictor = Predictor("miniature", decision=decision, views=ViewsConfig(temporal=1), data=DataConfig(workers=0))
    seen, unseen = ("red heart growing", "blue key growing")
    videos = [miniature.render_video(3, miniature.class_id_of(name), 0) for name in (seen, unseen)]
    known, none = predictor.predict_many(videos)
    assert (known.label, known.rejected, known.known is not None and known.known > 0.9) == (seen, False, True)
    assert (none.label, none.score) == (NONE_OF_THESE, 1 - (none.known or 0))
    assert str(none).startswith("video 1: none of these 9")
    predictor.set_classes([unseen])
    answers = list(predictor.predict_many(videos))
    assert [answer.label for answer in answers] == [NONE_OF_THESE, unseen]
    assert answers[1].probabilities == (answers[1].known,)


def test_eval_calibrates_what_predict_goes_by(world: Path, model_folder: Path, tmp_path: Path) -> None:
    videos, calibration, out = str(world / "videos"), str(tmp_path / "c.json"), tmp_path / "p.csv"
    usual = ["--model", str(model_folder), "--workers", "0", "--runtime.precision", "float32"]
    assert main(["eval", videos, *usual, "--save_calibration", calibration]) == 0
    again = [*usual, "--calibration", calibration, "--coverage", "0.9", "--keep", "0.6"]
    assert main(["eval", videos, *again, "--unknown", videos, "--out", str(tmp_path / "r.json")]) == 0
    measured = json.loads((tmp_path / "r.json").read_text())["decision"]
    assert measured["coverage"] == 1  # 12 videos: the largest doubt of all
    assert (measured["auroc"], measured["fpr"]) == (pytest.approx(0.5), 1)
    assert measured["kept"] == 1 - measured["rejected"] >= 0.5
    assert main(["predict", videos, *again, "--reject", "--out", str(out)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["label"] == NONE_OF_THESE for row in rows) == round(12 * measured["rejected"])
    assert sum(len(row["chosen"].split("|")) for row in rows) == round(12 * measured["mean_size"])


def test_several_labels_have_fitted_thresholds(world: Path, model_folder: Path, tmp_path: Path) -> None:
    videos = sorted((world / "videos").rglob("*.mp4"))
    rows = [(path, "jump up|moving left" if n % 2 else "moving right") for n, path in enumerate(videos)]
    file, calibration = write_list(tmp_path / "list.csv", rows), str(tmp_path / "c.json")
    usual = [file, "--model", str(model_folder), "--workers", "0", "--runtime.precision", "float32"]
    assert main(["eval", *usual, "--save_calibration", calibration]) == 0
    out = str(tmp_path / "r.json")
    assert main(["eval", *usual, "--calibration", calibration, "--multi-label", "--out", out]) == 0
    decision, expected = DecisionConfig(calibration=calibration, multi_label=True), np.zeros((12, 3))
    data, runtime = DataConfig(workers=0), RuntimeConfig(precision="float32")
    predictor, chosen = Predictor(model_folder, runtime=runtime, data=data, decision=decision), np.zeros((12, 3))
    for n, found in enumerate(predictor.predict_many(videos)):
        chosen[n, [NAMES.index(name) for name in found.chosen or ()]] = 1
        expected[n, [0, 1] if n % 2 else [2]] = 1
    measured = json.loads(Path(out).read_text())["decision"]
    assert measured["mean_size"] == pytest.approx(chosen.sum(axis=1).mean())
    assert measured["f1"] == pytest.approx(f1_score(expected, chosen, average="micro"))


def test_decisions_that_cannot_be_are_refused(
    world: Path, model_folder: Path, tmp_path: Path, refusal: Refusal
) -> None:
    file = tmp_path / "c.json"
    Calibration.fit(scored(5, 0), random(5), "abcde", "5 recombined names").write(file)
    ask = "predict", world / "videos", "--model", model_folder, "--workers", "0"
    assert "coverage = 0.9: needs a calibration; make one from labelled videos" in refusal(*ask, "--coverage", "0.9")
    assert "is of other classes than these 3" in refusal(*ask, "--calibration", file, "--coverage", "0.9")
    letters = *ask, "--calibration", file, "--classes", "a,b,c,d,e"
    assert "needs a calibration of 9 videos" in refusal(*letters, "--coverage", "0.9")
    assert "is of videos with one label each" in refusal(*letters, "--multi_label")
    assert "was made beside 5 recombined names, here there" in refusal(*letters, "--reject")
    assert "choose one" in refusal(*letters, "--multi_label", "--coverage", "0.9")
    per_class = small_model(world, head=learned_text(3, per_class=True))
    with pytest.raises(ValueError, match="give templates, more candidates, or a calibration"):
        Predictor(per_class, decision=DecisionConfig(reject=True)).predict(world / "videos" / "jump_up" / "0.mp4")
