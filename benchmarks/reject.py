"""None of these, sets of a stated coverage and two labels a video on the miniature world (synthetic).

    python benchmarks/reject.py --out reject

Candidates are the names of the trained classes. Unknown videos show classes that have no name among them, of three
kinds: the 72 classes of colour-shape pairs that were never trained; a shape that no candidate names; a motion that
none names. Of the last two no recombined name can be what is unknown, and the model's other classes are withheld. Both
models see the same frames: 3 clips of a video. Sets are measured on 100 random halves of two lists of known videos,
whose other half is the calibration. No label is used but for what is called calibrated. The features stay in the
folder `--out`, so that another table costs no video.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from sklearn.metrics import average_precision_score, f1_score
from torch import Tensor

from vitaclip.data.labels import multi_hot
from vitaclip.evaluation.class_texts import ClassTexts, encode_classes
from vitaclip.evaluation.decision import Calibration, Decider, DecisionConfig, auroc, fpr
from vitaclip.evaluation.metrics import Scores, summarize
from vitaclip.evaluation.scoring import fuse_views
from vitaclip.miniature import world
from vitaclip.miniature.videos import encode_video
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig

LISTS = {"known": (world.trained_classes(), 2, 0), "unseen": (world.novel_classes(), 6, 0)}
"""Of each list its classes, the videos of a class, and the number of the first."""
LISTS["calibration"] = (world.trained_classes(), 2, 50)
CANDIDATES: dict[str, Callable[[str], bool]] = {
    "unseen pairs": lambda _: True,
    "unnamed shape": lambda name: "key" not in name,
    "unnamed motion": lambda name: "spinning" not in name,
}
COVERAGES = (0.9, 0.95, 0.99)
Features = dict[str, tuple[Tensor, list[str]]]
"""Of each list the features (n, V, D) and the names of the videos' classes."""


def models() -> dict[str, VideoModel]:
    """The shipped prompts, and the same towers without any."""
    return {
        "shipped prompts": VideoModel.from_pretrained("miniature"),
        "frozen CLIP": VideoModel.from_backbone("miniature"),
    }


def embed(seed: int) -> dict[str, Features]:
    """The features of all lists, by model."""
    runtime = RuntimeConfig(device="cpu", precision="float32")
    predictors = {name: Predictor(model, runtime=runtime) for name, model in models().items()}
    reader = next(iter(predictors.values())).reader
    found: dict[str, Features] = {name: {} for name in predictors}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "clip.mp4"
        for part, (names, count, first) in LISTS.items():
            labels = [name for name in names for _ in range(count)]
            rows: dict[str, list[Tensor]] = {name: [] for name in predictors}
            for number, name in enumerate(labels):
                encode_video(file, world.render_video(100 + seed, world.class_id_of(name), first + number % count))
                views = reader.read(file)
                for model, predictor in predictors.items():
                    rows[model].append(predictor.encode_views(views))
            for model in predictors:
                found[model][part] = torch.stack(rows[model]), labels
    return found


def rejection(model: VideoModel, features: Features, named: Callable[[str], bool]) -> dict[str, float]:
    """How well unknown videos are told from known ones without a label, and by a calibration."""
    names = [name for name in world.trained_classes() if named(name)]
    texts = encode_classes(model, names)
    model.class_names = ()  # withheld: among them are names of what is unknown
    decider = Decider(model, texts, DecisionConfig(reject=True))

    def pick(lists: Sequence[str], wanted: Callable[[str], bool]) -> Tensor:
        rows = [(f, label) for part in lists for f, label in zip(*features[part], strict=True)]
        return torch.stack([f for f, label in rows if wanted(label)])

    others = {name for name in world.class_names() if not named(name)} or set(world.novel_classes())
    known, unknown = pick(["known"], names.__contains__), pick(["known", "unseen"], others.__contains__)
    weighed = [decider.evidence(each, "softmax") for each in (known, unknown)]
    (score, share), (none, none_share) = weighed
    assert decider.background is not None
    assert share is not None
    assert none_share is not None
    confidence = [fuse_views(model, each, texts.features).amax(dim=1) for each in (known, unknown)]
    calibrated = decider.evidence(pick(["calibration"], names.__contains__), "softmax").score
    calibration = Calibration((), (), tuple(calibrated.sort().values.tolist()))
    return {
        "AUROC of the top probability": auroc(*confidence),
        "of the top logit": auroc(*(top_logit(model, each, texts) for each in (known, unknown))),
        "of the share beside the background": auroc(share, none_share),
        "of the evidence": auroc(score, none),
        "FPR at 95 %": fpr(score, none),
        "kept": float((share >= 0.5).double().mean()),
        "rejected": float((none_share < 0.5).double().mean()),
        "kept, calibrated": 1 - float(calibration.strange(score, 0.95).double().mean()),
        "rejected, calibrated": float(calibration.strange(none, 0.95).double().mean()),
        "background": float(len(decider.background.names)),
    }


