"""Every kind of tokenizer beside its peer, token for token, and what a file as large as SigLIP 2's costs to read.

    python benchmarks/token_for_token.py --hostile 10000

The vocabularies are small ones, learned from the catalogue's names (tests/tokenizer_peers.py); the texts are those
names, HMDB51's in five more languages, and random ones that no one would write. The large file is random too. Exits
with 1 if an id differs.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from tokenizer_peers import LENGTH, Family, english, families, five_languages, hostile
from vitaclip.backbones.tokenizer import read_vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hostile", type=int, default=10_000, help="random texts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong = print_differences(Path(folder), options.hostile)
        print_large_file(Path(folder) / "large.json")
    sys.exit(wrong > 0)


def print_differences(folder: Path, num_hostile: int) -> int:
    """The table; returns how many texts got other ids than the peer's."""
    texts = {"English": english(), "five languages": five_languages(), "hostile": hostile(num_hostile)}
    print(f"| tokenizer | peer | {' | '.join(f'{name}, differ' for name in texts)} |\n|{'---|' * (2 + len(texts))}")
    total = 0
    for name, family in families(folder).items():
        cells = [count_differences(family, some) for some in texts.values()]
        total += sum(differ for differ, _ in cells)
        print(f"| {name} | {family.peer} | {' | '.join(f'{differ} of {asked:,}' for differ, asked in cells)} |")
    return total


def count_differences(family: Family, texts: tuple[str, ...]) -> tuple[int, int]:
    """How many texts get other ids, and how many the peer was asked about."""
    asked = [text for text in texts if family.asked(text)]
    pairs = zip(family.ours(asked, LENGTH).ids.tolist(), family.theirs(asked), strict=True)
    return sum(ours != theirs for ours, theirs in pairs), len(asked)


def print_large_file(file: Path) -> None:
    """Time and memory to read a tokenizer.json of 256,000 entries and 512,000 merges, indented as SigLIP 2's is."""
    draw, entries = random.Random(0), list("abcdefghijklmnopqrstuvwxyz▁")
    seen, merges = set(entries), []
    while len(entries) < 256_000:
        one, two = draw.choice(entries[:800]), draw.choice(entries[:800])
        if one + two not in seen:
            seen.add(one + two)
            entries.append(one + two)
            merges.append([one, two])
    model = {"type": "BPE", "vocab": {entry: number for number, entry in enumerate(entries)}, "merges": merges * 2}
    content = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None}
    file.write_text(json.dumps(content | {"decoder": None, "model": model}, indent=2, ensure_ascii=False), "utf-8")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    read_vocabulary(file).cut("a man opens the door")
    seconds, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size, more = file.stat().st_size / 2**20, (peak - before) / 1024
    print(f"\ntokenizer.json of {size:.0f} MiB: read in {seconds:.1f} s of CPU, {more:.0f} MiB more memory")


if __name__ == "__main__":
    main()
