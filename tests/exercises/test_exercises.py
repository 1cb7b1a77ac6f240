"""What a learner meets in the notebook: outcomes, hints, the solution. On the toy lab; nothing of it is a mock."""

import html.parser
import json
import re
import time
from pathlib import Path

import pytest
from answers import answer, solution, starter

from mqlab import exercises, paths
from mqlab.exercises import Outcome, progress


def double(body: str) -> Outcome:
    return answer("99", 1, f"def double(x):\n    {body}")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_untouched_is_not_attempted_and_the_solution_is_correct(toy: Path, n: int) -> None:
    assert answer("99", n, starter("99", n)).status == "not attempted"
    assert progress.solved("99") == set()
    assert answer("99", n, solution("99", n)).status == "correct"
    assert progress.solved("99") == {n}


def test_comments_and_docstrings_are_no_attempt(toy: Path) -> None:
    assert double('"""Mine."""\n    # I think\n    return (x)').status == "not attempted"


def test_one_of_two_answers_changed_is_an_attempt(toy: Path) -> None:
    text = starter("99", 3).replace("pass", "items.append(item)")
    assert "Which of two" in answer("99", 3, text).message


def test_a_wrong_answer_gets_its_question_and_the_way_to_a_hint(toy: Path) -> None:
    outcome = double("return x * x")
    assert outcome == Outcome(1, "not yet", "Three became nine: is that double, or square?")
    assert repr(outcome) == (
        "… Exercise 1: not yet. Three became nine: is that double, or square?\n  Stuck? lab.hint(1)"
    )


@pytest.mark.parametrize(
    ("body", "question"),
    [
        ("return chanel", "Your code stopped (line 2: `return chanel`): NameError: name 'chanel' is not defined."),
        ("return missing['a']", "NameError: name 'missing' is not defined"),
        ("assert x > 5", "Your code stopped (line 2: `assert x > 5`): AssertionError"),
        ("while True: pass", "Your code was still running after 1 s (line 2: `while True: pass`)."),
        ("import time; time.sleep(60)", "still running after 1 s"),
        ("import queue; queue.Queue().get()", "still running after 1 s"),
        ("while True:\n        try:\n            1 / 0\n        except Exception:\n            pass", "still running"),
        (
            "while True:\n        try:\n            import time; time.sleep(9)\n        except:\n            0",
            "still runn",
        ),
        ("return double(x)", "Your code called itself again and again"),
        ("exit()", "Your code asked Python to exit"),
        ("raise SystemExit(0)", "Your code asked Python to exit"),
        ("x * 2", "`double` should give back an int. It gave back nothing (None): is there a `return`?"),
        ("return str(x * 2)", "It gave back str: what do you return?"),
        ("yield x", "It gave back generator"),
    ],
)
def test_whatever_the_code_does_becomes_a_question(toy: Path, body: str, question: str) -> None:
    began = time.monotonic()
    outcome = double(body)
    assert outcome.status == "not yet"
    assert question in outcome.message
    assert outcome.message.endswith("?")
    assert time.monotonic() - began < 10  # the promise of every check


def test_the_place_of_an_error_is_the_learners_own_line_in_whatever_cell(toy: Path) -> None:
    outcome = answer(
        "99", 1, "import json\n\ndef helper(x):\n    return json.loads(x)\n\ndef double(x):\n    return helper(x)"
    )
    assert "(line 4: `return json.loads(x)`): TypeError" in outcome.message


@pytest.mark.parametrize(
    ("cell", "question"),
    [
        ("def double():\n    return 6", "`double` is called with 1 argument: `double(x)`. Which does yours take?"),
        ("def double(x, y):\n    return 6", "Which does yours take?"),
        ("double = 6", "`double` should be a function, here it is a value (int). Is its name given without `()`?"),
        ("double = None", "should be a function"),
    ],
)
def test_what_is_no_such_function_is_asked_about(toy: Path, cell: str, question: str) -> None:
    assert question in answer("99", 1, cell).message


def test_forgotten_answers_and_unknown_exercises(toy: Path) -> None:
    lab = exercises.lab(99)
    assert "`lab.check(3, put, get)`" in lab.check(3).message
    assert "`lab.check(3, put, get)`" in lab.check(3, len).message
    assert lab.check(7, len).message == lab.hint(7).text == lab.solution(7).text
    assert lab.check(7, len).message == "There is no exercise 7. This lab has: 1, 2, 3."
    with pytest.raises(ValueError, match="There is no lab 98"):
        exercises.lab("98")


def test_the_learners_own_interrupt_goes_through(toy: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        double("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        double("import signal; signal.raise_signal(signal.SIGINT)")


def test_what_the_code_printed_is_shown_with_a_question_only(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = double("print('x is', x)\n    return 5")
    assert outcome.printed == "x is 3\n"
    assert "  | x is 3\n" in repr(outcome)
    assert double("print('x is', x)\n    return 2 * x").printed == ""
    assert len(double("while True: print('again')").printed) <= 1000
    assert capsys.readouterr() == ("", "")


def test_the_page_gets_well_formed_and_escaped_html(toy: Path) -> None:
    outcome = double("print('<b>')\n    return '<i>' + chanel")
    text = outcome._repr_html_()
    assert "<code>return &#x27;&lt;i&gt;&#x27; + chanel</code>" in text
    assert "<i>" not in text and "<b>" not in text
    opened: list[str] = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Reader().feed(text)
    assert opened == []


def test_hints_come_one_by_one_and_then_all(toy: Path) -> None:
    lab = exercises.lab("99")
    assert [repr(lab.hint(1)) for _ in range(3)] == ["Hint 1 of 3: One.", "Hint 2 of 3: Two.", "Hint 3 of 3: Three."]
    assert repr(lab.hint(1)).startswith("These were all the hints. `lab.solution(1)` is next.")
    assert repr(exercises.lab("99").hint(2)) == "Hint 1 of 3: One."
    assert json.loads(progress.file().read_text(encoding="utf-8"))["labs"]["99"]["1"]["hints"] == 4


def test_the_solution_opens_when_asked_twice(toy: Path) -> None:
    lab = exercises.lab("99")
    assert repr(lab.solution(1)).startswith("Are you sure?")
    shown = lab.solution(1)._repr_markdown_()
    assert shown == '```python\ndef double(x):\n    """Return twice x."""\n    return 2 * x\n```\n\nWhy 1: it *works*.'
    assert "# ---" not in shown


def test_the_solution_opens_at_once_when_solved(toy: Path) -> None:
    answer("99", 1, solution("99", 1))
    assert repr(exercises.lab("99").solution(1)).startswith("```python")


def test_without_the_solutions_checks_still_work(toy: Path) -> None:
    (paths.SOLUTIONS / "99-toy.ipynb").write_text("{", encoding="utf-8")
    lab = exercises.lab("99")
    assert lab.check(1, lambda x: 2 * x).status == "correct"
    assert "solution is not here" in repr(lab.solution(1))


def test_the_lab_shows_where_the_learner_stands(toy: Path) -> None:
    answer("99", 2, solution("99", 2))
    assert repr(exercises.lab("99")) == (
        "Lab 99: 1 of 3 exercises solved\n  ○ 1 Double\n  ✓ 2 Predict\n  ○ 3 Put and get"
    )


def test_no_mark_stands_for_two_outcomes() -> None:
    marks = [repr(Outcome(1, status, "x"))[0] for status in ("not attempted", "not yet", "correct")]  # type: ignore[arg-type]
    assert len(set(marks)) == 3 and not re.search(r"[\w\s]", "".join(marks))