def top_logit(model: VideoModel, features: Tensor, texts: ClassTexts) -> Tensor:
    """The highest logit of any candidate, (n,)."""
    return model.logits(features, texts.features).mean(dim=1).amax(dim=1).detach()


def several(model: VideoModel, features: Features) -> dict[str, float]:
    """Two labels a video, its colour and its motion, out of 14 names; thresholds are fitted on the other list."""
    names = [*(f"{colour} shape" for colour in world.COLOURS), *world.MOTIONS]
    texts = encode_classes(model, names)
    scored, hot = {}, {}
    for part in ("calibration", "known"):
        rows, listed = features[part]
        parts = [world.class_parts(world.class_id_of(name)) for name in listed]
        labels = torch.tensor([(colour, len(world.COLOURS) + motion) for colour, _, motion in parts])
        scored[part] = Scores(fuse_views(model, rows, texts.features), labels, torch.arange(len(labels)))
        hot[part] = multi_hot(labels, len(names)).numpy()
    calibration = Calibration.fit(scored["calibration"], torch.empty(0), names)
    chosen = scored["known"].probabilities.numpy() >= torch.tensor(calibration.thresholds).numpy()
    result, truth = summarize(scored["known"], names), hot["known"]
    return {
        "mAP": result.mean_average_precision or 0.0,
        "mAP by scikit-learn": float(average_precision_score(truth, scored["known"].probabilities.numpy())),
        "F1, micro": float(f1_score(truth, chosen, average="micro")),
        "F1, macro": float(f1_score(truth, chosen, average="macro")),
        "classes a video": float(chosen.sum(axis=1).mean()),
    }


def sets(model: VideoModel, features: Features) -> dict[str, float]:
    """Coverage and mean size of conformal sets."""
    names = world.trained_classes()
    texts = encode_classes(model, names)
    both = [features[part] for part in ("known", "calibration")]
    probabilities = torch.cat([fuse_views(model, rows, texts.features) for rows, _ in both])
    labels = torch.tensor([names.index(label) for _, listed in both for label in listed])
    found: dict[str, list[float]] = {}
    for draw in range(100):
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(draw))
        half, other = order.chunk(2)
        calibration = Calibration.fit(Scores(probabilities[half], labels[half], half), torch.empty(0), names)
        for coverage in COVERAGES:
            chosen = calibration.sets(probabilities[other], coverage)
            hit = float(chosen.gather(1, labels[other, None]).double().mean())
            found.setdefault(f"coverage at {coverage:.0%}", []).append(hit)
            found.setdefault(f"size at {coverage:.0%}", []).append(float(chosen.sum(dim=1).double().mean()))
    return {name: statistics.fmean(values) for name, values in found.items()}


def row(name: str, seeds: Sequence[dict[str, float]]) -> None:
    """Print the means of some seeds with the smallest and the largest."""
    for what in seeds[0]:
        values = [each[what] for each in seeds]
        print(f"{name:45} {what:30} {statistics.fmean(values):8.4f}  ({min(values):.4f} to {max(values):.4f})")


def main() -> None:
    """Embed what is not embedded yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the features")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    by_seed = []
    for seed in range(options.seeds):
        file = options.out / f"features_{seed}.pt"
        if not file.exists():
            torch.save(embed(seed), file)
        by_seed.append(torch.load(file, weights_only=True))
    for name, model in models().items():
        for candidates, named in CANDIDATES.items():
            row(f"{name}, {candidates}", [rejection(model, each[name], named) for each in by_seed])
        row(f"{name}, two labels", [several(model, each[name]) for each in by_seed])
        row(f"{name}, sets", [sets(model, each[name]) for each in by_seed])


if __name__ == "__main__":
    main()
