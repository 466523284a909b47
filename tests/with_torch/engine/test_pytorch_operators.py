"""PyTorch's own samples of nn.functional.batch_norm and native_batch_norm, run through ours.

The samples, formats and flags are those of op_db in
torch.testing._internal.common_methods_invocations; the stock function is the reference. Tolerances
are PyTorch's own (torch.testing).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("expecttest", reason="expecttest, which PyTorch's test cases need, is missing")

from torch.autograd import forward_ad, gradcheck, gradgradcheck  # noqa: E402
from torch.testing import assert_close  # noqa: E402
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

from backnorm.torch import batch_norm  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATORS = {
    op.name: op
    for op in op_db
    if op.name in {"nn.functional.batch_norm", "native_batch_norm"} and not op.variant_test_name
}
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# PyTorch's own forward mode says so when it is first used.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

by_name = pytest.mark.parametrize("name", OPERATORS)
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def call(name: str, function: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Call the stock operator (function None) or ours on the arguments of the operator."""
    if function is None:
        y = OPERATORS[name].op(x, *args, **kwargs)
        return y if isinstance(y, torch.Tensor) else y[0]
    if name == "native_batch_norm":
        weight, bias, running_mean, running_var, *rest = args
        args = (running_mean, running_var, weight, bias, *rest)
    return function(x, *args, **kwargs)


def samples(name: str, dtype: Any, *, requires_grad: bool = False) -> Iterator[Any]:
    """Yield PyTorch's samples, those of the two kinds that it makes of each, and lazy negations."""
    torch.manual_seed(0)
    op = OPERATORS[name]
    for sample in op.sample_inputs("cpu", dtype, requires_grad=requires_grad):
        yield sample
        yield sample.noncontiguous()


def copied(sample: Any, dtype: Any = None) -> list[Any]:
    """Return a sample's arguments, with running statistics of its own, in a format."""
    places = (2, 3) if len(sample.args) > 4 else (0, 1)
    args = [wide(value, dtype) for value in sample.args]
    for place in places:
        args[place] = None if args[place] is None else args[place].clone()
    return args


def wide(value: Any, dtype: Any) -> Any:
    """Return a tensor in a format; others, and without a format, as they are."""
    return value.to(dtype) if dtype and isinstance(value, torch.Tensor) else value


