"""Files made to fill the memory, to hang or to crash whoever loads them: each ends in one line with its name, at once
and in bounded memory. All are made here and read in processes of their own, whose peak is measured (`hostile.py`).
"""

import itertools
import json
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import hostile
import peers
from tiny import tiny_backbone, tiny_model
from vitaclip.backbones.loading import load_backbone, save_backbone
from vitaclip.model import VideoModel

Make = Callable[[Path], Path]
GIGABYTES_20 = 20 * 2**30


def archive(folder: Path, description: bytes, storage: bytes = b"\0" * 64, root: str = "x", deflate: str = "") -> Path:
    """An archive of torch with this description; with constants, as TorchScript has them."""
    path = folder / "x.pt"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (("data.pkl", description), ("constants.pkl", b"\x80\x02)."), ("data/0", storage)):
            kind = zipfile.ZIP_DEFLATED if name == deflate else zipfile.ZIP_STORED
            file.writestr(f"{root}/{name}", content, kind, compresslevel=1)
    return path


def described(size: str, stride: str = "K\x01\x85", count: int = 16) -> bytes:
    """A dict with one tensor `a` on storage 0, its size and stride in pickle's own words."""
    text = "\x80\x02}U\x01actorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu"
    return (text + f"I{count}\ntQK\x00{size}{stride}\x89}}tRs.").encode("latin-1")


def clip_with(change: Callable[[dict[str, Tensor]], Any]) -> Make:
    """OpenAI's CLIP, plain, with its tensors changed in place."""

    def make(folder: Path) -> Path:
        peers.write_tokenizer(folder)
        state = dict(peers.openai_clip().state_dict())
        change(state)
        torch.save(state, folder / "clip.pt")
        return folder / "clip.pt"

    return make


def put(name: str, value: Any) -> Make:
    """OpenAI's CLIP with another tensor; a function makes it of the one that is there."""
    return clip_with(lambda state: state.update({name: value(state[name]) if callable(value) else value}))


def write_model(folder: Path) -> None:
    """A model folder with its backbone inside."""
    tiny_model(("run", "jump")).save_pretrained(folder, embed_backbone=True)


def write_backbone(folder: Path) -> None:
    """A backbone folder."""
    save_backbone(tiny_backbone().clip, tiny_backbone().tokenizer, folder)


def config(write: Callable[[Path], None], text: str) -> Make:
    """A folder of ours whose config.json says this."""

    def make(folder: Path) -> Path:
        write(folder)
        change_json(folder / "config.json", text)
        return folder

    return make


def change_json(file: Path, text: str) -> None:
    """`a.b=VALUE` puts a value in; any other text takes the place of all."""
    where, equals, value = text.partition("=")
    content: Any = json.loads(file.read_text())
    part = content
    *above, last = where.split(".")
    if not equals:
        file.write_text(text)
        return
    for key in above:
        part = part[key]
    part[last] = "HERE"
    file.write_text(json.dumps(content).replace('"HERE"', value))


def prompts_with(change: Callable[[dict[str, Tensor]], Any]) -> Make:
    """A model folder of an older version, without checksums, whose prompts are changed."""

    def make(folder: Path) -> Path:
        config(write_model, "sha256={}")(folder)
        state = load_file(folder / "prompts.safetensors")
        change(state)
        save_file(state, folder / "prompts.safetensors")
        return folder

    return make


def file_of(content: bytes, name: str = "x.pt") -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def pickled(description: bytes) -> Make:
    return lambda folder: archive(folder, description)


