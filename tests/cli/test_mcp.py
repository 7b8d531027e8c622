"""`vitaclip mcp`, asked by the library's own client over its pipes."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from search_case import WINDOWS
from small_world import NAMES, Refusal
from vitaclip.data.config import DataConfig
from vitaclip.explain.explanation import explain_video
from vitaclip.moments.config import MomentsConfig
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig
from vitaclip.search.archive import Archive

CLASSES = ["red heart", "blue key"]
LENGTHS = "0.4 0.8"


@pytest.fixture(scope="module")
def predictor(model_folder: Path) -> Predictor:
    return Predictor(model_folder, runtime=RuntimeConfig(precision="float32"), data=DataConfig(workers=0))


@pytest.fixture(scope="module")
def archive(predictor: Predictor, video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "archive"
    Archive.open(path).add(predictor, [video_folder], WINDOWS)
    return path


@pytest.fixture(scope="module")
def answers(archive: Path, video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one server answers: its tools, calls and mistakes, and lines that are none of the protocol's."""
    clip = str(video_folder / "clip3.mp4")
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "own classes": ("classify", {"video": clip}),
        "other classes": ("classify", {"video": clip, "classes": CLASSES, "top_k": 1}),
        "own classes again": ("classify", {"video": clip}),
        "moments": ("find_moments", {"video": clip, "queries": ["red heart"]}),
        "explain": ("explain", {"video": clip, "name": NAMES[1]}),
        "search": ("search", {"queries": ["red heart", "дверь"], "like": [clip], "top_k": 2}),
        "no file": ("classify", {"video": "missing.mp4"}),
        "bad day": ("search", {"queries": ["red heart"], "since": "May"}),
        "bad count": ("classify", {"video": clip, "top_k": 0}),
        "bad name": ("explain", {"video": clip, "name": "jump dwn"}),
    }
    command = ["-m", "vitaclip", "mcp", "--archive", str(archive), "--lengths-s", *LENGTHS.split(), "--workers", "0"]
    command += ["--runtime.precision", "float32"]
    server = StdioServerParameters(command=sys.executable, args=command, env={**os.environ})
    log, strange = tmp_path_factory.mktemp("log") / "stderr", list[Any]()

    async def note(message: Any) -> None:
        strange.append(message)

    async def ask() -> dict[str, Any]:
        with log.open("w") as errors:
            async with Client(stdio_client(server, errlog=errors), message_handler=note) as client:
                found: dict[str, Any] = {"tools": (await client.list_tools()).tools}
                return found | {name: await client.call_tool(*call) for name, call in calls.items()}

    return anyio.run(ask) | {"strange": strange, "log": log.read_text()}


def test_answers_are_those_of_python(
    answers: dict[str, Any], predictor: Predictor, archive: Path, video_folder: Path
) -> None:
    clip = video_folder / "clip3.mp4"
    own = predictor.predict(clip).to_dict()
    assert answers["own classes"].structured_content == answers["own classes again"].structured_content == own
    moments = predictor.moments(clip, MomentsConfig(lengths_s=(0.4, 0.8)), queries=["red heart"])
    assert answers["moments"].structured_content["segments"] == [asdict(each) for each in moments.segments]
    figures, picture = answers["explain"].content
    explanation = explain_video(predictor, clip, name=NAMES[1]).to_dict()
    del explanation["attention"]["patches"]
    assert json.loads(figures.text) == json.loads(json.dumps(explanation))
    assert picture.mime_type == "image/png"
    first, _, like = answers["search"].structured_content["result"]
    hits = [each.to_dict() for each in Archive.open(archive).search(predictor, ["red heart", clip], top_k=2)]
    assert [first, like] == json.loads(json.dumps(hits))
    predictor.set_classes(CLASSES)
    assert answers["other classes"].structured_content == predictor.predict(clip, top_k=1).to_dict()


def test_tools_and_all_their_arguments_are_described(answers: dict[str, Any]) -> None:
    assert [tool.name for tool in answers["tools"]] == ["classify", "find_moments", "explain", "search"]
    for tool in answers["tools"]:
        assert tool.description
        assert all(each["description"] for each in tool.input_schema["properties"].values()), tool.name


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("no file", "missing.mp4 does not exist: check the path"),
        ("bad day", "write a day as 2026-01-31"),
        ("bad count", "top_k Input should be greater than or equal to 1"),
        ("bad name", "did you mean 'jump up'?"),
    ],
)
def test_mistakes_are_answered_in_one_line(answers: dict[str, Any], call: str, said: str) -> None:
    (content,) = answers[call].content
    assert answers[call].is_error
    assert said in content.text
    assert "\n" not in content.text


def test_only_the_protocol_is_on_standard_output(answers: dict[str, Any]) -> None:
    assert answers["strange"] == []
    assert "vitaclip: warning: " in answers["log"]  # of the script that the tower does not know


def test_mistakes_in_the_command_end_it(tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no archive; make one with" in refusal("mcp", "--archive", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    monkeypatch.delitem(sys.modules, "vitaclip.cli.mcp")
    assert "pip install 'vitaclip[mcp]'" in refusal("mcp", "--model", "miniature")