def both(name: str, sample: Any, dtype: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield output and arguments of the stock operator, and of ours.

    The stock operator's are computed in float64: in 16 bits it is further from exact than ours
    may be.
    """
    for function, format_ in ((None, torch.float64), (batch_norm, None)):
        args = copied(sample, format_)
        y = call(name, function, wide(sample.input, format_), *args, **sample.kwargs)
        yield y.to(dtype), [wide(value, dtype) for value in args]


def test_both_operators_have_their_samples() -> None:
    """PyTorch lists both with our formats, without a reference or wrong inputs of their own."""
    assert set(OPERATORS) == {"nn.functional.batch_norm", "native_batch_norm"}
    for op in OPERATORS.values():
        assert set(op.supported_dtypes("cpu")) == set(DTYPES)
        assert op.supports_forward_ad
        assert op.supports_fwgrad_bwgrad
        assert op.check_batched_grad
        assert op.check_batched_gradgrad
        assert op.check_batched_forward_grad
        assert op.error_inputs_func is None
        assert op.ref is None
        assert op.reference_inputs_func is None


@by_name
@by_dtype
def test_values_and_running_statistics(name: str, dtype: Any) -> None:
    """Contiguous or not: y and the running statistics are the stock operator's."""
    for sample in samples(name, dtype):
        (want, want_args), (got, args) = both(name, sample, dtype)
        assert_close(got, want)
        assert_close(args, want_args)


@by_name
@by_dtype
def test_gradients(name: str, dtype: Any) -> None:
    """Contiguous or not: the gradients are the stock operator's."""
    for sample in samples(name, dtype, requires_grad=True):
        (want, args), (got, _) = both(name, sample, dtype)
        tensors = [v for v in (sample.input, *args) if getattr(v, "requires_grad", False)]
        dy = torch.rand_like(want)
        want_gradients = torch.autograd.grad(want, tensors, dy, allow_unused=True)
        assert_close(torch.autograd.grad(got, tensors, dy, allow_unused=True), want_gradients)


@by_name
@by_dtype
def test_forward_mode(name: str, dtype: Any) -> None:
    """The directional derivative is the stock operator's."""
    for sample in samples(name, dtype, requires_grad=True):
        tangents = {}
        with forward_ad.dual_level():

            def dual(value: Any, tangents: Any = tangents) -> Any:
                if not isinstance(value, torch.Tensor) or not value.requires_grad:
                    return value
                tangent = tangents.setdefault(id(value), torch.rand_like(value))
                return forward_ad.make_dual(value.detach(), tangent)

            found = []
            for function in (None, batch_norm):
                format_ = torch.float64 if function is None else None
                args = [wide(dual(value), format_) for value in copied(sample)]
                y = call(name, function, wide(dual(sample.input), format_), *args, **sample.kwargs)
                found.append(wide(forward_ad.unpack_dual(y).tangent, dtype))
        want, got = found
        assert (got is None) is (want is None)
        if want is not None:
            assert_close(got, want)


def differentiable(name: str) -> Iterator[tuple[Any, list[torch.Tensor]]]:
    """Yield functions of the tensors that require a gradient, and these."""
    for sample in OPERATORS[name].sample_inputs("cpu", torch.float64, requires_grad=True):
        values = [sample.input, *sample.args]
        places = [
            i for i, v in enumerate(values) if isinstance(v, torch.Tensor) and v.requires_grad
        ]

        def function(*tensors: Any, sample: Any = sample, places: Any = places) -> Any:
            now = [sample.input, *copied(sample)]
            for place, tensor in zip(places, tensors, strict=True):
                now[place] = tensor
            return call(name, batch_norm, *now, **sample.kwargs)

        yield function, [values[i] for i in places]


@by_name
def test_gradcheck(name: str) -> None:
    """Gradients, forward mode and both batched, by numerical differentiation."""
    for function, tensors in differentiable(name):
        # PyTorch's own samples of no values cannot be batched by the stock operator either.
        batched = tensors[0].numel() > 0
        assert gradcheck(
            function,
            tensors,
            check_forward_ad=True,
            check_batched_grad=batched,
            check_batched_forward_grad=batched,
        )


@by_name
def test_gradgradcheck(name: str) -> None:
    """Second gradients, forward over reverse, and batched, by numerical differentiation."""
    for function, tensors in differentiable(name):
        assert gradgradcheck(
            function,
            tensors,
            check_fwd_over_rev=True,
            check_rev_over_rev=True,
            check_batched_grad=tensors[0].numel() > 0,
        )


@by_name
@by_dtype
def test_lazy_negation(name: str, dtype: Any) -> None:
    """A tensor whose sign is not written yet counts with its sign."""
    for sample in samples(name, dtype):
        sample.input = torch._neg_view(sample.input)
        (want, _), (got, _) = both(name, sample, dtype)
        assert_close(got, want)


@by_name
@by_dtype
def test_samples_are_not_written_to(name: str, dtype: Any) -> None:
    """Only running statistics change, and those only in training."""
    for sample in samples(name, dtype):
        given = [sample.input, *copied(sample)]
        before = [v.clone() if isinstance(v, torch.Tensor) else v for v in given]
        call(name, batch_norm, *given, **sample.kwargs)
        where = (3, 4) if name == "native_batch_norm" else (1, 2)
        trains = sample.kwargs.get("training", len(given) > 5 and given[5])
        for index, (now, then) in enumerate(zip(given, before, strict=True)):
            if not (trains and index in where):
                assert_close(now, then, rtol=0.0, atol=0.0)


@by_name
@by_dtype
def test_vmap(name: str, dtype: Any) -> None:
    """Mapped over copies of x: each gets the output it gets alone."""
    for sample in samples(name, dtype):
        if not sample.input.numel():
            continue
        stacked = torch.stack([sample.input, 2 * sample.input + 1])

        def function(x: torch.Tensor, sample: Any = sample) -> torch.Tensor:
            arguments = list(copied(sample))
            places = (2, 3) if name == "native_batch_norm" else (0, 1)
            for place in places:
                # Transforms forbid to write into what is not mapped.
                if arguments[place] is not None:
                    arguments[place] = arguments[place] + 0 * x.sum()
            return call(name, batch_norm, x, *arguments, **sample.kwargs)

        got = torch.vmap(function)(stacked)
        want = torch.stack([function(x) for x in stacked])
        assert_close(got, want)


WRONG = {
    "one value a channel": ((1, 3), {"training": True}),
    "no statistics": ((4, 3), {"training": False}),
    "one of the statistics": ((4, 3), {"running_mean": 3}),
    "other statistics": ((4, 3), {"running_mean": 4, "running_var": 4}),
    "other weights": ((4, 3), {"training": True, "weight": 4}),
    "other biases": ((4, 3), {"training": True, "bias": 2}),
    "one axis": ((4,), {"training": True}),
    "no axis": ((), {"training": True}),
    "eps of 0": ((4, 3), {"training": True, "eps": 0.0}),
    "eps below 0": ((4, 3), {"training": True, "eps": -1.0}),
    "eps below 0 in evaluation": ((4, 3), {"running_mean": 3, "running_var": 3, "eps": -1.0}),
    "whole numbers": ((4, 3), {"training": True, "dtype": torch.int64}),
    "complex numbers": ((4, 3), {"training": True, "dtype": torch.complex64}),
    "wider weights": ((4, 3), {"training": True, "weight": 3, "other": torch.float64}),
    "narrower weights": ((4, 3), {"training": True, "weight": 3, "other": torch.float16}),
    "formats of weights differ": ((4, 3), {"training": True, "weight": 3, "bias": 3, "half": True}),
    "weights of two axes": ((4, 3), {"training": True, "weight": (3, 1)}),
    "statistics of two axes": ((4, 3), {"running_mean": (1, 3), "running_var": (1, 3)}),
    "an empty batch": ((0, 3), {"training": True}),
    "no channels": ((4, 0), {"training": True}),
}


def outcome(function: Any, shape: Any, options: Any) -> Any:
    """Return the output, or the type and words of what was raised."""
    options = dict(options)
    x = torch.ones(shape, dtype=options.pop("dtype", torch.float32))
    other = options.pop("other", x.dtype)
    half = options.pop("half", False)
    arrays = {}
    for key in ("running_mean", "running_var", "weight", "bias"):
        if key in options:
            dtype = torch.bfloat16 if half and key == "bias" else other
            arrays[key] = torch.ones(options.pop(key), dtype=dtype)
    running = (arrays.pop("running_mean", None), arrays.pop("running_var", None))
    try:
        return function(x, *running, **arrays, **options)
    except (ValueError, RuntimeError, TypeError, IndexError, NotImplementedError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_inputs_raise_what_the_stock_function_raises(case: str) -> None:
    """The same type with the same words; what the stock function takes, ours takes."""
    want = outcome(torch.nn.functional.batch_norm, *WRONG[case])
    got = outcome(batch_norm, *WRONG[case])
    if isinstance(want, torch.Tensor):
        assert_close(got, want, equal_nan=True)
    else:
        assert got == want


def test_the_table_of_wrong_inputs_has_errors_of_every_kind() -> None:
    """Most of it does raise, so that the comparison above says something."""
    outcomes = [outcome(torch.nn.functional.batch_norm, *case) for case in WRONG.values()]
    raised = {found[0] for found in outcomes if isinstance(found, tuple)}
    assert {ValueError, RuntimeError} <= raised
    assert len([found for found in outcomes if isinstance(found, tuple)]) > len(WRONG) // 2
