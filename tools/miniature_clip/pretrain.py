"""Train the miniature world's tiny image-text model on captioned stills; not installed with the package.

    PYTHONPATH=tools python -m miniature_clip.pretrain --help

Axes: B stills of a batch, U different captions of a batch, D embedding.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize, one_hot

from miniature_clip import captions, probes
from miniature_clip.stills import MOVING_SHARE, Stills, render_pool, render_stills
from miniature_clip.vocabulary import train_tokenizer
from vitaclip.backbones.config import CLIPConfig
from vitaclip.backbones.loading import load_backbone, save_backbone
from vitaclip.backbones.model import CLIP
from vitaclip.backbones.tokenizer import Tokenizer
from vitaclip.miniature import world
from vitaclip.settings import Config, PositiveInt, from_dict, require

ASSETS = Path(world.__file__).parent / "assets" / "backbone"
# Stills of this seed are for measuring: no training run uses it.
HELD_OUT_SEED = 1_000_003
HIGHEST_LOGIT_SCALE = math.log(100.0)
IMAGE_SIZE = 64
ATTRIBUTE_SIZES = [len(values) for values in captions.ATTRIBUTES.values()]


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Config):
    """Everything that the weights depend on."""

    kind: Literal["clip", "siglip", "pe"] = "clip"
    """CLIP; SigLIP, without a class token, with an attention pool, a sigmoid loss and padding that texts attend to; or
    PE-Core, with a class token, rotary positions and an attention pool."""
    start: str = ""
    """A backbone of the same widths, such as `miniature`, whose weights it starts from where both have the same ones.
    Empty: from scratch."""
    seed: int = 0
    pool_size: PositiveInt = 100_000
    """Stills rendered once; captions are drawn afresh each time a still comes up."""
    word_steps: int = 4000
    """First stage: the image tower alone learns to name the words that are true of a still."""
    steps: int = 2000
    """Second stage: both towers learn which caption belongs to which still."""
    batch_size: PositiveInt = 160
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: PositiveInt = 100
    groups: PositiveInt = 6
    """Each batch of the second stage holds stills of this many colour-shape pairs, ..."""
    group_size: PositiveInt = 20
    """... so many of each, and any others besides: what sets stills of one look apart is motion, place, size and
    direction, and from them these words are learned."""
    caption_count: PositiveInt = 96
    """Stills of such a batch that bring a caption."""

    def __post_init__(self) -> None:
        super().__post_init__()
        pairs = len(world.COLOURS) * len(world.SHAPES)
        require(self.groups <= pairs, self, "groups", f"there are only {pairs} pairs of colour and shape")
        fits = self.groups * self.group_size <= self.batch_size
        require(fits, self, "group_size", f"groups x group_size must fit into batch_size = {self.batch_size}")


_BIG_VISION = {"activation": "gelu_tanh", "norm_epsilon": 1e-6}
KINDS: dict[str, dict[str, Any]] = {
    "clip": {},
    "siglip": {
        "vision": {"class_token": False, "norm_pre": False, "pool": "attention", "projection": "none", **_BIG_VISION},
        "text": {"context_length": 24, "order": "all", "projection": "bias", **_BIG_VISION},
        "similarity": "sigmoid",
    },
    "pe": {"vision": {"rope": "pe", "pool": "attention", "pool_heads": 8}, "text": {"context_length": 32}},
}
"""In what each kind differs from CLIP; SigLIP's layout of a text is added by `tower_config`."""


def tower_config(kind: str, tokenizer: Tokenizer) -> CLIPConfig:
    """The tiny model of a kind: 64 px in 16 patches, six layers of width 128, and three for texts."""
    # Exact GELU is one fused kernel in torch; OpenAI's quick_gelu made a step a fifth slower on 2 cores.
    shape, differs = {"width": 128, "heads": 4, "activation": "gelu"}, KINDS[kind]
    text: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "context_length": 77, "depth": 3}
    if kind == "siglip":
        text["layout"] = {"start": [], "pad": tokenizer.end[0], "feature": "last", "clean": "canonicalize"}
    return from_dict(
        CLIPConfig,
        {
            "vision": {"image_size": IMAGE_SIZE, "patch_size": 16, "depth": 6, **shape, **differs.get("vision", {})},
            "text": {**text, **shape, **differs.get("text", {})},
            "embed_dim": 128,
            "pixels": {"mean": [0.2] * 3, "std": [0.2] * 3, "fit": "crop" if kind == "clip" else "squash"},
            "similarity": differs.get("similarity", "softmax"),
        },
    )


