"""What nbval has no option for; used by the tests of the notebooks and by the verdict on a lab."""

from typing import Any

from nbval.kernel import RunningKernel


def execute_with_history() -> None:
    """Let nbval's kernels number their cells as JupyterLab does: without, `Out[3]` and a line ending in `;` differ."""

    def execute_cell_input(self: Any, cell_input: str, allow_stdin: bool | None = None) -> Any:
        return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)

    RunningKernel.execute_cell_input = execute_cell_input
