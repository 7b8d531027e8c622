"""`vitaclip classes check`."""

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.models import add_text_arguments, load_model, read_templates
from vitaclip.cli.screen import print_table, terminal

HELP = "names that a text tower reads badly, or can hardly tell apart"
DESCRIPTION = """\
Look for names that tokenize badly (words run together, underscores, broken into pieces, too long), with suggestions,
and for pairs of names whose texts are nearly the same to the model.

examples:
  vitaclip classes check names.txt
  vitaclip classes check names.txt --backbone openai/clip-vit-base-patch16 --template clip28 --near 0.9
  vitaclip classes check names.txt --out better_names.txt"""
SHOWN = 30


def add_arguments(parser: ArgumentParser) -> None:
    """Names, model, and how near is too near."""
    parser.add_argument("classes", help="a file with one name a line, a data set, or names with commas between")
    add_text_arguments(parser)
    parser.add_argument("--near", type=float, default=0.95, help="cosine of text features from which a pair is shown")
    parser.add_argument("--out", type=str, default="", help="write the names with the suggestions taken to this file")


def run(arguments: Namespace) -> int:
    """Check and print."""
    if not -1 <= arguments.near <= 1:
        raise ValueError(f"--near {arguments.near}: is a cosine; give -1 to 1")
    from vitaclip.data import check_class_names, choose_classes
    from vitaclip.evaluate.class_names import check_classes
    from vitaclip.evaluate.wording import Wording
    from vitaclip.files import write_text

    names = choose_classes(arguments.classes)
    wording = Wording(read_templates(arguments.template))
    findings, pairs = check_classes(load_model(arguments), names, wording, arguments.near)
    console = terminal()
    if findings:
        rows = [(finding.name, finding.problem, finding.suggestion) for finding in findings]
        print_table(console, f"{len(findings)} findings in {len(names)} names", ("name", "what", "better"), rows)
    if pairs:
        near = [(f"{pair.first}  /  {pair.second}", f"{pair.similarity:.3f}") for pair in pairs[:SHOWN]]
        more = f", the nearest {SHOWN}" if len(pairs) > SHOWN else ""
        print_table(console, f"{len(pairs)} pairs that are hard to tell apart{more}", ("names", "cosine"), near)
    if not findings and not pairs:
        console.print(f"{len(names)} names: nothing found")
    if not all(finding.fits for finding in findings):
        console.print("pairs were not compared: shorten the names that do not fit first", style="yellow")
    if arguments.out:
        better = {finding.name: finding.suggestion for finding in findings if finding.suggestion}
        taken = check_class_names([better.get(name, name) for name in names], "with the suggestions taken")
        write_text(arguments.out, "".join(f"{name}\n" for name in taken))
    return 0
