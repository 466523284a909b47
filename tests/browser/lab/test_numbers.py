"""Every number that the page computes is that of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from browser.lab.reading import CLOSE, dx, forward, number, table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from browser.chromium import Tab


def values(lab: Tab) -> NDArray[Any]:
    """Return the batch of the page."""
    return table(lab, "line-table")[0]


def assert_close(got: Any, expected: Any) -> None:
    """Compare numbers of the page with those of the engine."""
    assert np.shape(got) == np.shape(expected)
    assert np.max(np.abs(np.subtract(got, expected))) < CLOSE


def choose(lab: Tab, group: str, value: str) -> None:
    """Choose one of some radio buttons."""
    lab.click(f"#{group} input[value='{value}']")


def pass_gradients(lab: Tab, dy: NDArray[Any]) -> None:
    """Type the gradient that comes from the loss."""
    for j, value in enumerate(dy.tolist(), start=1):
        lab.value(
            f"(box => {{ box.value = {value}; box.dispatchEvent(new Event('input')) }})"
            f"(document.getElementById('forms-dy-{j}'))"
        )


@pytest.mark.parametrize("moves", [{}, {1: 120, 4: -300}], ids=["as it opens", "dragged"])
def test_the_line_shows_the_forward_pass(lab: Tab, moves: dict[int, float]) -> None:
    """Mean, variance, scale and x_hat, before and after values are dragged."""
    before = values(lab)
    for which, by in moves.items():
        lab.drag(f".handle:nth-of-type({which + 1})", by)
    x, x_hat = table(lab, "line-table")
    assert sorted(np.flatnonzero(x != before) + 1) == sorted(moves)
    mean, variance, expected = forward(x)
    assert_close(x_hat, expected)
    assert_close([number(lab, "line-mean"), number(lab, "line-variance")], [mean, variance])
    assert_close(number(lab, "line-scale"), variance**-0.5)


@pytest.mark.parametrize("which", [1, 3])
@pytest.mark.parametrize("cut", ["", "mean", "variance", "mean variance"])
def test_a_pull_moves_every_y_along_three_paths(lab: Tab, which: int, cut: str) -> None:
    """Of the paths that are cut nothing is left, and the error is what they would bring."""
    lab.drag(".handle:nth-of-type(4)", 75)
    choose(lab, "pull-which", str(which))
    for name in cut.split():
        lab.click(f"#cut-{name}")
    x = values(lab)
    rows = np.eye(4)
    by = {t: [dx(x, dy, t)[which] for dy in rows] for t in ("both", "mean", "variance", "none")}
    parts = {
        "direct": np.array(by["none"]),
        "mean": np.subtract(by["mean"], by["none"]),
        "variance": np.subtract(by["variance"], by["none"]),
    }
    kept = np.array([part * (name not in cut.split()) for name, part in parts.items()])
    shown = table(lab, "pull-table")
    assert_close(shown, np.vstack([kept, kept.sum(0), by["both"]]).T)
    error = np.abs(kept.sum(0) - by["both"]).max()
    assert_close(number(lab, "pull-verdict"), error)
    assert (error > 0.05) == bool(cut)
    arrows = lab.value("document.querySelectorAll('#pull-drawing .arrow').length")
    assert arrows == 4 * (3 - len(cut.split()))


THROUGH = {"": "both", "m": "variance", "v": "mean", "r": "mean", "m v": "none"}
"""What is left of the gradient when nodes of the graph are detached."""


@pytest.mark.parametrize("detached", [*THROUGH, "c", "xHat"])
def test_a_detached_node_takes_terms_out(lab: Tab, detached: str) -> None:
    """Out of the gradient and out of the formula."""
    dy = np.array([0.5, -1.0, 2.0, 0.0])
    pass_gradients(lab, dy)
    nodes = ("x", "m", "c", "v", "r", "xHat", "y")
    for name in detached.split():
        # The edges come first, then the nodes; a node is the whole of a group.
        lab.click(f"#graph-drawing .node:nth-of-type({nodes.index(name) + 1})")
    x = values(lab)
    through = {name: dx(x, dy, name) for name in ("both", "mean", "variance", "none")}
    expected = {
        **{names: through[left] for names, left in THROUGH.items()},
        "c": through["variance"] - through["none"],
        "xHat": np.zeros(4),
    }[detached]
    shown = table(lab, "graph-table")
    errors = np.abs(expected - through["both"])
    assert_close(shown, np.array([dy, expected, through["both"], errors]).T)
    terms = lab.value("document.getElementById('graph-terms').innerText")
    left = {"": "D + M + V", "m": "D + V", "v": "D + M", "r": "D + M", "m v": "D"}
    assert terms == f"Terms that remain: {({**left, 'c': 'V', 'xHat': '0'})[detached]}"
    visible = """["D", "M", "V", "0"].filter(
        term => document.getElementById(`term-${term}`).getClientRects().length)"""
    assert " + ".join(lab.value(visible)) == terms.partition(": ")[2]


def test_the_backward_pass_steps_through_the_graph(lab: Tab) -> None:
    """Each step shows the gradient of one node; the last is dx."""
    x = values(lab)
    steps = []
    for _ in range(7):
        lab.click("#graph-step")
        steps.append(lab.value("JSON.parse(document.getElementById('graph-said').dataset.value)"))
    r = x.var() ** -0.5
    centered, dy = x - x.mean(), np.array([1.0, 0.0, 0.0, 0.0])
    at_r = dy @ centered
    expected = [dy, dy, dy * r, [at_r], [-at_r * r**3 / 2], [-r], dx(x, dy)]
    for shown, right in zip(steps, expected, strict=True):
        assert_close(shown, right)


@pytest.mark.parametrize("through", ["both", "mean", "variance", "none"])
@pytest.mark.parametrize("n", [2, 5, 16])
def test_the_matrix_is_that_of_the_engine(lab: Tab, n: int, through: str) -> None:
    """With all paths it takes constants and x_hat to 0, and for n = 2 everything."""
    lab.value(
        f"(s => {{ s.value = {n}; s.dispatchEvent(new Event('input')) }})"
        "(document.getElementById('jacobian-n'))"
    )
    choose(lab, "jacobian-through", through)
    drawing = "document.getElementById('jacobian-drawing')"
    x = np.array(lab.value(f"JSON.parse({drawing}.dataset.x)"), float)
    read = f"[...{drawing}.querySelectorAll('%s')].map(cell => Number(cell.dataset.value))"
    shown = np.reshape(lab.value(read % "svg > .cell"), (n, n))
    expected = np.array([dx(x, row, through) for row in np.eye(n)])
    assert_close(shown, expected)
    assert_close(lab.value(read % "[data-product=ones] .cell"), expected.sum(1))
    x_hat = forward(x)[2]
    assert_close(lab.value(read % "[data-product=xHat] .cell"), expected @ x_hat)
    assert (np.abs(expected).max() < CLOSE) == (n == 2 and through == "both")


@pytest.mark.parametrize("request_", ["write", "add", "null"])
@pytest.mark.parametrize("frozen", [False, True])
def test_both_forms_are_the_gradient(lab: Tab, request_: str, frozen: bool) -> None:  # noqa: FBT001
    """Caffe's and MXNet's; and what MXNet does with a gradient that is there."""
    dy = np.array([0.5, 3.0, -1.0, 1.5])
    pass_gradients(lab, dy)
    choose(lab, "forms-request", request_)
    if frozen:
        lab.click("#forms-global")
    x = values(lab)
    whole = dx(x, dy)
    assert_close(table(lab, "forms-table"), np.array([x, forward(x)[2], whole, whole, whole]).T)
    computed = dy / 4.0**0.5 if frozen else whole
    after = {"write": computed, "add": 10 + computed, "null": np.full(4, 10.0)}[request_]
    shown = table(lab, "forms-buffer")
    assert_close(shown[:, [0, 2]], np.array([np.full(4, 10.0), after]).T)
    assert np.isnan(shown[:, 1]).all() if request_ == "null" else True


TRAPS = {
    "divisor": {"n": "n", "n1": "n1"},
    "eps": {"inside": "inside", "outside": "outside"},
    "evaluation": {"batch": "both", "stored": "none"},
}
"""What the forward pass can be, and the backward pass that fits it."""


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_wrong_unless_both_passes_agree(lab: Tab, name: str) -> None:
    """The error is that of finite differences, or it is large."""
    for first, fitting in TRAPS[name].items():
        for second in TRAPS[name].values():
            choose(lab, f"trap-{name}-forward", first)
            choose(lab, f"trap-{name}-backward", second)
            code, measured = table(lab, f"trap-{name}")
            error = lab.value(
                f"Number(document.querySelector('#trap-{name} .verdict').dataset.value)"
            )
            assert_close(error, np.abs(code - measured).max())
            assert (error < CLOSE) == (second == fitting)
            assert second == fitting or error > 0.005
    x, dy = values(lab), np.array([1.0, 0.0, 0.0, 0.0])
    choose(lab, f"trap-{name}-forward", next(iter(TRAPS[name])))
    assert_close(table(lab, f"trap-{name}")[1], dx(x, dy, eps=float(name == "eps")))


@pytest.mark.parametrize(
    ("where", "through"),
    [("attached", "both"), ("m>v", "both"), ("m>c", "variance"), ("m", "variance")],
)
def test_a_detach_inside_the_variance_is_harmless(lab: Tab, where: str, through: str) -> None:
    """In the subtraction it is not."""
    choose(lab, "trap-detach-backward", where)
    code, measured = table(lab, "trap-detach")
    x, dy = values(lab), np.array([1.0, 0.0, 0.0, 0.0])
    assert_close(code, dx(x, dy, through))
    assert_close(measured, dx(x, dy))


def test_one_pass_over_a_distant_mean_is_noise(lab: Tab) -> None:
    """The variances in float32 are those that NumPy computes in the same order."""
    one_pass, two_pass, exact = table(lab, "trap-precision")[:, 0]
    x = (forward(values(lab))[2] + 1e4).astype(np.float32)
    square = x[0] * x[0] + x[1] * x[1] + x[2] * x[2] + x[3] * x[3]
    mean = (x[0] + x[1] + x[2] + x[3]) / np.float32(4)
    assert one_pass == square / np.float32(4) - mean * mean
    assert abs(one_pass - 1) > 0.5
    assert abs(two_pass - exact) < 1e-3
