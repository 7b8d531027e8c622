"""The page on the published script's flags: all of them, once, and no setting that does not exist."""

import re
from pathlib import Path

import pytest

from vitaclip.cli.main import build_parser
from vitaclip.config import TrainConfig, to_dict

PAGE = Path(__file__).parents[2] / "docs" / "published_flags.md"
PUBLISHED_FLAGS = """
    train_list_path val_list_path train_data_root val_data_root data_root batch_size num_spatial_views
    num_temporal_views num_frames sampling_rate tsn_sampling spatial_size mean std num_workers dummy_dataset
    auto_augment interpolation no_mirror
    checkpoint_dir auto_resume resume_path pretrain checkpoint_path save_freq
    num_steps eval_only eval_freq print_freq lr weight_decay batch_split use_fp16
    backbone_path patch_size num_heads num_layers feature_dim embed_dim mlp_factor cls_dropout
    use_summary_token use_local_prompts use_global_prompts num_global_prompts use_text_prompt_learning
    text_context_length text_vocab_size text_transformer_width text_transformer_heads text_transformer_layers
    text_num_prompts text_prompt_pos text_prompt_init use_text_prompt_CSC text_prompt_classes_path
    zeroshot_evaluation zeroshot_text_features_path""".split()  # noqa: SIM905 - a list of words reads best


def rows(first_column: str) -> list[list[str]]:
    """Cells of the rows of all tables whose first heading is `first_column`."""
    found, inside = [], False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] == first_column:
            inside = True
        elif inside and not cells[0].startswith("---"):
            found.append(cells)
    return found


def settings(values: dict[str, object], path: str = "") -> set[str]:
    """Dotted paths of all settings."""
    paths = set()
    for key, value in values.items():
        paths |= settings(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}"}
    return paths


SETTINGS = settings(to_dict(TrainConfig()))
ROWS = [(row[0], row[2], row[3]) for row in rows("flag")] + [(row[0], row[1], row[2]) for row in rows("there")]


def test_every_published_flag_is_there_once_and_in_order() -> None:
    assert [row[0] for row in rows("flag")] == [f"`--{flag}`" for flag in PUBLISHED_FLAGS]
    assert all(len(row) == 4 for row in rows("flag"))


@pytest.mark.parametrize(("flag", "here", "text"), ROWS)
def test_every_setting_named_exists(flag: str, here: str, text: str) -> None:
    assert here == "none" or here.strip("`") in SETTINGS, flag
    for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", text):
        assert name in SETTINGS or (PAGE.parents[1] / name).exists() or name == "metrics.jsonl", flag
    assert text.endswith(".")


def test_commands_named_on_the_page_exist() -> None:
    page = PAGE.read_text(encoding="utf-8")
    commands = set(re.findall(r"`?vitaclip ([a-z]+) ", page))
    assert commands == {"train", "eval"}
    help_text = build_parser().format_help()
    assert all(re.search(rf"^ +{command}\b", help_text, re.MULTILINE) for command in commands)


def test_the_page_names_what_is_broken_there() -> None:
    broken = {flag.strip("`-") for flag, _, text in ROWS if "**Broken**" in text}
    # Faults 2, 4, 5, 13 to 19 of the published code that a flag is to blame for.
    assert broken >= {
        *("zeroshot_evaluation", "zeroshot_text_features_path", "num_frames", "text_prompt_init", "cls_dropout"),
        *("no_mirror", "use_fp16", "interpolation", "num_temporal_views", "tsn_sampling", "num_spatial_views"),
        *("mean", "num_steps", "batch_size", "val_list_path", "auto_augment", "backbone_path", "pretrain"),
        *("checkpoint_path", "auto_resume", "checkpoint_dir", "save_freq"),
    }
