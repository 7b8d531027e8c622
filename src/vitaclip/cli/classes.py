"""`vitaclip classes`."""

from dataclasses import asdict

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.models import add_text_arguments, check_outputs, load_model, model_name, read_templates
from vitaclip.cli.screen import print_table, terminal
from vitaclip.data import choose_classes
from vitaclip.evaluate.class_names import check_classes, knows_words
from vitaclip.evaluate.class_texts import ClassPrompts
from vitaclip.files import write_json, write_text
from vitaclip.names import check_class_names
from vitaclip.runtime import RuntimeConfig, pick_device

DESCRIPTION = """\
Look for names that tokenize badly (words run together, underscores, broken into pieces, too long), with suggestions,
and for pairs of names whose texts are nearly the same to the model.

examples:
  vitaclip classes names.txt
  vitaclip classes names.txt --backbone openai/clip-vit-base-patch16 --template clip28 --near 0.9
  vitaclip classes names.txt --out better_names.txt"""
SHOWN = 30


def add_arguments(parser: ArgumentParser) -> None:
    """Names, model, and how near is too near."""
    parser.add_argument("classes", help="a file with one name a line, a data set, or names with commas between")
    add_text_arguments(parser)
    parser.add_class_arguments(RuntimeConfig, "runtime", help="device and precision")
    parser.add_argument("--near", type=float, default=0.95, help="cosine of text features from which a pair is shown")
    parser.add_argument(
        "--out", type=str, default="", help="write all that is found to this .json file, or better names to another"
    )


def run(arguments: Namespace) -> int:
    """Check and print."""
    if not -1 <= arguments.near <= 1:
        raise ValueError(f"--near {arguments.near}: is a cosine; give -1 to 1")
    check_outputs(arguments, arguments.out)
    names = choose_classes(arguments.classes, distinct=False)
    prompts = ClassPrompts(read_templates(arguments.template))
    model = load_model(arguments).to(pick_device(arguments.runtime.device))
    findings, pairs = check_classes(model, names, prompts, arguments.near)
    tokenizer = model.backbone.tokenizer
    judge = {"model": model_name(arguments), "tokenizer_entries": tokenizer.vocab_size}
    judge["pieces_count"] = knows_words(tokenizer)
    console = terminal()
    console.print(f"judged by {judge['model']}, whose tokenizer has {tokenizer.vocab_size:,} entries")
    if not judge["pieces_count"]:
        console.print(
            "so few are the words of a small world: whether names are broken up was not looked at, and pairs are near"
            " to that world's model alone; give the CLIP that you will use: --backbone openai/clip-vit-base-patch16",
            style="yellow",
        )
    rows = [(finding.name, finding.problem, finding.suggestion) for finding in findings]
    print_table(console, f"findings: {len(findings)}; names: {len(names)}", ("name", "what", "better"), rows)
    if all(finding.fits for finding in findings):
        near = [(f"{pair.first}  /  {pair.second}", f"{pair.similarity:.3f}") for pair in pairs[:SHOWN]]
        print_table(console, f"pairs hard to tell apart: {len(pairs)}", (f"the nearest {SHOWN}", "cosine"), near)
    else:
        console.print("pairs were not compared: shorten the names that do not fit first", style="yellow")
    if arguments.out.endswith(".json"):
        found = {"judged_by": judge, "findings": [*map(asdict, findings)], "pairs": [*map(asdict, pairs)]}
        write_json(arguments.out, found)
    elif arguments.out:
        better = {finding.name: finding.suggestion for finding in findings if finding.suggestion}
        taken = check_class_names([better.get(name, name) for name in names], "with the suggestions taken")
        write_text(arguments.out, "".join(f"{name}\n" for name in taken))
    return 0