def contrastive_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """InfoNCE in both directions where any true pair is a positive (cross-entropy to a uniform target over them).

    Args:
        logits: (B, U) scaled cosines.
        matches: (B, U) bool, which caption is true of which still. A still or a caption without a partner is only a
            negative for the others.
    """
    positive = matches.to(logits.dtype)
    losses = []
    for axis in (0, 1):
        count = positive.sum(dim=axis)
        pull = (logits.log_softmax(dim=axis) * positive).sum(dim=axis) / count.clamp(min=1)
        losses.append(-pull.sum() / (count > 0).sum().clamp(min=1))
    return (losses[0] + losses[1]) / 2


def sigmoid_loss(logits: Tensor, matches: Tensor) -> Tensor:
    """SigLIP's loss: whether each still (B,) and text (U,) belong together, by itself; the sum over the true pairs'
    number."""
    return binary_cross_entropy_with_logits(logits, matches.to(logits.dtype), reduction="sum") / matches.sum()


def attribute_loss(logits: Tensor, sizes: list[int], codes: Tensor) -> Tensor:
    """Each still against the short captions that name one attribute: cross-entropy per attribute, averaged.

    Args:
        logits: (B, sum of sizes) scaled cosines with `captions.attribute_phrases`, attribute by attribute.
        sizes: how many values each attribute has.
        codes: (B, A) int64; a code beyond an attribute's values (a still without motion) leaves the still out.
    """
    losses = []
    for part, truth in zip(logits.split(sizes, dim=1), codes.T, strict=True):
        known = truth < part.shape[1]
        losses.append(cross_entropy(part[known], truth[known]))
    return torch.stack(losses).mean()


@dataclass(frozen=True)
class Batch:
    """One step's stills and texts: U captions, then P phrases that name one attribute each."""

    pixels: Tensor
    """(B, 3, H, W) uint8."""
    codes: Tensor
    """(B, A) int64."""
    matches: Tensor
    """(B, U) bool."""
    texts: list[str]
    """The U captions and the P phrases."""


class Batches:
    """Batches of stills with fresh captions; step s is a pure function of (seed, s)."""

    def __init__(self, stills: Stills, config: PretrainConfig) -> None:
        self._stills, self._config = stills, config
        appearance = stills.codes[:, captions.COLOUR].astype(int) * len(world.SHAPES) + stills.codes[:, captions.SHAPE]
        self._members = [np.flatnonzero(appearance == which) for which in range(appearance.max() + 1)]

    def __call__(self, step: int) -> Batch:
        """The batch of a step, with captions."""
        rng = np.random.default_rng([self._config.seed, step])
        kinds = rng.choice(len(self._members), size=self._config.groups, replace=False)
        chosen = self._choose(rng, kinds)
        codes = self._stills.codes[chosen]
        said = [captions.draw_caption(rng, row) for row in rng.permutation(codes)[: self._config.caption_count]]
        # All motions of the grouped pairs, those that no still shows as well.
        motions = len(world.MOTIONS)
        said += [captions.class_caption(int(kind) * motions + motion) for kind in kinds for motion in range(motions)]
        distinct = {caption.text: caption.codes for caption in said}
        phrases = [text for texts in captions.attribute_phrases(rng) for text in texts]
        return Batch(
            pixels=self._stills.pixels[torch.from_numpy(chosen)],
            codes=torch.from_numpy(codes.astype(np.int64)),
            matches=torch.from_numpy(captions.caption_matches(codes, np.array(list(distinct.values()), np.int8))),
            texts=[*distinct, *phrases],
        )

    def without_captions(self, step: int) -> tuple[Tensor, Tensor]:
        """Pixels (B, 3, H, W) and codes (B, A) of a step's stills, drawn from all alike."""
        rng = np.random.default_rng([self._config.seed, step])
        chosen = rng.integers(len(self._stills), size=self._config.batch_size)
        codes = torch.from_numpy(self._stills.codes[chosen].astype(np.int64))
        return self._stills.pixels[torch.from_numpy(chosen)], codes

    def _choose(self, rng: np.random.Generator, kinds: np.ndarray) -> np.ndarray:
        config = self._config
        grouped = [rng.choice(self._members[kind], size=config.group_size) for kind in kinds]
        rest = rng.integers(len(self._stills), size=config.batch_size - config.groups * config.group_size)
        return np.concatenate([*grouped, rest])


