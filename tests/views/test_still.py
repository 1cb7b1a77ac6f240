"""Still pictures: PNGs with their texts in them, the same bytes each time."""

import struct
import subprocess
import sys

from mqlab.views.still import ZOOM, png

SQUARE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 40">{}</svg>'


def size(image: bytes) -> tuple[int, int]:
    assert image.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", image[16:24])
    return width, height


def test_it_is_sharp_and_says_its_width() -> None:
    image, width = png(SQUARE.format(""))
    assert size(image) == (width * ZOOM, (40 + width - 100) * ZOOM), "as much margin above and below as at the sides"


def test_words_and_colours_are_in_it() -> None:
    empty, _ = png(SQUARE.format(""))
    text, _ = png(SQUARE.format('<text class="mq-text" x="5" y="20">Ana</text>'))
    bold, _ = png(SQUARE.format('<text class="mq-text mq-name" x="5" y="20">Ana</text>'))
    ready, _ = png(SQUARE.format('<g class="mq-ready"><circle class="mq-shape" r="20"/></g>'))
    unacked, _ = png(SQUARE.format('<g class="mq-unacked"><circle class="mq-shape" r="20"/></g>'))
    assert len({empty, text, bold, ready, unacked}) == 5


def test_same_bytes_in_another_process_without_matplotlib_being_imported() -> None:
    picture = SQUARE.format('<text class="mq-text" x="5" y="20">Ana</text>')
    program = (
        "import sys; from mqlab.views.still import png; "
        f"print(png({picture!r})[0].hex()); assert 'matplotlib' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert bytes.fromhex(run.stdout) == png(picture)[0]
