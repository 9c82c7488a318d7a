"""Small files and small functions, from the first day: what is allowed to grow does."""

from tests.tidy.tree import SHIPPED, at, functions, modules

FILE_LINES_MAX = 400
TEST_FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60


def test_files_are_small() -> None:
    large = [f"{m.path}: {m.line_count} lines" for m in modules(*SHIPPED) if m.line_count > FILE_LINES_MAX]
    assert large == []


def test_test_files_are_small() -> None:
    large = [f"{m.path}: {m.line_count} lines" for m in modules("tests") if m.line_count > TEST_FILE_LINES_MAX]
    assert large == []


def test_functions_are_small() -> None:
    large = []
    for module in modules(*SHIPPED):
        for function in functions(module.tree):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                large.append(f"{at(module, function)} {function.name}: {lines} lines")
    assert large == []
