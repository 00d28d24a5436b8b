r"""TeX as plain text for speaker notes, which set no formulas: ``\mathbf R\,x^h`` as ``R x^h``."""

from __future__ import annotations

import re
import unicodedata

LETTERS = {
    name: chr(code)
    for code, name in enumerate(
        "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi omicron pi "
        "rho varsigma sigma tau upsilon varphi chi psi omega".split(),
        0x3B1,
    )
} | {"epsilon": "ε", "phi": "φ", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ",
     "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω"}  # fmt: skip
SIGNS = {
    "partial": "∂", "nabla": "∇", "infty": "∞", "top": "T", "dots": "…", "ldots": "…",
    "cdots": "…", "times": "×", "circ": "∘", "prime": "′", "ell": "ℓ", "|": "‖", "lVert": "‖",
    "rVert": "‖", "lvert": "|", "rvert": "|", "{": "{", "}": "}", "%": "%", "_": "_", "&": "&",
    "#": "#", "$": "$", "sum": "∑", "prod": "∏", "int": "∫", "emptyset": "∅", "odot": "⊙",
    "star": "*", "ast": "*",
}  # fmt: skip
# With a space on either side.
RELATIONS = {
    "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "neq": "≠", "ne": "≠", "approx": "≈",
    "sim": "∼", "in": "∈", "subset": "⊂", "to": "→", "mapsto": "↦", "leftarrow": "←",
    "rightarrow": "→", "pm": "±", "cdot": "·", "otimes": "⊗", "oplus": "⊕", "ll": "≪", "gg": "≫",
    "equiv": "≡", "mid": "|", "qquad": "", "quad": "", "\\": ";",
}  # fmt: skip
ACCENTS = {"dot": "\u0307", "ddot": "\u0308", "tilde": "\u0303", "hat": "\u0302",
           "widehat": "\u0302", "bar": "\u0304", "overline": "\u0304", "vec": "\u20d7"}  # fmt: skip
# They say how something looks; what they are put on follows.
LOOKS = {"mathbf", "mathrm", "mathsf", "mathcal", "mathit", "boldsymbol", "text", "textbf",
         "operatorname", "left", "right", "big", "bigl", "bigr", "Big", "Bigl", "Bigr",
         "displaystyle", "limits", "nonumber"}  # fmt: skip
OUTLINED = {"R": "ℝ", "N": "ℕ", "Z": "ℤ", "C": "ℂ", "E": "𝔼", "P": "ℙ", "1": "𝟙"}
NARROW = {",", ";", "!", ":", " ", ">"}
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.S)
# Code as it is written; TeX between one or two dollars.
PARTS = re.compile(r"(`+)(.+?)\1|\\\$|(\$\$?)(.+?)(?<!\\)\3", re.S)
MARKUP = re.compile(r"([\\`*_<>\[\]$#|])")


def readable(tex: str) -> str:
    r"""Return a formula as plain text.

    Examples
    --------
    >>> print(readable(r"\mathbf K^{2h} = \mathbf R\,\mathbf K^h\,\mathbf P"))
    K^2h = R K^h P
    >>> print(readable(r"\tfrac12\,\alpha_\theta\,\|\theta\|^2 \le \frac{a + b}{\sqrt{0.5\,e}}"))
    1/2 α_θ ‖θ‖^2 ≤ (a + b)/√(0.5 e)
    """
    tokens = TOKEN.findall(tex)
    tokens.reverse()  # the next one is the last
    return _tidy(_run(tokens))


def without_tex(text: str) -> str:
    """Return a paragraph of MyST on one line, its formulas as plain text, its code as it is."""

    def said(part: re.Match[str]) -> str:
        return escaped(readable(part[4])) if part[3] else part[0]

    return " ".join(PARTS.sub(said, text).split())


def escaped(text: str) -> str:
    """Return text so that MyST takes none of it for markup."""
    return MARKUP.sub(r"\\\1", text)


def _tidy(text: str) -> str:
    text = " ".join(text.split())
    text = re.sub(r" ([,;.)\]^_])", r"\1", text)
    return re.sub(r"([(\[×]) ", r"\1", text)


def _run(tokens: list[str], until: str = "") -> str:
    """Return the text of the tokens up to a closing brace, or of all."""
    made = ""
    while tokens:
        if tokens[-1] == until:
            tokens.pop()
            break
        made += _one(tokens)
    return made


def _argument(tokens: list[str]) -> str:
    """Return the text of what a command is put on."""
    while tokens and tokens[-1].isspace():
        tokens.pop()
    return _tidy(_one(tokens)) if tokens else ""


def _grouped(text: str, plain: str = r"-?[^\s+\-=<>≤≥/]+") -> str:
    """Return text, in parentheses if it is not one thing."""
    whole = re.fullmatch(plain, text) or re.fullmatch(r"√?\([^()]*\)", text)
    return text if whole else f"({text})"


def _one(tokens: list[str]) -> str:
    """Return the text of the next token, with what belongs to it."""
    token = tokens.pop()
    name = token[1:]
    if token == "{":
        return _run(tokens, "}")
    if token in "^_":
        return token + _grouped(_argument(tokens))
    if token in ("&", "}"):
        return ""
    if token == "~" or token.isspace():
        return " "
    if not token.startswith("\\"):
        return token
    return _command(name, tokens)


def _command(name: str, tokens: list[str]) -> str:
    if name in ("frac", "tfrac", "dfrac"):
        above, below = _argument(tokens), _argument(tokens)
        return f"{_grouped(above)}/{_grouped(below, r'[^ +=<>≤≥/-]+')} "
    if name == "sqrt":
        return f"√{_grouped(_argument(tokens), r'.|[0-9.]+')}"
    if name == "mathbb":
        letter = _argument(tokens)
        return OUTLINED.get(letter, letter)
    if name in ACCENTS:
        on = _argument(tokens)
        return unicodedata.normalize("NFC", on[:1] + ACCENTS[name] + on[1:])
    if name in ("begin", "end"):
        _argument(tokens)
        return " "
    if name in LOOKS:  # a letter in bold keeps its distance from a word before it
        return ""
    if name in LETTERS:
        return LETTERS[name]
    if name in SIGNS:
        return SIGNS[name]
    if name in RELATIONS:
        return f" {RELATIONS[name]} "
    if name in NARROW:
        return " "
    applied = tokens and tokens[-1] in "([^_"  # a function stands at its argument
    return f" {name}" if applied else f" {name} "
