"""`vitaclip classes`."""

from dataclasses import asdict

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.models import add_text_arguments, check_outputs, load_model, model_name, read_templates
from vitaclip.cli.screen import print_table, terminal
from vitaclip.data.lists.class_names import choose_classes
from vitaclip.evaluate.class_names import check_classes, knows_words
from vitaclip.evaluate.class_texts import ClassPrompts
from vitaclip.files import write_json, write_text
from vitaclip.names import check_class_names
from vitaclip.runtime import RuntimeConfig, pick_device

DESCRIPTION = """\
Look for names that read the same or tokenize badly (words run together, underscores, broken into pieces, too long),
with suggestions.

examples:
  vitaclip classes names.txt
  vitaclip classes names.txt --backbone openai/clip-vit-base-patch16 --template clip28
  vitaclip classes names.txt --out better_names.txt"""


def add_arguments(parser: ArgumentParser) -> None:
    """Names, the model that reads them, and where the findings go."""
    parser.add_argument("classes", help="a file with one name a line, a data set, or names with commas between")
    add_text_arguments(parser)
    parser.add_class_arguments(RuntimeConfig, "runtime", help="device and precision")
    parser.add_argument(
        "--out", type=str, default="", help="write all that is found to this .json file, or better names to another"
    )


def run(arguments: Namespace) -> int:
    """Check and print."""
    check_outputs(arguments, arguments.out)
    names = choose_classes(arguments.classes, distinct=False)
    prompts = ClassPrompts(read_templates(arguments.template))
    model = load_model(arguments).to(pick_device(arguments.runtime.device))
    findings = check_classes(model, names, prompts)
    tokenizer = model.backbone.tokenizer
    judge = {"model": model_name(arguments), "tokenizer_entries": tokenizer.vocab_size}
    judge["pieces_count"] = knows_words(tokenizer)
    console = terminal()
    console.print(f"judged by {judge['model']}, whose tokenizer has {tokenizer.vocab_size:,} entries")
    if not judge["pieces_count"]:
        console.print(
            "so few are the words of a small world: whether names are broken up was not looked at;"
            " give the CLIP that you will use: --backbone openai/clip-vit-base-patch16",
            style="yellow",
        )
    rows = [(finding.name, finding.problem, finding.suggestion) for finding in findings]
    print_table(console, f"findings: {len(findings)}; names: {len(names)}", ("name", "what", "better"), rows)
    if arguments.out.endswith(".json"):
        write_json(arguments.out, {"judged_by": judge, "findings": [*map(asdict, findings)]})
    elif arguments.out:
        better = {finding.name: finding.suggestion for finding in findings if finding.suggestion}
        taken = check_class_names([better.get(name, name) for name in names], "with the suggestions taken")
        write_text(arguments.out, "".join(f"{name}\n" for name in taken))
    return 0
