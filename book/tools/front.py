"""What the front page shows, computed from the committed records: its picture and its cards."""

from __future__ import annotations

import gallery
from generated import Book
from notebooks import ROOT
from opening import reading_minutes

FILE = "front_figure.png"
FRAGMENT = ROOT / "book" / "sharpness_explorer.html"
BEGIN = '<section class="xp sh"'
STRIP = (0.0, 0.25, 0.5, 0.75, 1.0)  # where the static figure shows the digit
# Four chapters by a figure of theirs: its label, the card's title and sentence.
CARDS = (
    ("fig-gap-mechanism", "Why sharp digits fail", "One frequency, from image to answer."),
    ("fig-method-parts", "Move a network", "One kernel, copied and refined."),
    ("fig-multigrid-steps", "Multigrid from the start", "Two grids, one error."),
    ("fig-across-fair-thesis", "Does it pay?", "Accuracy at equal work."),
)


def opening_digit(right: dict[str, list[list[bool]]]) -> int:
    """Return the digit that the page opens with.

    Parameters
    ----------
    right : dict of list
        By condition and step, whether each of the ten digits is classified correctly.

    Returns
    -------
    int
        The first that both networks classify correctly at the first step and only the copied one
        at the last; 0 if there is none.
    """
    copied, galerkin = right["transfer"], right["multigrid"]
    parts = [
        copied[-1][d] and galerkin[0][d] and not galerkin[-1][d] for d in range(len(copied[0]))
    ]
    return parts.index(True) if any(parts) else 0


def figure(book: Book) -> str:
    """Draw the static figure into the laid-out book and return the text that shows it."""
    import numpy as np
    import sharpness_data

    from mgcore.lab.choices import sharpness
    from mgcore.lab.figures import style
    from mgcore.lab.figures.front import NAMES, Answered, sharpness_sweep

    sweep = sharpness.read_sharpness(sharpness_data.RECORD)
    places = sharpness_data.between(sweep)
    steps = sweep.steps[places]
    answers = sharpness.unpack(sweep.answers["probabilities"])[:, places].argmax(axis=-1)
    right = {name: (answers[c] == np.arange(10)).tolist() for c, name in enumerate(NAMES)}
    digit = opening_digit(right)
    smoothed, original = (images[digit] for images in sharpness_data.ends(sweep))
    strip = []
    for t in STRIP:
        k = int(np.flatnonzero(steps == t)[0])
        image = np.clip(smoothed + t * (original - smoothed), 0, 1)
        given = {name: int(answers[c, k, digit]) for c, name in enumerate(NAMES)}
        strip.append(Answered(t, image, digit, given))
    accuracy = {name: sweep.accuracy[name][:, places] for name in NAMES}
    picture = sharpness_sweep(steps, accuracy, strip)
    (book.source / "book" / FILE).write_bytes(style.png(picture))
    ends = "; ".join(
        f"{NAMES[name]} {values.mean(axis=0)[0]:.1f} % on smoothed and "
        f"{values.mean(axis=0)[-1]:.1f} % on sharp digits"
        for name, values in accuracy.items()
    )
    classes = ", ".join(f"{NAMES[name]} {given}" for name, given in strip[-1].answers.items())
    width = round(style.SHOWN * picture.get_figwidth())
    return (
        f"```{{image}} {FILE}\n:alt: A handwritten {digit} from smoothed to sharp, and accuracy on "
        f"held-out digits, mean of {len(sweep.trials)} trials: {ends}. Answers to the sharp digit: "
        f"{classes}.\n:width: {width}px\n:class: sh-static\n```"
    )


def explorer(book: Book) -> str:
    """Return the picture that a reader plays with, and below it the static one.

    In the student edition the picture asks for a prediction first, and has no static one.
    """
    fragment = FRAGMENT.read_text("utf-8")
    if book.edition == "student":
        fragment = fragment.replace(BEGIN, f"{BEGIN} data-predict-first")
        return f"```{{raw}} html\n{fragment}```"
    return f"```{{raw}} html\n{fragment}```\n\n{figure(book)}"


def why(book: Book) -> str:
    """Return the link to the explanation, with the minutes that it takes to read."""
    (chapter,) = (c for path, c in book.chapters.items() if path.stem == "gap")
    return (
        "```{button-ref} gap\n:ref-type: doc\n:color: primary\n"
        f"Why? {reading_minutes(chapter)} minutes\n```"
    )


def cards(book: Book) -> str:
    """Return four cards that lead to chapters, each with a figure of its chapter."""
    figures = {figure.anchor: figure for figure in book.shown}
    lines = ["::::{grid} 2 2 2 2", ":gutter: 2", ":class-container: doors", ""]
    for anchor, title, sentence in CARDS:
        figure = figures[anchor]
        file = book.source / "book" / "gallery" / f"{anchor}.png"
        gallery.thumbnail(figure.png, file)
        lines += [
            f":::{{grid-item-card}} {title}", f":link: {figure.chapter}", ":link-type: doc",
            f":img-top: gallery/{file.name}", f":img-alt: {figure.alt}",
            ":class-card: figure-card", "", sentence, ":::",
        ]  # fmt: skip
    return "\n".join([*lines, "::::"])