def sparse_safetensors(names: dict[str, list[int]]) -> Make:
    """A header and 20 GB of nothing, which take no place on the disk."""

    def make(folder: Path) -> Path:
        share = GIGABYTES_20 // len(names)
        header = {
            name: {"dtype": "F32", "shape": shape or [share // 4], "data_offsets": [i * share, (i + 1) * share]}
            for i, (name, shape) in enumerate(names.items())
        }
        text = json.dumps(header).encode()
        with (folder / "x.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + GIGABYTES_20)
        return folder / "x.safetensors"

    return make


def huge_prompts(folder: Path) -> Path:
    """A model folder of an older version, whose prompts have the right names and claim 20 GB."""
    prompts_with(lambda state: None)(folder)
    names = tiny_model(("run", "jump")).adapter_state()
    sparse_safetensors({name: [] for name in names})(folder).rename(folder / "prompts.safetensors")
    return folder


def tokenizer_with(entry: str) -> Make:
    """A backbone of ours whose vocabulary has another entry, written as JSON writes it."""

    def make(folder: Path) -> Path:
        config(write_backbone, "vision.depth=2")(folder)
        file = folder / "tokenizer.json"
        file.write_text(file.read_text().replace('"!"', f'"{entry}"', 1))
        return folder

    return make


def overlapping(state: dict[str, Tensor]) -> None:
    """Three thousand tensors of a megabyte, all on one storage."""
    whole = torch.zeros(2**18)
    state.update({f"visual.transformer.resblocks.{i}.attn.in_proj_weight": whole for i in range(3000)})


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.pt")
    return folder / "x.pt"


GROWN_MEMO = pickle.dumps({"a": 1}, 2)[:-1] + b"r\xff\xff\xff\x1f."
TIME = "context.input.time.embed"
ALIASES = "a0: &a0 [x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))

CLIPS: dict[str, tuple[Make, str]] = {
    # zip archives
    "compressed description": (
        lambda f: archive(f, b"\0" * 500_000_000, root="x/code", deflate="data.pkl"),
        "compressed archive",
    ),
    "compressed storage": (
        lambda f: archive(f, described("I1000\n\x85"), b"\0" * 500_000_000, root="x/code", deflate="data/0"),
        "another size|compressed archive|on a storage",
    ),
    "no description": (file_of(b"PK\x03\x04 nothing"), "damaged"),
    "pipe": (pipe, "no regular file"),
    # pickles
    "memo of 8 GB": (pickled(GROWN_MEMO), "no weights by name"),
    "array of 8 GB": (pickled(b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"."), "bytearray8"),
    "array by a call": (pickled(b"cbuiltins\nbytearray\nI8000000000\n\x85R."), "never done"),
    "empty stack": (pickled(b"\x80\x02\x86."), "damaged"),
    "nothing left": (pickled(b"\x80\x02."), "damaged"),
    "memo without": (pickled(b"\x80\x02h\x07."), "Memo value not found|damaged"),
    "storage of a list": (pickled(b"\x80\x02]Q."), "damaged|not enough values"),
    "million containers": (pickled(b"\x80\x02" + b"]" * 3_000_000 + b"."), "objects"),
    "deep key": (pickled(b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s."), "key of type tuple"),
    "size beyond 64 bits": (pickled(described(f"I{2**70}\n\x85")), "no plain kind"),
    "negative stride": (pickled(described("K\x02\x85", "I-1\n\x85")), "no plain kind"),
    "beyond its storage": (pickled(described("K\x11\x85")), "on a storage of 16"),
    "storage that lies": (pickled(described("K\x11\x85", count=10**9)), "not a CLIP"),
    "module in itself": (pickled(b"\x80\x02c__torch__\nA\n)\x81q\x01}U\x01mh\x01sb."), "no weights by name"),
    "list in itself": (pickled(b"\x80\x02}U\x01a]q\x01h\x01as."), "no weights by name"),
    # tensors
    "stride 0": (put("token_embedding.weight", torch.zeros(1).expand(60_000_000, 64)), "on a storage of 1 number"),
    "overlapping": (clip_with(overlapping), "more than twice the numbers"),
    "sparse": (put("visual.proj", lambda t: t.to_sparse()), "_rebuild_sparse_tensor"),
    "meta": (put("visual.proj", lambda t: t.to("meta")), "only running it|no plain"),
    "int8": (put("visual.proj", lambda t: t.to(torch.int8)), "vision.proj is int8"),
    "bool": (put("visual.proj", lambda t: t > 0), "vision.proj is bool"),
    "complex": (put("visual.proj", lambda t: t.to(torch.complex64)), "never done"),
    "empty": (put("visual.proj", torch.zeros(128, 0)), "embed_dim = 0"),
    "NaN": (put("visual.proj", lambda t: t.index_fill(0, torch.tensor(3), float("nan"))), "vision.proj holds NaN"),
    "infinite": (put("ln_final.bias", lambda t: t / 0), "text.norm_final.bias holds NaN or inf"),
    "infinite as float32": (put("visual.proj", lambda t: t.double() * 1e300), "vision.proj holds NaN or inf"),
    "temperature": (put("logit_scale", torch.tensor(1e30)), "logit_scale = 1e.30"),
    "no axes": (put("visual.conv1.weight", torch.tensor(1.0)), "damaged"),
    "one axis": (put("visual.proj", torch.ones(128)), "damaged"),
    "other width": (put("ln_final.bias", torch.ones(9)), "do not fit"),
    "block 10^12": (put("visual.transformer.resblocks.1000000000000.ln_1.bias", torch.ones(1)), "not numbered from 0"),
    "no blocks": (clip_with(lambda s: [s.pop(name) for name in list(s) if "resblocks" in name]), "clip.pt"),
    # safetensors and their index
    "20 GB of other names": (sparse_safetensors({"a": [], "b": []}), "not a CLIP of a known format"),
    "20 GB of one weight": (sparse_safetensors({"visual.conv1.weight": []}), "keys missing"),
    "header of 1 TB": (file_of(struct.pack("<Q", 2**40) + b"{}", "x.safetensors"), "states a header"),
    "index of itself": (file_of(b'{"weight_map": {"a": "m.index.json"}}', "m.index.json"), "not beside it"),
    "deep index": (file_of(b'{"a":' + b"[" * 200_000, "m.index.json"), "too deeply"),
    "index of lists": (file_of(b'{"weight_map": {"a": [1]}}', "m.index.json"), "not an index"),
    "lone surrogate": (tokenizer_with("\\ud800"), "tokenizer"),
    "backbone mlp_ratio": (config(write_backbone, "vision.mlp_ratio=1e308"), "."),
}
BACKBONE_CONFIGS = re.split(
    r"[|\n]",
    """vision.depth=100000|vision.depth=1000000000|text.depth=1e400|vision.depth=1.5|embed_dim=1.5
vision.width=1000000000|vision=null|vision=5|text=[1]|vision="x"|text.context_length=2.5|pixel_mean="abc"
pixels.mean=[NaN,0,0]|pixels.std=[1e-320,1,1]|activation=5|pixels=5|vision.image_size=8000000000|[]|5|\x00|vision.patch_size=true""",
)
MODELS: dict[str, tuple[Make, str]] = {
    "frames of other prompts": (config(write_model, "model.num_frames=9999"), "do not fit the model's config"),
    "NaN prompt": (prompts_with(lambda s: s[TIME].view(-1)[3].fill_(float("nan"))), "holds NaN"),
    "20 GB of prompts": (huge_prompts, "do not fit the model's config"),
    "whole numbers": (prompts_with(lambda s: s.update({TIME: torch.ones(4, 16, dtype=torch.int32)})), "is int32"),
    "infinite temperature": (prompts_with(lambda s: s["head.logit_scale"].fill_(float("inf"))), "holds NaN or inf"),
}
# Those with `video` and `text` are as older versions wrote them.
MODEL_CONFIGS = re.split(
    r"[|\n]",
    """model.num_frames=1000000000000|model.context.global.count=1000000000000|model.num_frames=1.5
model.head.num_context=1000000000000|model.context.global.count=1.5|model.head.num_context=1.5|model.image_size=1000000
model=null|model.context=5|model.context.local=[1]|model.head=5|model.video=[]|model.video={"num_global": 2000000}
model.text={"num_context": 1.5}|class_names="abc"|class_names=[1,2]|class_names=[null]|class_names={"a":1}
class_names=["", "a"]|class_names=["run", "RUN"]|class_names=["caf\u00e9", "cafe\u0301"]|class_names=["\u200b", "a"]
sha256=5|sha256={"../x":"0"}""",
)
CASES: dict[str, tuple[str, Make, str]] = {
    **{name: ("clip", *case) for name, case in CLIPS.items()},
    **{f"backbone {c}": ("clip", config(write_backbone, c), r"config\.json") for c in BACKBONE_CONFIGS},
    "deep backbone": ("clip", config(write_backbone, '{"vision":' + '{"a":' * 100_000), r"config\.json"),
    **{name: ("model", *case) for name, case in MODELS.items()},
    **{f"model {c}": ("model", config(write_model, c), r"config\.json") for c in MODEL_CONFIGS},
    "deep model": ("model", config(write_model, '{"model":' + "[" * 200_000), r"config\.json"),
    # YAML and JSON
    "aliases": ("yaml", file_of(ALIASES.encode()), "aliases stand for more"),
    "alias of itself": ("yaml", file_of(b"a: &a [*a]"), "aliases stand for more"),
    "deep list": ("yaml", file_of(b"[" * 5_000), "too deeply"),
    "deep map": ("yaml", file_of(b"{a: " * 5_000), "too deeply"),
    "long": ("yaml", file_of(b"a: b\n" * 2**20), "larger than 1 MiB"),
    "objects": ("yaml", file_of(b"seed: !!python/object/apply:os.getcwd []"), "not YAML"),
    "latin": ("yaml", file_of(b"a: \xff"), "not UTF-8"),
    "deep calibration": ("calibration", file_of(b'{"a":' + b"[" * 200_000), "too deeply"),
}


PARTS = ("zip", "description", "torchscript")
FLIPPED = [f"{part}{number}" for part, number in itertools.product(PARTS, range(16))]


def flipped_files(base: Path) -> list[tuple[str, str, str]]:
    """The sound file `sound.pt`, and files with one bit of a part of an archive changed."""
    sound = peers.openai_clip()
    peers.write_tokenizer(base)
    torch.save(sound.state_dict(), base / "sound.pt")
    peers.openai_archive(sound, base / "torchscript.pt")
    generator, jobs = random.Random(7), [("sound", "clip", str(base / "sound.pt"))]
    for name in FLIPPED:
        damaged = bytearray((base / f"{'torchscript' if 'torchscript' in name else 'sound'}.pt").read_bytes())
        place = len(damaged) - 1 - generator.randrange(9000) if "zip" in name else 60 + generator.randrange(2000)
        damaged[place] ^= 1 << generator.randrange(8)
        (base / f"x{name}.pt").write_bytes(damaged)
        jobs.append((name, "clip", str(base / f"x{name}.pt")))
    return jobs


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """How the reading of each file ended, all in one run of `hostile.py`, since it takes seconds to start."""
    base = tmp_path_factory.mktemp("hostile")
    jobs = flipped_files(base)
    for number, (name, (kind, make, _)) in enumerate(CASES.items()):
        folder = base / f"case{number}"
        folder.mkdir()
        jobs.append((name, kind, str(make(folder))))
    (base / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, str(Path(hostile.__file__)), str(base / "jobs.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is read from /proc")
@pytest.mark.parametrize("name", CASES)
def test_hostile_files_end_in_one_line(name: str, answers: dict[str, list[Any]]) -> None:
    kind, message, peak, seconds = answers[name]
    assert kind == "ValueError", (kind, message)
    assert "\n" not in message
    assert len(message) < 1200
    assert f"/hostile0/case{list(CASES).index(name)}" in message, message
    assert re.search(CASES[name][2], message), message
    assert peak < answers["sound"][2] + 400
    assert seconds < 15


@pytest.mark.parametrize("name", FLIPPED)
def test_flipped_bit_is_one_line_or_harmless(name: str, answers: dict[str, list[Any]]) -> None:
    """It raises nothing else, and loads no other numbers."""
    kind, message, _, _ = answers[name]
    sound = answers["sound"][:2]
    assert sound[0] == ""
    assert [kind, message] == sound or (kind == "ValueError" and "\n" not in message and f"x{name}.pt" in message)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return tiny_model(("run", "jump")).save_pretrained(tmp_path / "model", embed_backbone=True)


@pytest.mark.parametrize("file", ["prompts.safetensors", "backbone/tokenizer.json", "backbone/model.safetensors"])
def test_flipped_bit_of_a_model_folder_is_noticed(file: str, model_folder: Path) -> None:
    VideoModel.from_pretrained(model_folder)
    flip_a_bit(model_folder / file)
    with pytest.raises(ValueError, match=r"damaged, or not the file that config\.json was written with"):
        VideoModel.from_pretrained(model_folder)


def test_flipped_bit_of_a_bare_backbone_is_noticed(model_folder: Path) -> None:
    fingerprint = load_backbone(model_folder / "backbone").fingerprint
    flip_a_bit(model_folder / "backbone" / "model.safetensors")
    with pytest.raises(ValueError, match=rf"backbone: damaged, or .* fingerprint {fingerprint}, .* copy both again"):
        load_backbone(model_folder / "backbone")


def test_folders_without_checksums_still_load(model_folder: Path) -> None:
    for file, key in ((model_folder / "config.json", "sha256"), (model_folder / "backbone/config.json", "fingerprint")):
        content = json.loads(file.read_text())
        del content[key]
        file.write_text(json.dumps(content))
    assert VideoModel.from_pretrained(model_folder).class_names == ("run", "jump")
