"""What the primer shows: modes of a grid before and after a kernel; quantiles of Student's t."""

from __future__ import annotations

import math

from generated import Book, table

CELLS = 8
FREQUENCIES = {"0": 0.0, "π/2": math.pi / 2, "π": math.pi}
KERNEL = (0.25, 0.5, 0.25)
TRIALS = (2, 3, 5, 10, 20)
STEP, HEIGHT, LEFT, TOP, GAP = 34, 84, 92, 40, 60


def response(omega: float) -> float:
    """Return the response of the symmetric `KERNEL` to a frequency."""
    return KERNEL[1] + 2 * KERNEL[0] * math.cos(omega)


def picture() -> str:
    """Return the modes as SVG: opaque, as the figures of the book are."""
    panel = CELLS * STEP
    width, height = LEFT + 2 * panel + GAP + 16, TOP + len(FREQUENCIES) * HEIGHT + 8
    parts = [
        f'<text x="{LEFT}" y="24" font-weight="bold">mode cos(ω j) on {CELLS} cells</text>',
        f'<text x="{LEFT + panel + GAP}" y="24" font-weight="bold">after [1 2 1]/4</text>',
    ]
    for row, (name, omega) in enumerate(FREQUENCIES.items()):
        middle = TOP + row * HEIGHT + HEIGHT // 2
        factor = response(omega)
        parts.append(f'<text x="12" y="{middle + 5}">ω = {name}</text>')
        parts.append(f'<text x="{LEFT + panel + 8}" y="{middle + 5}">× {factor:g}</text>')
        for column, scale in enumerate((1.0, factor)):
            left = LEFT + column * (panel + GAP)
            colour = ("#595959", "#0077bb")[column]
            parts.append(f'<path d="M{left} {middle}h{panel}" stroke="#b0b0b0"/>')
            for j in range(CELLS):
                x = left + STEP * j + STEP // 2
                y = middle - 32 * scale * math.cos(omega * j)
                parts.append(
                    f'<path d="M{x} {middle}V{y:.1f}" stroke="{colour}" stroke-width="2"/>'
                    f'<circle cx="{x}" cy="{y:.1f}" r="5" fill="{colour}"/>'
                )
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="DejaVu Sans, Verdana, sans-serif" font-size="15" fill="#222222">',
        "<title>Three modes of a grid before and after a kernel</title>",
        f'<rect width="{width}" height="{height}" rx="6" fill="#fdfdfb"/>', *parts, "</svg>",
    ])  # fmt: skip


def figure(book: Book) -> str:
    """Return the picture as a figure of the page, written beside the pages that Sphinx reads."""
    (book.source / "book" / "primer_modes.svg").write_text(picture(), encoding="utf-8")
    factors = ", ".join(f"{name}: {response(omega):g}" for name, omega in FREQUENCIES.items())
    return (
        "```{figure} primer_modes.svg\n:name: fig-primer-modes\n"
        f":alt: Three modes on {CELLS} cells, constant, of period four cells and alternating; "
        f"beside each the same mode after the kernel, multiplied by a factor. {factors}.\n"
        "A kernel multiplies each mode by its response. The highest frequency, ω = π, alternates "
        "from cell to cell.\n```"
    )


def quantiles(book: Book) -> str:
    """Return a table of the 0.975 quantile of Student's t for some numbers of trials."""
    from scipy import stats

    values = [f"{stats.t.ppf(0.975, count - 1):.2f}" for count in TRIALS]
    return table("", ["trials $n$", *map(str, TRIALS)], [["$t$", *values]])
