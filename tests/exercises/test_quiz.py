"""The quizzes: each is whole, its answers count, and it can be read where no widget is shown."""

import json
from pathlib import Path

import pytest

from mqlab import paths
from mqlab.exercises import progress, quiz

FILES = sorted((Path(quiz.__file__).parent / "quizzes").glob("*.toml"))


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MQLAB_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path / "progress.json"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_quiz_is_whole(path: Path) -> None:
    asked = quiz.questions(path.stem)
    assert 3 <= len(asked) <= 5
    for question in asked:
        assert 3 <= len(question.choices) <= 5
        assert [choice.right for choice in question.choices].count(True) == 1, question.ask
        texts = [choice.text for choice in question.choices]
        assert len(set(texts)) == len(texts) and all(texts)
        for choice in question.choices:
            assert choice.why.endswith((".", "?")) and len(choice.why) > 10, choice
            assert not choice.why.startswith(("Yes", "No,", "No:", "No.")), "the mark says that already"
    places = [[choice.right for choice in question.choices].index(True) for question in asked]
    assert len(set(places)) > 1, "the right one is not always at the same place"


def test_each_notebook_but_the_first_has_one() -> None:
    notebooks = [path for path in paths.NOTEBOOKS.glob("*.ipynb") if not path.name.startswith("00")]
    assert [path.stem for path in FILES] == sorted(path.name[:2] for path in notebooks)
    for path in notebooks:
        sources = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
        assert any(f'quiz.show("{path.name[:2]}")' in source for source in sources), path.name


def test_right_answers_count_as_progress() -> None:
    shown = quiz.show("01")
    right = next(n for n, choice in enumerate(shown.asked[0].choices) if choice.right)
    shown._handle_custom_msg({"question": 1, "choice": (right + 1) % 3}, [])
    assert (progress.answered("01"), shown._solved) == (set(), [])
    shown._handle_custom_msg({"question": 1, "choice": right}, [])
    assert (progress.answered("01"), shown._solved) == ({1}, [1])
    shown._handle_custom_msg({"question": 1, "choice": (right + 1) % 3}, [])
    assert progress.load()["notebooks"]["01"]["quiz"]["1"]["tries"] == 2, "what comes after is play"
    assert quiz.show("01")._solved == [1], "it is there again when the notebook is"
    progress.finish("01")
    assert progress.answered("01") == {1} and progress.finished("01")


@pytest.mark.parametrize("message", [{}, {"question": 9, "choice": 0}, {"question": 1, "choice": 7}, {"question": "1"}])
def test_nonsense_from_the_page_is_left_alone(message: dict[str, object], file: Path) -> None:
    quiz.show("01")._handle_custom_msg(message, [])
    assert not file.exists()


def test_without_widgets_it_is_unfolded() -> None:
    shown = quiz.show("01")
    data, _ = shown._repr_mimebundle_()
    assert repr(shown) == data["text/plain"] == f"Quiz of notebook 01: {len(shown.asked)} questions"
    assert data["text/html"].count("<details>") == sum(len(question.choices) for question in shown.asked)
    assert data["text/html"].count("✓ Right.") == len(shown.asked)
    assert "<code>published = ready + unacked + acked</code>" in data["text/html"]


def test_a_quiz_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"There is no quiz for notebook '77'\. There are: 01, "):
        quiz.show("77")


def test_a_broken_progress_file_is_moved_aside(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('{"notebooks": {"01": {"quiz": {"x": 1}}}}', encoding="utf-8")
    assert progress.answered("01") == set()
    assert "could not be read" in capsys.readouterr().err