def caption_loss(clip: CLIP, features: Tensor, batch: Batch) -> Tensor:
    """Both ways of comparing a batch's stills, by their features (B, D), with its texts."""
    texts = clip.encode_texts(batch.texts)
    logits = clip.logits(normalize(features, dim=-1), normalize(texts, dim=-1))
    if clip.config.similarity == "sigmoid":
        sizes = zip(batch.codes.T, ATTRIBUTE_SIZES, strict=True)
        named = [one_hot(truth, size + 1)[:, :size] for truth, size in sizes]  # the last stands for none of them
        return sigmoid_loss(logits, torch.cat([batch.matches, *named], dim=1))
    caption_count = batch.matches.shape[1]
    return contrastive_loss(logits[:, :caption_count], batch.matches) + attribute_loss(
        logits[:, caption_count:], ATTRIBUTE_SIZES, batch.codes
    )


def take_over(clip: CLIP, other: CLIP) -> None:
    """Put another kind's weights where both have the same ones. Of positions, those of the patches and the first ones
    of a text are the same."""
    own, theirs = clip.state_dict(), other.state_dict()
    vision, text = len(own["vision.pos_embed"]), len(own["text.pos_embed"])
    theirs["vision.pos_embed"] = theirs["vision.pos_embed"][-vision:]
    theirs["text.pos_embed"] = theirs["text.pos_embed"][:text]
    known = own.keys() & theirs.keys() - {"logit_scale"}
    clip.load_state_dict(own | {name: theirs[name] for name in known})


def pretrain(stills: Stills, tokenizer: Tokenizer, config: PretrainConfig) -> CLIP:
    """Train a tiny image-text model on stills and captions that the tokenizer knows.

    The caption losses alone stand still for long: as long as neither tower tells "left" from "right", neither gives
    the other a reason to. So the image tower first learns the words one by one, through a linear map that is thrown
    away in the end (as in Joulin et al., 2016, "Learning visual features from large weakly supervised data").
    """
    torch.manual_seed(config.seed)
    shape = tower_config(config.kind, tokenizer)
    clip = CLIP(shape)
    clip.tokenizer = Tokenizer(tokenizer.vocabulary, shape.text.layout, full_length=shape.text.order == "all")
    # CLIP's own start makes positions a tenth of the patches' size: place words then took ten times the steps.
    nn.init.normal_(clip.vision.pos_embed, std=0.5)
    if clip.config.similarity == "sigmoid":
        # About the share of true pairs. SigLIP's own -10 is for one text in 32,000 and would take thousands of steps.
        nn.init.constant_(clip.logit_bias, -2.5)
    if config.start:
        take_over(clip, load_backbone(config.start).clip)
    head = nn.Linear(clip.config.embed_dim, sum(ATTRIBUTE_SIZES), bias=False)
    nn.init.normal_(head.weight, std=0.02)
    batches = Batches(stills, config)
    parameters = [*clip.parameters(), *head.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, config))
    for step in track(range(config.word_steps + config.steps), config.kind):
        batch = batches(step) if step >= config.word_steps else None
        pixels, codes = (batch.pixels, batch.codes) if batch else batches.without_captions(step)
        features = clip.vision(clip.normalize_pixels(pixels))
        loss = attribute_loss(head(features), ATTRIBUTE_SIZES, codes)
        if batch:
            loss = loss + caption_loss(clip, features, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(max=HIGHEST_LOGIT_SCALE)
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss:.3f}", flush=True)
    return clip.eval()


def _rate(step: int, config: PretrainConfig) -> float:
    """Warm-up, then half a cosine over both stages, and a second warm-up where the text tower joins."""
    since_joining = step - config.word_steps
    share = step / (config.word_steps + config.steps)
    warmth = min(1.0, (step if since_joining < 0 else since_joining) / config.warmup_steps)
    return warmth * 0.5 * (1 + math.cos(math.pi * share))


def measure(clip: CLIP, count: int) -> dict[str, Any]:
    """All probes on `count` held-out stills."""
    stills = render_stills(HELD_OUT_SEED, 0, count, clip.config.vision.image_size)
    return {
        "zero_shot": probes.zero_shot_scores(clip, stills),
        "motions": probes.motion_scores(clip, stills),
        "pose": probes.pose_scores(clip, stills),
    }


def write_card(
    folder: Path, config: PretrainConfig, minutes: float, measured: Mapping[str, Any], stills_count: int
) -> Path:
    """Write CARD.md beside the weights: how they were made and what they score."""
    changed = {name: value for name, value in asdict(config).items() if value != getattr(PretrainConfig(), name)}
    options = "".join(f" --{name.replace('_', '-')} {value}" for name, value in changed.items())
    title, shares, pose = TITLES[config.kind], measured["zero_shot"].items(), measured["pose"]
    text = CARD.format(
        **asdict(config),
        command=f"PYTHONPATH=tools OMP_WAIT_POLICY=PASSIVE python -m miniature_clip.pretrain{options}",
        title=title,
        what="A CLIP" if config.kind == "clip" else f"An image-text model of {title}'s kind",
        began=f"from the weights of `{config.start}`, where both have the same," if config.start else "from scratch",
        minutes=f"{minutes:.0f}",
        machine=f"{torch.get_num_threads()} threads of a {platform.machine()} CPU, torch {torch.__version__}, float32",
        held_out=stills_count,
        zero_shot="\n".join(f"| {name} | {ASKED[name]} | {100 * share:.1f} % |" for name, share in shares),
        motions="\n".join(f"| {name} | {100 * share:.0f} % |" for name, share in measured["motions"].items()),
        moving=f"{100 * MOVING_SHARE:.0f}",
        pose_rows="\n".join(
            f"| {name} | {pose['feature'][name]:.3f} | {pose['token'][name]:.3f} |" for name in pose["token"]
        ),
    )
    path = folder / "CARD.md"
    path.write_text(text, encoding="utf-8")
    return path


TITLES = {"clip": "CLIP", "siglip": "SigLIP", "pe": "PE-Core"}
ASKED = {
    "colour": "which of 6 colours",
    "shape": "which of 6 shapes",
    "motion": "which of 8 motions, on stills with a trail, appearance given",
    "place": "which of 9 places, appearance given",
    "size": "which of 5 sizes, appearance given",
    "direction": "which of 5 directions it points in, appearance given",
    "class": "which of the 288 class names, on stills with a trail",
}

CARD = """# The miniature {title}

{what} of 2 million parameters (64 px, 16 patches, 6 vision layers and 3 text layers of width 128, its own byte-pair
tokenizer) that knows one thing: the miniature world of `vitaclip.miniature`, six shapes in six colours. It is there so
that the demo, the tests and the first steps with vitaclip need no download.

## How it was made

    {command}

Seed {seed}; {word_steps} steps in which the image tower learns, through a linear map that is thrown away, the words
that are true of a still, then {steps} in which both towers learn which caption belongs to which; {batch_size} of
{pool_size} rendered stills a step, captions drawn afresh every time. {minutes} minutes on
{machine}.

Trained {began} on synthetic stills and their captions alone: no photograph, no text from elsewhere and no video.
{moving} % of the stills show a motion as a trail, the others a shape at rest. All 36 pairs of colour and shape occur
among the stills; the split into trained and never trained pairs concerns videos only. The weights are stored in
float16.

## What it scores

Synthetic figures, on {held_out} freshly rendered stills that it was not trained on. Zero-shot, by the best of the
texts:

| attribute | question | right |
|---|---|---|
{zero_shot}

| motion, among 8, appearance given | right |
|---|---|
{motions}

What a linear map reads from a still at rest (R squared on the half it was not fitted to), from the feature in the
shared space and from the last block's frame token:

| coordinate | feature | frame token |
|---|---|---|
{pose_rows}

## What it is not for

Anything outside its world. It has never seen a photograph and knows about a hundred words; results with it say how the
method and the code behave, not how well videos are recognised. For real videos take a real CLIP.
"""


def main(arguments: list[str] | None = None) -> None:
    """Render the stills, train, measure, and write the backbone folder with its card."""
    parser = argparse.ArgumentParser(description="Train the tiny image-text model of the miniature world.")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder for the backbone (default: in the package)")
    parser.add_argument("--pool", type=Path, default=Path("miniature_stills"), help="folder that keeps the stills")
    parser.add_argument("--held-out", type=int, default=4000, help="stills to measure on")
    for field in fields(PretrainConfig):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(option, type=type(field.default), default=field.default, help=f"default {field.default}")
    options = parser.parse_args(arguments)
    config = PretrainConfig(**{field.name: getattr(options, field.name) for field in fields(PretrainConfig)})

    stills = render_pool(options.pool, config.seed, config.pool_size, IMAGE_SIZE)
    start = time.perf_counter()
    clip = pretrain(stills, train_tokenizer(config.seed), config)
    minutes = (time.perf_counter() - start) / 60
    save_backbone(clip, clip.tokenizer, options.out, dtype=torch.float16)
    # Measured as stored, not as trained.
    stored = load_backbone(options.out)
    stored.clip.tokenizer = stored.tokenizer
    measured = measure(stored.clip, options.held_out)
    write_card(options.out, config, minutes, measured, options.held_out)
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
